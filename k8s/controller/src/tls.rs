//! Mutual TLS: hosts must show a certificate. The files are read again when they change, so that
//! certificates can be renewed under a running controller.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use crate::settings::TlsFiles;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(30);

/// Why the files cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} does not hold what it should, in PEM: {problem}")]
    Pem { path: PathBuf, problem: String },
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The configuration of the moment.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    now: RwLock<(Bytes, Arc<ServerConfig>)>,
}

/// The files' bytes.
type Bytes = [Vec<u8>; 3];

impl Tls {
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let bytes = read(&files)?;
        let config = config(&files, &bytes)?;
        Ok(Self { files, now: RwLock::new((bytes, config)) })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.now.read().1)
    }

    /// Follows the files until it is dropped. What does not hold changes nothing.
    pub(crate) async fn follow(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.look();
        }
    }

    fn look(&self) {
        match self.again() {
            Ok(true) => tracing::info!("the certificates were read again"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "read the certificates again: keeping the old"),
        }
    }

    fn again(&self) -> Result<bool, TlsError> {
        let bytes = read(&self.files)?;
        if self.now.read().0 == bytes {
            return Ok(false);
        }
        let config = config(&self.files, &bytes)?;
        *self.now.write() = (bytes, config);
        Ok(true)
    }
}

fn read(files: &TlsFiles) -> Result<Bytes, TlsError> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|source| TlsError::Read { path: path.clone(), source })
    };
    Ok([read(&files.certificate)?, read(&files.key)?, read(&files.client_ca)?])
}

fn config(files: &TlsFiles, bytes: &Bytes) -> Result<Arc<ServerConfig>, TlsError> {
    let [certificate, key, authorities] = bytes;
    let chain = certificates(&files.certificate, certificate)?;
    let wrong = |path: &Path, problem: String| TlsError::Pem { path: path.to_owned(), problem };
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(&files.key, error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.client_ca, authorities)? {
        roots.add(authority).map_err(|error| wrong(&files.client_ca, error.to_string()))?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| wrong(&files.client_ca, error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem: String| TlsError::Pem { path: path.to_owned(), problem };
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if all.is_empty() => Err(wrong("it holds no certificate".to_owned())),
        Ok(all) => Ok(all),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_where_they_do_not_hold_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            certificate: path("tls.crt"),
            key: path("tls.key"),
            client_ca: path("ca.crt"),
        };
        let error = |files: &TlsFiles| Tls::open(files.clone()).unwrap_err().to_string();
        assert!(error(&files).contains("tls.crt"));
        let one = made();
        fs::write(&files.certificate, one.cert.pem()).unwrap();
        fs::write(&files.key, "no key").unwrap();
        fs::write(&files.client_ca, "").unwrap();
        assert!(error(&files).contains("tls.key"), "{}", error(&files));
        fs::write(&files.key, one.signing_key.serialize_pem()).unwrap();
        assert!(error(&files).contains("ca.crt"), "{}", error(&files));
        fs::write(&files.client_ca, one.cert.pem()).unwrap();
        let tls = Tls::open(files.clone()).unwrap();
        let before = tls.config();
        assert!(!tls.again().unwrap());
        let other = made();
        fs::write(&files.certificate, other.cert.pem()).unwrap();
        assert!(tls.again().is_err(), "the key is not of this certificate");
        assert!(Arc::ptr_eq(&before, &tls.config()));
        fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
        assert!(tls.again().unwrap());
        assert!(!Arc::ptr_eq(&before, &tls.config()));
    }
}
