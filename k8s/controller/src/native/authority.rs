//! Certificates of servers and the keys by which calls are signed: all follow from one Secret, which
//! the controller makes once and only it reads.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use k8s_openapi::jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use roadstead_domain::Digest;
use sha2::Sha256;

use crate::world::ModuleKey;

/// Days for which a server's certificate holds, and after which there is a new one.
const DAYS: i64 = 365;
const RENEW: i64 = 300;

/// The authority's files in its Secret.
const FILES: [&str; 3] = ["ca.crt", "ca.key", "call.key"];

/// An authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("its Secret has no {0}")]
    Missing(&'static str),
    #[error("{0} of its Secret is no text")]
    Text(&'static str),
    #[error("certificates")]
    Certificate(#[from] rcgen::Error),
}

/// Who signs servers' certificates.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    secret: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// What a server is given, and until when it serves with it.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
    pub renew: Timestamp,
}

fn params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Roadstead native modules");
    Ok(params)
}

impl Authority {
    /// The files of a new one.
    ///
    /// # Errors
    /// If no certificate can be made.
    pub fn make() -> Result<BTreeMap<String, String>, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = params()?.self_signed(&key)?.pem();
        let secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let contents = [certificate, key.serialize_pem(), secret];
        Ok(FILES.map(str::to_owned).into_iter().zip(contents).collect())
    }

    /// The one that a Secret holds.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn read(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, AuthorityError> {
        let file = |name: &'static str| {
            let bytes = files.get(name).ok_or(AuthorityError::Missing(name))?;
            String::from_utf8(bytes.clone()).map_err(|_| AuthorityError::Text(name))
        };
        let [certificate, key, secret] = FILES;
        let issuer = Issuer::new(params()?, KeyPair::from_pem(&file(key)?)?);
        Ok(Self { certificate: file(certificate)?, issuer, secret: file(secret)? })
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The key by which calls of a module are signed: 32 characters. Another module of the same
    /// name has another one.
    pub fn call_key(&self, key: &ModuleKey, uid: &str) -> String {
        let text = format!("{}/{}/{uid}", key.namespace, key.module);
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()) else {
            return String::new();
        };
        mac.update(text.as_bytes());
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A certificate for servers of this name.
    ///
    /// # Errors
    /// If none can be made.
    pub fn sign(&self, name: &str, now: Timestamp) -> Result<Identity, AuthorityError> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let after = |days: i64| now.checked_add(SignedDuration::from_hours(24 * days));
        if let Ok(end) = after(DAYS) {
            let end = end.to_zoned(TimeZone::UTC).date();
            let (month, day) = (end.month().unsigned_abs(), end.day().unsigned_abs());
            params.not_after = date_time_ymd(end.year().into(), month, day);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let renew = after(RENEW).unwrap_or(now);
        Ok(Identity { certificate, key: key.serialize_pem(), renew })
    }

    /// Tells what a server was given from what it would be given now.
    pub fn mark(&self, name: &str, call_key: &str, hosts: &str) -> String {
        let all = [&*self.certificate, name, call_key, hosts].join("\n");
        super::standing::digits(&Digest::of(all.as_bytes()).hex(), 16)
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};

    use super::*;

    #[test]
    fn one_that_was_kept_signs_what_its_certificate_vouches_for() {
        let files = Authority::make().unwrap();
        let bytes = files.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes()));
        let authority = Authority::read(&bytes.collect()).unwrap();
        let now = Timestamp::now();
        let identity = authority.sign("native-m.team.native.roadstead.internal", now).unwrap();
        assert!(now < identity.renew);
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der(authority.certificate())).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            std::sync::Arc::new(roots),
            provider,
        );
        let verifier = verifier.build().unwrap();
        let verify = |name: &'static str| {
            use rustls::client::danger::ServerCertVerifier as _;
            let name = ServerName::try_from(name).unwrap();
            let shown = der(&identity.certificate);
            verifier.verify_server_cert(&shown, &[], &name, &[], UnixTime::now())
        };
        verify("native-m.team.native.roadstead.internal").unwrap();
        verify("native-n.team.native.roadstead.internal").unwrap_err();
    }

    #[test]
    fn every_module_has_its_own_key() {
        let authority = |secret: &str| {
            let mut files = Authority::make().unwrap();
            files.insert("call.key".to_owned(), secret.to_owned());
            let bytes = files.into_iter().map(|(name, text)| (name, text.into_bytes()));
            Authority::read(&bytes.collect()).unwrap()
        };
        let key = |module: &str| ModuleKey {
            namespace: "team".to_owned(),
            module: module.to_owned(),
            native: true,
        };
        let one = authority("one").call_key(&key("m"), "u");
        assert_eq!((one.len(), &one), (32, &authority("one").call_key(&key("m"), "u")));
        assert_ne!(one, authority("one").call_key(&key("n"), "u"));
        assert_ne!(one, authority("one").call_key(&key("m"), "other"));
        assert_ne!(one, authority("two").call_key(&key("m"), "u"));
        let error = Authority::read(&BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("call.key") || error.contains("ca."), "{error}");
    }
}
