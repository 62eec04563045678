//! Connections to pods: TLS, in which each side shows a certificate.

use std::{io, path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{PodsConfig, module::Address};
use crate::link::Link;

const CONNECT: Duration = Duration::from_secs(5);

/// Connects to a server that has the name, by the authority that its module has.
pub(super) async fn connect(config: &PodsConfig, to: &Address) -> io::Result<Link> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(CONNECT, open(config, to)).await.map_err(late)?
}

async fn open(config: &PodsConfig, to: &Address) -> io::Result<Link> {
    let tls = client(config, &to.authority).await?;
    let name = ServerName::try_from(to.name.clone()).map_err(io::Error::other)?;
    let tcp = TcpStream::connect(&to.address).await?;
    tcp.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?;
    Link::over(stream).await
}

async fn client(config: &PodsConfig, authority: &str) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(one.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let chain = read(&config.cert).await?;
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(&read(&config.key).await?).map_err(io::Error::other)?;
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(tls)
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let named = |error| io::Error::other(format!("read {}: {error}", path.display()));
    tokio::fs::read(path).await.map_err(named)
}
