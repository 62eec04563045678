//! JSON Web Tokens, verified here: signature, issuer, audience and time.
//!
//! Pure: keys and the time come from outside. What a token says of itself is believed only once
//! its signature holds; before that it chooses the issuer, the key and nothing else.

mod crypto;
mod keys;

use std::collections::HashSet;

use jsonwebtoken::{Header, Validation, dangerous::insecure_decode, decode, errors::ErrorKind};
use serde::Deserialize;

use crate::{Refusal, policy::IssuerSettings};
pub(crate) use keys::{KeySet, KeysError};

/// Bytes that a subject may have: it stands in names and messages.
const SUBJECT: usize = 255;

/// Whose token it is, and the second of Unix time from which it is good no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    pub subject: String,
    pub until: u64,
}

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unverified {
    Refused(Refusal),
    /// Of a key that is not in the set: the issuer may have a new one.
    UnknownKey,
}

#[derive(Deserialize)]
struct Named {
    iss: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: f64,
    nbf: Option<f64>,
}

/// The issuer that a token names, not yet to be believed, and its header.
pub(crate) fn named(token: &str) -> Result<(Header, String), Refusal> {
    crypto::install();
    if token.split('.').count() != 3 {
        return Err(bad("the token is not known here"));
    }
    let data = insecure_decode::<Named>(token)
        .map_err(|_| bad("the token is neither known here nor a JSON Web Token of use here"))?;
    Ok((data.header, data.claims.iss))
}

/// Verifies a token of this issuer; `now` is in seconds of Unix time.
pub(crate) fn verify(
    token: &str,
    header: &Header,
    settings: &IssuerSettings,
    keys: &KeySet,
    now: u64,
) -> Result<Verified, Unverified> {
    let refused = |text| Unverified::Refused(bad(text));
    if header.crit.is_some() {
        return Err(refused("the token asks for extensions that this host does not know"));
    }
    let allowed = settings.algorithms.iter().copied().find(|alg| keys::name(*alg) == header.alg);
    let Some(algorithm) = allowed else {
        return Err(refused("the token is signed in a way that this host does not take"));
    };
    let key = keys.find(header.kid.as_deref(), algorithm).ok_or(Unverified::UnknownKey)?;
    let claims = decode::<Claims>(token, key, &validation(settings, header))
        .map_err(|error| Unverified::Refused(bad(why(error.kind()))))?
        .claims;
    judge(claims, settings, now).map_err(Unverified::Refused)
}

/// What the library holds a token to; the time is judged by [`judge`].
fn validation(settings: &IssuerSettings, header: &Header) -> Validation {
    let mut validation = Validation::new(header.alg);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[&settings.issuer]);
    validation.aud = Some(settings.audiences.iter().cloned().collect::<HashSet<_>>());
    validation.validate_exp = false;
    validation
}

fn judge(claims: Claims, settings: &IssuerSettings, now: u64) -> Result<Verified, Refusal> {
    // The library takes a list of issuers for one.
    if claims.iss != settings.issuer {
        return Err(bad("the token is of another issuer"));
    }
    let leeway = settings.leeway.as_secs();
    let until = seconds(claims.exp).ok_or_else(|| bad("the token's `exp` is no time"))?;
    let until = until.saturating_add(leeway);
    if until <= now {
        return Err(Refusal::Expired("the token has expired: get a new one"));
    }
    if let Some(from) = claims.nbf {
        let from = seconds(from).ok_or_else(|| bad("the token's `nbf` is no time"))?;
        if now.saturating_add(leeway) < from {
            return Err(bad(
                "the token is not good yet: its `nbf` is later than this host's clock",
            ));
        }
    }
    let subject = claims.sub;
    if subject.is_empty() || SUBJECT < subject.len() || subject.contains(char::is_control) {
        return Err(bad("the token's `sub` cannot be a name here"));
    }
    Ok(Verified { subject, until })
}

/// A NumericDate (RFC 7519), which may have a fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "its range is looked at; a fraction of a second does not count"
)]
fn seconds(time: f64) -> Option<u64> {
    const MOST: f64 = 1e15;
    (0.0..MOST).contains(&time).then_some(time as u64)
}

fn bad(text: &'static str) -> Refusal {
    Refusal::Bad(text)
}

fn why(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::InvalidSignature => "the token's signature does not hold",
        ErrorKind::InvalidAudience => "the token is meant for another audience",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks one of `iss`, `sub`, `aud`, `exp`",
        _ => "the token is no JSON Web Token of use here",
    }
}

#[cfg(test)]
pub(crate) mod tests;
