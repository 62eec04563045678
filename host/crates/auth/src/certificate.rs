//! Client certificates: what TLS verified, as a name.
//!
//! The name is the certificate's one URI (a SPIFFE ID, for one), else its subject's common name.

use ring::digest::{SHA256, digest};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

use crate::{Refusal, TokenHash};

/// Bytes that a name may have.
const NAME: usize = 255;

/// A client that showed a certificate, which TLS found good.
#[derive(Debug, Clone)]
pub struct Peer {
    name: Result<String, Refusal>,
    until: u64,
    authorities: [u8; 32],
    hash: TokenHash,
}

impl Peer {
    /// `certificate` is the client's own as DER; `authorities` tells which ones were asked whether
    /// it is `good`.
    pub(crate) fn new(certificate: &[u8], authorities: [u8; 32], good: bool) -> Self {
        let unreadable = Refusal::Bad("the client certificate does not read");
        let unknown = Refusal::Bad("no authority that this host trusts vouches for the client");
        // No token has such bytes.
        let hash = TokenHash::of(&[b"certificate\0", certificate].concat());
        let Ok((_, certificate)) = parse_x509_certificate(certificate) else {
            return Self { name: Err(unreadable), until: 0, authorities, hash };
        };
        let until = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        let name = if good { name(&certificate) } else { Err(unknown) };
        Self { name, until, authorities, hash }
    }

    /// What the certificate is known by.
    pub(crate) fn hash(&self) -> TokenHash {
        self.hash
    }

    /// Its name, and when the certificate ends.
    pub(crate) fn identity(&self) -> Result<(&str, u64), Refusal> {
        match &self.name {
            Ok(name) => Ok((name, self.until)),
            Err(refusal) => Err(refusal.clone()),
        }
    }

    pub(crate) fn authorities(&self) -> [u8; 32] {
        self.authorities
    }
}

/// What tells one set of authorities from another.
pub(crate) fn fingerprint(pem: &[u8]) -> [u8; 32] {
    let mut print = [0; 32];
    print.iter_mut().zip(digest(&SHA256, pem).as_ref()).for_each(|(to, from)| *to = *from);
    print
}

fn name(certificate: &X509Certificate<'_>) -> Result<String, Refusal> {
    let unreadable = Refusal::Bad("the client certificate's alternative names do not read");
    let alternatives = certificate.subject_alternative_name().map_err(|_| unreadable.clone())?;
    let names = || alternatives.iter().flat_map(|names| &names.value.general_names);
    // It could have been a URI, and then the common name does not count.
    if names().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(unreadable);
    }
    let mut uris = names().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (first, second) = (uris.next(), uris.next());
    if second.is_some() {
        return Err(Refusal::Bad("the client certificate has several URIs: which one counts?"));
    }
    let name = match first {
        Some(uri) => uri,
        None => {
            let mut names = certificate.subject().iter_common_name();
            let (Some(only), None) = (names.next(), names.next()) else {
                return Err(Refusal::Bad("the client certificate has no URI and no common name"));
            };
            let name = only.as_str().unwrap_or_default();
            // What looks like a URI is one only where URIs stand.
            if name.contains("://") { "" } else { name }
        }
    };
    if name.is_empty() || NAME < name.len() || name.contains(char::is_control) {
        return Err(Refusal::Bad("the client certificate's name cannot be one here"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn named(common: Option<&str>, uris: &[&str]) -> Result<String, Refusal> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let peer = Peer::new(certificate.der(), [0; 32], true);
        peer.identity().map(|(name, _)| name.to_owned())
    }

    #[test]
    fn a_certificate_is_its_uri_or_else_its_common_name() {
        let spiffe = "spiffe://prod/ns/a/sa/b";
        assert_eq!(named(Some("alice"), &[]).unwrap(), "alice");
        assert_eq!(named(Some("alice"), &[spiffe]).unwrap(), spiffe);
        assert!(named(None, &[]).is_err());
        assert!(named(Some("alice"), &[spiffe, "spiffe://prod/other"]).is_err());
        assert!(named(Some(spiffe), &[]).is_err(), "a common name is no URI");
        assert!(named(Some("a\nb"), &[]).is_err());
        assert!(Peer::new(b"what is this", [0; 32], true).identity().is_err());
    }
}
