//! TLS by flags: one certificate chain, ALPN for h2 and http/1.1.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::Tls;

/// Why a certificate or key cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate file does not read as PEM: {0}")]
    Certificate(String),
    #[error("the certificate file holds no certificate")]
    NoCertificate,
    #[error("the key file does not hold a PEM private key: {0}")]
    Key(String),
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&tls.certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(&tls.key)
        .map_err(|error| TlsError::Key(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(certificates: &str, key: &str) -> String {
        let tls = Tls { certificates: certificates.into(), key: key.into() };
        acceptor(&tls).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        assert_eq!(error(&certificate, &key), "");
        assert!(error("", &key).contains("no certificate"));
        assert!(error(&certificate, "").contains("key file"));
        assert!(error(&certificate, &certificate).contains("key file"));
        let foreign = error(&certificate, &other.signing_key.serialize_pem());
        assert!(foreign.contains("cannot be used"), "{foreign}");
    }
}
