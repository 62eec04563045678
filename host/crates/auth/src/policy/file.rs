//! The policy file as it is written.

use std::path::PathBuf;

use roadstead_domain::{Namespace, Span};
use serde::Deserialize;
use toml::Spanned;

use crate::{Role, TokenHash};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub token: Vec<TokenEntry>,
    #[serde(default)]
    pub jwt: Vec<JwtEntry>,
    pub mtls: Option<MtlsEntry>,
    #[serde(default)]
    pub grant: Vec<GrantEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenEntry {
    pub name: Spanned<String>,
    pub hash: Spanned<TokenHash>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JwtEntry {
    pub name: Spanned<String>,
    pub issuer: Spanned<String>,
    pub audience: Spanned<OneOrMany>,
    pub jwks_url: Option<Spanned<String>>,
    pub jwks_file: Option<PathBuf>,
    pub ca: Option<Spanned<PathBuf>>,
    /// A token of this host's own, to ask for the keys with.
    pub token_file: Option<Spanned<PathBuf>>,
    pub algorithms: Option<Spanned<Vec<Algorithm>>>,
    pub leeway: Option<Spanned<Span>>,
    pub refresh: Option<Spanned<Span>>,
    pub min_refresh: Option<Spanned<Span>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MtlsEntry {
    pub client_ca: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantEntry {
    pub who: Spanned<OneOrMany>,
    pub role: Role,
    pub namespaces: Spanned<Vec<Within>>,
    pub home: Option<Spanned<Namespace>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of texts")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A namespace, or `*` for all.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Within {
    All,
    One(Namespace),
}

/// How tokens may be signed: with a key of which the public half is enough to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Algorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];
}

impl OneOrMany {
    pub(super) fn list(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

impl TryFrom<String> for Within {
    type Error = roadstead_domain::NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "*" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}
