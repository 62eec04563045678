//! The keys of an issuer: a JSON Web Key Set (RFC 7517), as far as it is of use here.

use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;

use super::crypto;
use crate::policy::Algorithm;

/// Keys that a set may have; issuers have a handful.
const MOST: usize = 100;

/// The keys of one issuer that can check signatures.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeySet(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    /// As it was written: tells whether a set changed.
    jwk: Jwk,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Why a key set is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("is no JSON Web Key Set: {0}")]
    Malformed(String),
    #[error("has {0} keys: {MOST} are allowed")]
    TooMany(usize),
    #[error("has no key for signatures by RS256, ES256 or EdDSA")]
    NoKey,
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a set. Keys for anything else are left out: sets may hold keys of any kind.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, KeysError> {
        crypto::install();
        let written: Written = serde_json::from_slice(json)
            .map_err(|error| KeysError::Malformed(error.to_string()))?;
        if MOST < written.keys.len() {
            return Err(KeysError::TooMany(written.keys.len()));
        }
        let keys: Vec<_> = written.keys.into_iter().filter_map(Key::read).collect();
        if keys.is_empty() { Err(KeysError::NoKey) } else { Ok(Self(keys)) }
    }

    /// The key of that name. A token that names none can be checked where there is one alone.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| {
            let named = kid.is_none() || key.jwk.common.key_id.as_deref() == kid;
            named && key.algorithm == algorithm
        });
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Some(&only.key),
            _ => None,
        }
    }

    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let written = |set: &Self| set.0.iter().map(|key| key.jwk.clone()).collect::<Vec<_>>();
        written(self) == written(other)
    }
}

impl Key {
    fn read(value: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::Rs256,
            AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P256 => {
                Algorithm::Es256
            }
            AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDsa
            }
            _ => return None,
        };
        let for_it = KeyAlgorithm::from(name(algorithm));
        let common = &jwk.common;
        let fits = common.key_algorithm.is_none_or(|given| given == for_it)
            && matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        if !fits {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { jwk, algorithm, key })
    }
}

/// As the library names it.
pub(super) fn name(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}
