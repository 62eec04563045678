//! What clients show to a host that asks who they are.

use std::{fs, io::Write as _, path::Path};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

/// A client's certificate by an authority of its own.
pub(crate) fn client(name: &str, out: &Path) -> anyhow::Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "clients");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(Vec::new())?;
    if name.contains("://") {
        params.subject_alt_names.push(SanType::URI(name.try_into()?));
    } else {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?;
    fs::write(out.join("clients.pem"), authority.pem())?;
    fs::write(out.join("client.pem"), certificate.pem())?;
    fs::write(out.join("client-key.pem"), key.serialize_pem())?;
    Ok(())
}

/// A signed token; its issuer's key stays in `key.pk8` for the next one.
pub(crate) fn jwt(claims: &str, out: &Path) -> anyhow::Result<()> {
    let claims: Value = serde_json::from_str(claims).context("read the claims")?;
    let (of, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let unusable = |_| anyhow::anyhow!("make a key");
    let file = out.join("key.pk8");
    if !file.exists() {
        let der = EcdsaKeyPair::generate_pkcs8(of, &random).map_err(unusable)?;
        fs::write(&file, der.as_ref())?;
    }
    let key = EcdsaKeyPair::from_pkcs8(of, &fs::read(&file)?, &random)
        .map_err(|error| anyhow::anyhow!("read the key: {error}"))?;
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (_, point) = key.public_key().as_ref().split_first().context("a public key")?;
    let (x, y) = point.split_at_checked(32).context("two coordinates")?;
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": part(x), "y": part(y)});
    fs::write(out.join("keys.json"), json!({"keys": [jwk]}).to_string())?;
    let header = json!({"alg": "ES256", "kid": "a"}).to_string();
    let message = format!("{}.{}", part(header.as_bytes()), part(claims.to_string().as_bytes()));
    let signature = key.sign(&random, message.as_bytes()).map_err(unusable)?;
    writeln!(std::io::stdout(), "{message}.{}", part(signature.as_ref()))?;
    Ok(())
}
