//! Where the keys of issuers come from: a file, or the web over TLS.

mod https;

use std::{io, path::Path};

use http::Uri;
use serde::Deserialize;

use crate::{
    jwt::{KeySet, KeysError},
    policy::{self, Address, IssuerSettings, KeysFrom},
};
pub(crate) use https::WebError;
use https::{Client, get};

/// Bytes that a file may have that is read here.
const FILE: u64 = 1 << 20;

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("{at}: {source}")]
    Web { at: String, source: WebError },
    #[error("{at} {source}")]
    Keys { at: String, source: KeysError },
    #[error("{0} is no OpenID description: {1}")]
    Description(String, String),
    #[error("{at} describes the issuer `{found}`, which is another one")]
    OtherIssuer { at: String, found: String },
    #[error("{0} names keys at `{1}`, which is no https URL")]
    NoUrl(String, String),
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct FileError {
    path: String,
    source: io::Error,
}

/// What of an OpenID provider's description matters here.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// A file of moderate length.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    use io::Read as _;
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(FILE + 1).read_to_end(&mut bytes)?;
        if FILE < bytes.len() as u64 {
            return Err(io::Error::other("is longer than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|source| FileError { path: path.display().to_string(), source })
}

/// The keys in a file.
pub(crate) fn from_file(path: &Path) -> Result<KeySet, FetchError> {
    let at = path.display().to_string();
    KeySet::parse(&read(path)?).map_err(|source| FetchError::Keys { at, source })
}

/// Asks for the keys once.
pub(crate) async fn fetch(settings: &IssuerSettings) -> Result<KeySet, FetchError> {
    let (at, ca, token_file) = match &settings.keys {
        KeysFrom::File(path) => return from_file(path),
        KeysFrom::Web { at, ca, token_file } => (at, ca.as_deref(), token_file.as_deref()),
    };
    let client = Client { ca: ca.map(read).transpose()? };
    // A token of this host's own changes while it runs: it is read each time.
    let token = token_file.map(read).transpose()?;
    let ask = async |at: &Uri, token: Option<&[u8]>| {
        let got = get(&client, at, token).await;
        got.map_err(|source| FetchError::Web { at: at.to_string(), source })
    };
    let keys_at = match at {
        Address::Keys(keys_at) => keys_at.clone(),
        Address::Discovery(at) => {
            let json = ask(at, token.as_deref()).await?;
            let described: Description = serde_json::from_slice(&json)
                .map_err(|error| FetchError::Description(at.to_string(), error.to_string()))?;
            if described.issuer != settings.issuer {
                let found = described.issuer.chars().take(200).collect();
                return Err(FetchError::OtherIssuer { at: at.to_string(), found });
            }
            let found = || described.jwks_uri.chars().take(200).collect();
            policy::https(&described.jwks_uri)
                .ok_or_else(|| FetchError::NoUrl(at.to_string(), found()))?
        }
    };
    // The host's token is for whom the policy names, not for whom a description names.
    let of_policy = match at {
        Address::Keys(at) | Address::Discovery(at) => at.authority() == keys_at.authority(),
    };
    let json = ask(&keys_at, token.as_deref().filter(|_| of_policy)).await?;
    let at = keys_at.to_string();
    KeySet::parse(&json).map_err(|source| FetchError::Keys { at, source })
}
