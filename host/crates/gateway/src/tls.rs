//! TLS by flags: one certificate chain, ALPN for h2 and http/1.1; and TLS to the hosts of a pool.
//! Clients may show certificates where the policy names authorities for them.

use std::{fmt, sync::Arc};

use roadstead_auth::Auth;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{PoolTls, Tls};

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
    Unusable(#[from] Error),
}

/// A chain of certificates and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read(tls: &Tls) -> Result<Identity, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&tls.certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(&tls.key)
        .map_err(|error| TlsError::Key(error.to_string()))?;
    Ok((chain, key))
}

pub(crate) fn acceptor(tls: &Tls, auth: &Arc<Auth>) -> Result<TlsAcceptor, TlsError> {
    let (chain, key) = read(tls)?;
    let provider = Arc::new(ring::default_provider());
    let clients = Clients::new(auth, &provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(clients))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// How other hosts of a pool are called.
pub(crate) fn connector(tls: &PoolTls) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&tls.authority) {
        let authority = authority.map_err(|error| TlsError::Certificate(error.to_string()))?;
        roots.add(authority)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match &tls.own {
        Some(own) => {
            let (chain, key) = read(own)?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Checks clients by the policy of the moment. A certificate that does not hold ends the handshake;
/// none is as good as in a host without such a policy.
struct Clients {
    auth: Arc<Auth>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    fn new(auth: &Arc<Auth>, provider: &CryptoProvider) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { auth: Arc::clone(auth), algorithms }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.auth.client_verifier().is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: they change with the policy, and clients have one certificate as a rule.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.auth.client_verifier() {
            Some(verifier) => verifier.verify_client_cert(own, others, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(certificates: &str, key: &str) -> String {
        let tls = Tls { certificates: certificates.into(), key: key.into() };
        acceptor(&tls, &Auth::none()).err().map(|error| error.to_string()).unwrap_or_default()
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

    #[test]
    fn hosts_are_known_by_their_authority_and_show_what_they_have() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (authority, key) = (made.cert.pem().into_bytes(), made.signing_key.serialize_pem());
        let own = Tls { certificates: authority.clone(), key: key.into_bytes() };
        for own in [None, Some(own)] {
            let shows = own.is_some();
            let tls = PoolTls { authority: authority.clone(), own };
            let config = connector(&tls).unwrap();
            assert_eq!(config.config().client_auth_cert_resolver.has_certs(), shows);
        }
        for authority in [&b""[..], b"no PEM"] {
            let tls = PoolTls { authority: authority.to_vec(), own: None };
            assert!(matches!(connector(&tls), Err(TlsError::NoCertificate)));
        }
    }
}
