//! Decides whether a text is meant.

use regex_lite::{Regex, RegexBuilder};

use crate::bindings::exports::demo::kv_filter::filter::{Matcher, Problem};

/// Bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 256 << 10;

/// A matcher whose pattern is compiled.
pub(crate) enum Matching {
    Any,
    Exactly(String),
    Prefix(String),
    Pattern(Regex),
}

impl Matching {
    pub(crate) fn new(matcher: &Matcher) -> Result<Self, Problem> {
        Ok(match matcher {
            Matcher::Any => Self::Any,
            Matcher::Exactly(text) => Self::Exactly(text.clone()),
            Matcher::Prefix(text) => Self::Prefix(text.clone()),
            Matcher::Pattern(text) => Self::Pattern(
                RegexBuilder::new(text)
                    .size_limit(MAX_PATTERN)
                    .build()
                    .map_err(|error| Problem::BadPattern(error.to_string()))?,
            ),
        })
    }

    pub(crate) fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => text == wanted,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }
}
