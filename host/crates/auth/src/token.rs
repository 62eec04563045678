//! Static tokens: random, long, and known to the host by their hash alone.
//!
//! A token has 256 random bits, so its plain SHA-256 tells nobody anything: there is nothing to
//! guess at. It is found by its hash, whose comparison can tell at most something about a hash.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use serde::Deserialize;

/// What tokens begin with, so that scanners for leaked secrets can know them.
const PREFIX: &str = "rst_";

/// A token's text, for whoever made it alone.
pub struct Token(String);

/// The SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct TokenHash(pub(crate) [u8; 32]);

/// Why a hash does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be `sha256:` and 64 hexadecimal digits, as `roadstead token new` prints it; \
     never the token itself"
)]
pub struct NoHash;

impl Token {
    /// A new one.
    pub fn random() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The text to hand to whoever may use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl TokenHash {
    pub(crate) fn of(token: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.iter_mut().zip(digest(&SHA256, token).as_ref()).for_each(|(to, from)| *to = *from);
        Self(hash)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl FromStr for TokenHash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        let digits = text.strip_prefix("sha256:").ok_or(NoHash)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| NoHash)?;
        Ok(Self(hash))
    }
}

impl TryFrom<String> for TokenHash {
    type Error = NoHash;

    fn try_from(text: String) -> Result<Self, NoHash> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_and_shown_by_nobody() {
        let token = Token::random();
        assert_ne!(token.reveal(), Token::random().reveal());
        assert_eq!(token.reveal().len(), PREFIX.len() + 43);
        let hash = token.hash();
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(TokenHash::of(token.reveal().as_bytes()), hash);
        assert_eq!(format!("{token:?}"), "Token");
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of(b"abc").to_string(), known);
    }

    #[test]
    fn a_hash_is_written_out_whole() {
        for bad in ["", "sha256:", "rst_abc", "md5:00", &format!("sha256:{}", "0".repeat(63))] {
            assert_eq!(bad.parse::<TokenHash>(), Err(NoHash), "{bad}");
        }
    }
}
