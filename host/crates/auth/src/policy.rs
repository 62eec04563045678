//! The policy file, read and checked as a whole: whose credentials are good, and who may do what.

mod file;
mod grants;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Uri;
use roadstead_domain::Span;
use toml::Spanned;

use crate::{TokenHash, identity::Source};
pub(crate) use file::Algorithm;
use file::{File, JwtEntry};
pub(crate) use grants::Grants;

/// What a policy file says.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The names of tokens.
    pub tokens: HashMap<TokenHash, String>,
    pub issuers: Vec<IssuerSettings>,
    /// The file of the authorities that sign client certificates.
    pub client_ca: Option<PathBuf>,
    pub grants: Grants,
}

/// An issuer of JSON Web Tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuerSettings {
    /// How grants name it.
    pub name: String,
    /// The claim `iss`.
    pub issuer: String,
    /// One of these is in the claim `aud`.
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    /// How far its clock and this host's may be apart.
    pub leeway: Duration,
    pub keys: KeysFrom,
    /// How long keys are used before they are asked for again.
    pub refresh: Duration,
    /// How often unknown keys may make this host ask earlier.
    pub min_refresh: Duration,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeysFrom {
    File(PathBuf),
    Web { at: Address, ca: Option<PathBuf>, token_file: Option<PathBuf> },
}

/// What is asked for the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// The issuer's own description says where they are.
    Discovery(Uri),
    Keys(Uri),
}

/// What is wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// From 1.
    pub line: Option<usize>,
    pub field: String,
    pub problem: String,
}

impl std::error::Error for PolicyError {}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}

/// Tells where in the text something stands.
struct Text<'a>(&'a str);

impl Text<'_> {
    fn error(
        &self,
        at: Option<Range<usize>>,
        field: &str,
        problem: impl Into<String>,
    ) -> PolicyError {
        let before = at.and_then(|span| self.0.get(..span.start));
        let line = before.map(|text| text.matches('\n').count() + 1);
        PolicyError { line, field: field.to_owned(), problem: problem.into() }
    }

    fn wrong<T>(&self, at: &Spanned<T>, field: &str, problem: impl Into<String>) -> PolicyError {
        self.error(Some(at.span()), field, problem)
    }
}

impl Policy {
    /// Reads a policy; paths in it are relative to `directory`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and field.
    pub(crate) fn parse(text: &str, directory: &Path) -> Result<Self, PolicyError> {
        let lines = Text(text);
        let file: File = toml::from_str(text)
            .map_err(|error| lines.error(error.span(), "", error.message().trim()))?;
        let tokens = tokens(&file, &lines)?;
        let issuers = file
            .jwt
            .iter()
            .map(|entry| issuer(entry, &lines, directory))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut names, mut named) = (HashSet::new(), HashSet::new());
        for entry in &file.jwt {
            if !names.insert(entry.name.as_ref()) {
                return Err(lines.wrong(&entry.name, "jwt.name", "stands twice"));
            }
            if !named.insert(entry.issuer.as_ref()) {
                let problem = "stands twice: give one entry several audiences instead";
                return Err(lines.wrong(&entry.issuer, "jwt.issuer", problem));
            }
        }
        let client_ca = file.mtls.map(|mtls| directory.join(mtls.client_ca));
        let known = grants::Known {
            tokens: tokens.values().map(String::as_str).collect(),
            issuers: issuers.iter().map(|issuer| issuer.name.as_str()).collect(),
            certificates: client_ca.is_some(),
        };
        let grants = Grants::read(&file.grant, &known, &lines)?;
        if tokens.is_empty() && issuers.is_empty() && client_ca.is_none() && !grants.anonymous() {
            let problem = "lets nobody in: it names no [[token]], [[jwt]] or [mtls]";
            return Err(lines.error(None, "", problem));
        }
        Ok(Self { tokens, issuers, client_ca, grants })
    }

    /// Files beside the policy itself on which it rests.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let of_issuers = self.issuers.iter().filter_map(|issuer| match &issuer.keys {
            KeysFrom::File(path) => Some(path.as_path()),
            KeysFrom::Web { .. } => None,
        });
        of_issuers.chain(self.client_ca.as_deref())
    }

    /// Whether the policy still lets in what an identity rests on.
    pub(crate) fn knows(&self, name: &str, source: &Source) -> bool {
        match source {
            Source::NoPolicy | Source::Pool { .. } => false,
            Source::Anonymous => self.grants.anonymous(),
            Source::Token(hash) => {
                let now = self.tokens.get(hash);
                now.is_some_and(|now| name.strip_prefix("token:") == Some(now))
            }
            Source::Jwt(issuer) => self.issuers.iter().any(|now| *now == **issuer),
            Source::Certificate(_) => self.client_ca.is_some(),
        }
    }
}

fn tokens(file: &File, lines: &Text<'_>) -> Result<HashMap<TokenHash, String>, PolicyError> {
    let (mut tokens, mut names) = (HashMap::new(), HashSet::new());
    for entry in &file.token {
        let name = plain(&entry.name, "token.name", lines)?;
        if !names.insert(name.clone()) {
            return Err(lines.wrong(&entry.name, "token.name", "stands twice"));
        }
        if tokens.insert(*entry.hash.as_ref(), name).is_some() {
            return Err(lines.wrong(&entry.hash, "token.hash", "stands twice"));
        }
    }
    Ok(tokens)
}

/// A name that stands within `who`.
fn plain(name: &Spanned<String>, field: &str, lines: &Text<'_>) -> Result<String, PolicyError> {
    let text = name.as_ref();
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || 63 < text.len() || !text.bytes().all(known) {
        let problem = "must be 1 to 63 letters, digits, `-`, `_` and `.`";
        return Err(lines.wrong(name, field, problem));
    }
    Ok(text.clone())
}

fn issuer(
    entry: &JwtEntry,
    lines: &Text<'_>,
    directory: &Path,
) -> Result<IssuerSettings, PolicyError> {
    const LEEWAY: Duration = Duration::from_secs(30);
    const REFRESH: Duration = Duration::from_secs(600);
    const MIN_REFRESH: Duration = Duration::from_secs(10);
    let name = plain(&entry.name, "jwt.name", lines)?;
    let audiences = entry.audience.as_ref().list();
    if audiences.is_empty() || audiences.iter().any(String::is_empty) {
        let problem = "must name whom tokens are for: others' tokens would be taken here";
        return Err(lines.wrong(&entry.audience, "jwt.audience", problem));
    }
    if entry.issuer.as_ref().is_empty() {
        return Err(lines.wrong(&entry.issuer, "jwt.issuer", "must not be empty"));
    }
    let algorithms = match &entry.algorithms {
        None => Algorithm::ALL.to_vec(),
        Some(list) if list.as_ref().is_empty() => {
            return Err(lines.wrong(list, "jwt.algorithms", "must name one at least"));
        }
        Some(list) => list.as_ref().clone(),
    };
    let span = |value: &Option<Spanned<Span>>, default: Duration, field: &str, most: Duration| {
        let Some(given) = value else { return Ok(default) };
        let given_for = given.as_ref().duration();
        if most < given_for {
            let problem = format!("can be {} seconds at most", most.as_secs());
            return Err(lines.wrong(given, field, problem));
        }
        Ok(given_for)
    };
    let day = Duration::from_secs(86_400);
    Ok(IssuerSettings {
        name,
        issuer: entry.issuer.as_ref().clone(),
        audiences,
        algorithms,
        leeway: span(&entry.leeway, LEEWAY, "jwt.leeway", Duration::from_secs(300))?,
        keys: keys_from(entry, lines, directory)?,
        refresh: span(&entry.refresh, REFRESH, "jwt.refresh", day)?,
        min_refresh: span(&entry.min_refresh, MIN_REFRESH, "jwt.min_refresh", day)?,
    })
}

fn keys_from(
    entry: &JwtEntry,
    lines: &Text<'_>,
    directory: &Path,
) -> Result<KeysFrom, PolicyError> {
    let at = |path: &PathBuf| directory.join(path);
    if let Some(file) = &entry.jwks_file {
        for (given, field) in [
            (entry.jwks_url.as_ref().map(Spanned::span), "jwt.jwks_url"),
            (entry.ca.as_ref().map(Spanned::span), "jwt.ca"),
            (entry.token_file.as_ref().map(Spanned::span), "jwt.token_file"),
            (entry.refresh.as_ref().map(Spanned::span), "jwt.refresh"),
            (entry.min_refresh.as_ref().map(Spanned::span), "jwt.min_refresh"),
        ] {
            if given.is_some() {
                return Err(lines.error(given, field, "has no meaning beside jwks_file"));
            }
        }
        return Ok(KeysFrom::File(at(file)));
    }
    let at_address = match &entry.jwks_url {
        Some(url) => Address::Keys(https(url.as_ref()).ok_or_else(|| {
            lines.wrong(url, "jwt.jwks_url", "must be a URL that begins with https://")
        })?),
        None => {
            let base = entry.issuer.as_ref().trim_end_matches('/');
            let url = https(&format!("{base}/.well-known/openid-configuration"));
            Address::Discovery(url.ok_or_else(|| {
                let problem = "must begin with https://, or jwks_url or jwks_file must say where \
                               its keys are";
                lines.wrong(&entry.issuer, "jwt.issuer", problem)
            })?)
        }
    };
    let ca = entry.ca.as_ref().map(|path| at(path.as_ref()));
    let token_file = entry.token_file.as_ref().map(|path| at(path.as_ref()));
    Ok(KeysFrom::Web { at: at_address, ca, token_file })
}

/// A URL of a host that shows a certificate.
pub(crate) fn https(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let good = uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty());
    // Who asks is said in headers, never in an address.
    let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    (good && !user).then_some(uri)
}

#[cfg(test)]
mod tests;
