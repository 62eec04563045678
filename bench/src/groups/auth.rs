//! What it costs to ask who calls: processor time of the server for a small call, by what the caller
//! shows. The token of an issuer is verified once and then known by its hash.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use super::unary;
use crate::{
    group::Group,
    host::{Host, push},
    record::Row,
    stage::{Language, Policy, SHARING, SPEC, Stage},
    subject::{Server, Subject, closed_case},
    work::{Task, Work},
};

/// How long a token is good: longer than any run.
const GOOD_FOR: Duration = Duration::from_secs(86_400);

pub(crate) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let open = stage.hosted(Language::Rust, Policy::Pooled).await?;
    let directory = tempfile::tempdir()?;
    let (token, hash) = token(&stage.paths.host)?;
    let signed = signed(directory.path())?;
    let policy = directory.path().join("policy.toml");
    fs::write(
        &policy,
        format!(
            "[[token]]\nname = 'bench'\nhash = '{hash}'\n\
             [[jwt]]\nname = 'bench'\nissuer = 'bench'\naudience = 'bench'\n\
             jwks_file = 'keys.json'\n\
             [[grant]]\nwho = ['token:bench', 'jwt:bench:bench']\nrole = 'caller'\n\
             namespaces = ['default']\n"
        ),
    )?;
    let host = Host::start(&stage.paths.host, &directory.path().join("data"), &[])?;
    let guest = stage
        .paths
        .guest(Language::Rust)?
        .named("rust", &format!("{SPEC}{}", Policy::Pooled.spec()));
    push(host.child.connect().await?, guest).await?;
    let policy = policy.to_str().context("the name of a temporary directory")?;
    let host = host.restart_with(&["--auth", policy])?;
    let server = Server::with_modules(&host.child, &["rust".to_owned()])?;
    let subjects = [
        Subject { name: "without a policy".to_owned(), ..open },
        Subject::server("token", server.clone().with_token(&token)?),
        Subject::server("JSON Web Token", server.with_token(&signed)?),
    ];
    let mut rows = Vec::new();
    for callers in [1, 16] {
        let load = (Task::Call(Work::SMALL), stage.load(callers, SHARING));
        let (case, rounds) = (unary::case(callers), stage.plan.rounds);
        rows.extend(closed_case(Group::Auth, &case, &subjects, load, rounds).await?);
    }
    Ok(rows)
}

/// A token and its hash, as the command line makes them.
fn token(host: &Path) -> anyhow::Result<(String, String)> {
    let made = Command::new(host).args(["token", "new", "--json"]).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout)?;
    let text = |name: &str| made.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok((text("token").context("a token")?, text("hash").context("its hash")?))
}

/// A token of an issuer of our own, whose keys are put into the directory.
fn signed(directory: &Path) -> anyhow::Result<String> {
    let (of, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let unusable = |_| anyhow::anyhow!("make a key");
    let der = EcdsaKeyPair::generate_pkcs8(of, &random).map_err(unusable)?;
    let key = EcdsaKeyPair::from_pkcs8(of, der.as_ref(), &random)
        .map_err(|error| anyhow::anyhow!("read the key: {error}"))?;
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (_, point) = key.public_key().as_ref().split_first().context("a public key")?;
    let (x, y) = point.split_at_checked(32).context("two coordinates")?;
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": part(x), "y": part(y)});
    fs::write(directory.join("keys.json"), json!({"keys": [jwk]}).to_string())?;
    let until = (SystemTime::now() + GOOD_FOR).duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({"iss": "bench", "aud": "bench", "sub": "bench", "exp": until});
    let header = json!({"alg": "ES256", "kid": "a"}).to_string();
    let message = format!("{}.{}", part(header.as_bytes()), part(claims.to_string().as_bytes()));
    let signature = key.sign(&random, message.as_bytes()).map_err(unusable)?;
    Ok(format!("{message}.{}", part(signature.as_ref())))
}
