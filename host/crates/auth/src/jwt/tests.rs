//! Tokens good and bad, signed here as an issuer would.

use std::{sync::LazyLock, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

use super::*;
use crate::policy::{Algorithm, KeysFrom};

const NOW: u64 = 1_800_000_000;

/// An issuer's private key.
enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn rsa() -> Self {
        let der = include_bytes!("../../tests/fixtures/rsa.pk8");
        Self::Rsa(RsaKeyPair::from_pkcs8(der).unwrap())
    }

    fn ec() -> Self {
        let (of, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let der = EcdsaKeyPair::generate_pkcs8(of, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(of, der.as_ref(), &random).unwrap())
    }

    fn ed() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                let (n, e) = (base64(&public.n), base64(&public.e));
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e})
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (base64(&point[1..33]), base64(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y})
            }
            Self::Ed(key) => {
                let x = base64(key.public_key());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
            }
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let (random, bytes) = (SystemRandom::new(), message.as_bytes());
        let signature = match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(bytes).as_ref().to_vec(),
        };
        format!("{message}.{}", base64(signature))
    }

    fn good(&self, kid: &str) -> String {
        self.token(&json!({"alg": self.algorithm(), "kid": kid}), &claims())
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://idp", "aud": ["other", "roadstead"], "sub": "alice",
        "exp": NOW + 60, "nbf": NOW - 60, "iat": NOW - 60,
    })
}

fn settings() -> IssuerSettings {
    IssuerSettings {
        name: "idp".into(),
        issuer: "https://idp".into(),
        audiences: vec!["roadstead".into()],
        algorithms: Algorithm::ALL.to_vec(),
        leeway: Duration::from_secs(10),
        keys: KeysFrom::File("keys.json".into()),
        refresh: Duration::from_secs(60),
        min_refresh: Duration::from_secs(1),
    }
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn judged(token: &str, settings: &IssuerSettings, keys: &KeySet) -> Result<Verified, Unverified> {
    let (header, issuer) = named(token).map_err(Unverified::Refused)?;
    assert_eq!(issuer, settings.issuer);
    verify(token, &header, settings, keys, NOW)
}

fn text(judged: Result<Verified, Unverified>) -> String {
    match judged {
        Err(Unverified::Refused(refusal)) => refusal.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn tokens_of_every_algorithm_are_verified() {
    for signer in [Signer::rsa(), Signer::ec(), Signer::ed()] {
        let keys = set(&[signer.jwk("a"), Signer::ec().jwk("b")]);
        let verified = judged(&signer.good("a"), &settings(), &keys).unwrap();
        assert_eq!(verified, Verified { subject: "alice".into(), until: NOW + 70 });
    }
}

/// A token whose claims differ from good ones by these.
fn with(changes: &Value) -> (String, KeySet) {
    let signer = Signer::ec();
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    let token = signer.token(&json!({"alg": "ES256", "kid": "a"}), &claims);
    (token, set(&[signer.jwk("a")]))
}

#[test]
fn claims_that_do_not_hold_are_named() {
    for (changes, part) in [
        (json!({"exp": NOW - 10}), "expired"),
        (json!({"exp": 0}), "expired"),
        (json!({"exp": -5}), "`exp`"),
        (json!({"exp": null}), "of use"),
        (json!({"exp": "soon"}), "of use"),
        (json!({"exp": 1e300}), "`exp`"),
        (json!({"nbf": NOW + 11}), "not good yet"),
        (json!({"aud": "other"}), "audience"),
        (json!({"aud": ["x", "y"]}), "audience"),
        (json!({"aud": []}), "audience"),
        (json!({"aud": null}), "lacks"),
        (json!({"sub": null}), "of use"),
        (json!({"sub": ""}), "`sub`"),
        (json!({"sub": "a\nb"}), "`sub`"),
        (json!({"sub": "x".repeat(256)}), "`sub`"),
        (json!({"sub": 7}), "of use"),
    ] {
        let (token, keys) = with(&changes);
        let said = text(judged(&token, &settings(), &keys));
        assert!(said.contains(part), "{changes}: {said}");
    }
    for changes in [json!({"exp": NOW - 9}), json!({"nbf": NOW + 10}), json!({"nbf": null})] {
        let (token, keys) = with(&changes);
        assert!(judged(&token, &settings(), &keys).is_ok(), "{changes}: the leeway counts");
    }
}

#[test]
fn the_issuer_is_one_and_the_right_one() {
    let (token, keys) = with(&json!({"iss": ["https://idp", "https://other"]}));
    assert!(named(&token).is_err(), "{keys:?}");
    let (token, keys) = with(&json!({"iss": "https://other"}));
    let (header, issuer) = named(&token).unwrap();
    assert_eq!(issuer, "https://other");
    let said = text(verify(&token, &header, &settings(), &keys, NOW));
    assert!(said.contains("another issuer"), "{said}");
}

#[test]
fn signatures_are_by_public_keys_of_the_set_alone() {
    let rsa = Signer::rsa();
    let keys = set(&[rsa.jwk("a")]);
    // No signature at all.
    for alg in ["none", "None", "NONE", ""] {
        let header = json!({"alg": alg, "kid": "a"});
        let token = format!("{}.{}.", base64(header.to_string()), base64(claims().to_string()));
        assert!(named(&token).is_err(), "{alg}");
    }
    // The public key taken for a shared secret.
    let public = rsa.jwk("a")["n"].as_str().unwrap().to_owned();
    for secret in [public.as_bytes(), &URL_SAFE_NO_PAD.decode(&public).unwrap()] {
        let header = json!({"alg": "HS256", "kid": "a"});
        let message = format!("{}.{}", base64(header.to_string()), base64(claims().to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        let said = text(judged(&format!("{message}.{}", base64(tag)), &settings(), &keys));
        assert!(said.contains("does not take"), "{said}");
    }
    // A key of another kind by the right name, and an algorithm that the policy leaves out.
    let ec = Signer::ec();
    assert_eq!(judged(&ec.good("a"), &settings(), &keys), Err(Unverified::UnknownKey));
    let strict = IssuerSettings { algorithms: vec![Algorithm::Es256], ..settings() };
    let said = text(judged(&rsa.good("a"), &strict, &keys));
    assert!(said.contains("does not take"), "{said}");
    // Another's signature.
    let keys = set(&[Signer::ec().jwk("a")]);
    let said = text(judged(&ec.good("a"), &settings(), &keys));
    assert!(said.contains("signature"), "{said}");
    // What must be understood and is not.
    let header = json!({"alg": "ES256", "kid": "a", "crit": ["b64"], "b64": false});
    let said = text(judged(&ec.token(&header, &claims()), &settings(), &set(&[ec.jwk("a")])));
    assert!(said.contains("extensions"), "{said}");
}

#[test]
fn keys_are_found_by_their_name() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let keys = set(&[old.jwk("old")]);
    assert_eq!(judged(&new.good("new"), &settings(), &keys), Err(Unverified::UnknownKey));
    let both = set(&[old.jwk("old"), new.jwk("new")]);
    assert!(judged(&new.good("new"), &settings(), &both).is_ok());
    let nameless = |signer: &Signer| signer.token(&json!({"alg": "ES256"}), &claims());
    assert!(judged(&nameless(&old), &settings(), &keys).is_ok(), "there is no other");
    assert_eq!(judged(&nameless(&new), &settings(), &both), Err(Unverified::UnknownKey));
    assert!(!keys.is_same_as(&both) && both.is_same_as(&both.clone()));
}

#[test]
fn key_sets_leave_out_what_is_of_no_use() {
    let ec = Signer::ec();
    let with = |name: &str, value: &str| {
        let mut jwk = ec.jwk("a");
        jwk[name] = value.into();
        jwk
    };
    let parse = |keys: Value| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes());
    let useless = json!([
        with("use", "enc"), with("alg", "ES384"), with("crv", "P-384"), with("kty", "PQ"),
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "a"}, 7, {},
    ]);
    assert_eq!(parse(useless).unwrap_err(), KeysError::NoKey);
    assert!(parse(json!([with("use", "enc"), ec.jwk("a")])).is_ok());
    assert_eq!(parse(json!(vec![ec.jwk("a"); 101])).unwrap_err(), KeysError::TooMany(101));
    for bad in ["", "[]", "{\"keys\": 1}", "<html>"] {
        assert!(matches!(KeySet::parse(bad.as_bytes()), Err(KeysError::Malformed(_))), "{bad}");
    }
}

static GOOD: LazyLock<(String, KeySet)> = LazyLock::new(|| with(&json!({})));

proptest! {
    #[test]
    fn a_token_with_any_byte_changed_is_refused(at in 0..10_000_usize, to in any::<u8>()) {
        let (token, keys) = &*GOOD;
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        let same = bytes[at] == to;
        bytes[at] = to;
        if let Ok(changed) = String::from_utf8(bytes) && !same {
            let judged = named(&changed)
                .map_err(Unverified::Refused)
                .and_then(|(header, _)| verify(&changed, &header, &settings(), keys, NOW));
            prop_assert!(judged.is_err(), "{changed}");
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,60}", dots in "[A-Za-z0-9_=-]{0,40}(\\.[A-Za-z0-9_=-]{0,40}){0,4}") {
        drop((named(&text), named(&dots), KeySet::parse(text.as_bytes())));
    }
}
