//! One GET over TLS, bounded in time and length. Follows no redirects: keys are where they are
//! said to be.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle as AbortOnDrop;

/// Time for everything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MOST: usize = 1 << 20;

/// Whom to trust.
pub(super) struct Client {
    /// PEM; the web's usual authorities without it.
    pub ca: Option<Vec<u8>>,
}

/// Why there was no answer of use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("its `ca` does not read as PEM certificates: {0}")]
    Authorities(String),
    #[error("is no name of a host: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error("the token_file's text cannot be sent")]
    Token,
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("cannot ask: {0}")]
    Request(#[from] http::Error),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("answered with more than 1 MiB, or broke off: {0}")]
    Body(String),
}

/// The body of a good answer.
pub(super) async fn get(
    client: &Client,
    at: &Uri,
    token: Option<&[u8]>,
) -> Result<Bytes, WebError> {
    tokio::time::timeout(PATIENCE, ask(client, at, token)).await.map_err(|_| WebError::Late)?
}

async fn ask(client: &Client, at: &Uri, token: Option<&[u8]>) -> Result<Bytes, WebError> {
    let host = at.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned())?;
    let tls = TlsConnector::from(Arc::new(config(client)?));
    let tcp = TcpStream::connect((bare, at.port_u16().unwrap_or(443))).await?;
    let stream = tls.connect(name, tcp).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDrop::new(tokio::spawn(connection));
    let path = at.path_and_query().map_or("/", |path| path.as_str());
    let authority = at.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, "application/json, application/jwk-set+json")
        .body(Empty::<Bytes>::new())?;
    if let Some(token) = token {
        let text = [b"Bearer ", token.trim_ascii()].concat();
        let mut value = HeaderValue::from_bytes(&text).map_err(|_| WebError::Token)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(WebError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), MOST).collect().await;
    Ok(body.map_err(|error| WebError::Body(error.to_string()))?.to_bytes())
}

fn config(client: &Client) -> Result<ClientConfig, WebError> {
    let mut roots = RootCertStore::empty();
    match &client.ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            let unreadable =
                |error: &dyn std::fmt::Display| WebError::Authorities(error.to_string());
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(|error| unreadable(&error))?)?;
            }
            if roots.is_empty() {
                return Err(unreadable(&"it holds none"));
            }
        }
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
