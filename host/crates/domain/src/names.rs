//! Names of namespaces, modules and hosts, and references to a module's versions.
//!
//! A name is a DNS label (RFC 1123): 1 to 63 of `a-z`, `0-9` and `-`, with a letter or digit at
//! both ends. The words `roadstead`, `google` and `grpc` are reserved for modules.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Version;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name must have 1 to 63 characters, `{0}` has {len}", len = .0.chars().count())]
    Length(String),
    #[error("`{0}` may hold only a-z, 0-9 and `-`, with a letter or digit first and last")]
    Alphabet(String),
    #[error("`{0}` is a reserved name")]
    Reserved(String),
    #[error("`{0}` is not NAME or NAME@VERSION: {1}")]
    Reference(String, String),
}

fn dns_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.chars().count() > 63 {
        return Err(NameError::Length(text.to_owned()));
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    let bytes = text.as_bytes();
    if !bytes.iter().all(|b| allowed(*b)) || !edge(bytes.first()) || !edge(bytes.last()) {
        return Err(NameError::Alphabet(text.to_owned()));
    }
    Ok(())
}

/// The name of a module within its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleName(String);

/// The namespace of a module; `default` where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(String);

/// The name of a host within its pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// One immutable version of one module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModuleId {
    pub namespace: Namespace,
    pub name: ModuleName,
    pub version: Version,
}

/// `name` or `name@version`, as the metadata `roadstead-module` and the command line take it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModuleRef {
    pub name: ModuleName,
    pub version: Option<Version>,
}

/// The identity of one call, unique within the host's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// Where the instance that served a call came from (trailer `roadstead-instance`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceOrigin {
    Fresh,
    Warm,
    Session,
}

impl InstanceOrigin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Warm => "warm",
            Self::Session => "session",
        }
    }
}

impl ModuleName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Namespace {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a host that is alone.
impl Default for HostName {
    fn default() -> Self {
        Self("host".to_owned())
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for ModuleName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        dns_label(text)?;
        if matches!(text, "roadstead" | "google" | "grpc") {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Namespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        dns_label(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        dns_label(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for ModuleRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (
                name,
                Some(version.parse().map_err(|error: crate::VersionError| {
                    NameError::Reference(text.to_owned(), error.to_string())
                })?),
            ),
            None => (text, None),
        };
        Ok(Self { name: name.parse()?, version })
    }
}

impl TryFrom<String> for ModuleName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl TryFrom<String> for Namespace {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl TryFrom<String> for HostName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl From<ModuleName> for String {
    fn from(name: ModuleName) -> Self {
        name.0
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prints `name@version`, the form of the trailer `roadstead-module`.
impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// Sixteen hexadecimal digits, as logs show it.
impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "text-stats", "a1", "1a", &"x".repeat(63)] {
            assert!(good.parse::<ModuleName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", &"x".repeat(64), "grpc"] {
            assert!(bad.parse::<ModuleName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn references_name_a_module_or_one_version() {
        let reference: ModuleRef = "reward@1.2.3".parse().unwrap();
        assert_eq!(reference.to_string(), "reward@1.2.3");
        assert_eq!("reward".parse::<ModuleRef>().unwrap().version, None);
        assert!("reward@".parse::<ModuleRef>().is_err());
        assert!("reward@x".parse::<ModuleRef>().is_err());
    }
}
