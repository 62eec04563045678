//! What a module may touch outside its sandbox. Everything that is not named is denied.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::SpecError;

/// The capabilities a spec asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// Environment variables, given as they stand here.
    pub env: BTreeMap<String, String>,
    /// Keys and values served by `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// Secrets that the operator offers by name, served by `wasi:config` under the same names.
    pub secrets: Vec<String>,
    pub network: Network,
    /// Directories that the operator offers by name.
    pub files: Vec<DirectoryGrant>,
    pub clocks: Clocks,
    pub random: Random,
}

/// Where a module may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Authorities for outgoing HTTP.
    pub http: Vec<HttpTarget>,
    /// Hosts and ports for outgoing TCP.
    pub tcp: Vec<HostPort>,
}

/// `host:port`, where the host is a DNS name in lower case, an IPv4 address or `[IPv6]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: String,
    port: u16,
}

/// An authority that outgoing HTTP may name.
pub type HttpTarget = HostPort;

/// One directory of the operator's, seen by the guest under a path of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DirectoryGrant {
    /// The name under which the operator offers it (`serve --dir NAME=PATH`).
    pub host: String,
    /// Absolute path inside the guest.
    pub guest: String,
    #[serde(default)]
    pub mode: DirectoryMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DirectoryMode {
    #[default]
    Ro,
    Rw,
}

/// What clocks tell: the time, or one that stands still but for what the guest itself sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Clocks {
    Real,
    #[default]
    Fixed,
}

/// Where random bytes come from: the operating system, or a generator with a fixed seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Random {
    Real,
    #[default]
    Seeded,
}

impl fmt::Display for DirectoryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ro => "ro",
            Self::Rw => "rw",
        })
    }
}

impl HostPort {
    /// The host without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host where it is an address, IPv4 in its own form.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok().map(|address: IpAddr| address.to_canonical())
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not HOST:PORT, like api.example.com:443");
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(expected)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner
                .strip_suffix(']')
                .and_then(|inner| inner.parse::<std::net::Ipv6Addr>().ok())
                .ok_or_else(expected)?
                .to_string(),
            None => host.to_ascii_lowercase(),
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        let address = host.parse::<IpAddr>().is_ok();
        if !address && (host.is_empty() || !host.bytes().all(named)) {
            return Err(expected());
        }
        Ok(Self { host, port })
    }
}

impl TryFrom<String> for HostPort {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(target: HostPort) -> Self {
        target.to_string()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Capabilities {
    pub(super) fn validate(&self) -> Result<(), SpecError> {
        let refuse = |field, problem: String| Err(SpecError::Field { field, problem });
        for (key, value) in &self.env {
            if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
                return refuse("capabilities.env", format!("`{key}` is not a variable's name"));
            }
        }
        let mut names = BTreeSet::new();
        for name in &self.secrets {
            if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
                let problem = format!("`{name}` is not 1 to 64 of letters, digits, `-`, `_`, `.`");
                return refuse("capabilities.secrets", problem);
            }
            if !names.insert(name) || self.config.contains_key(name) {
                let problem = format!("`{name}` is given twice, here or in capabilities.config");
                return refuse("capabilities.secrets", problem);
            }
        }
        let mut seen = BTreeSet::new();
        for grant in &self.files {
            let parts_are_plain =
                grant.guest.split('/').skip(1).all(|part| part != ".." && part != ".");
            if !grant.guest.starts_with('/') || !parts_are_plain || grant.guest.contains('\0') {
                let problem = format!("`{}` is not an absolute path without `..`", grant.guest);
                return refuse("capabilities.files", problem);
            }
            if !seen.insert(grant.guest.trim_end_matches('/')) {
                return refuse("capabilities.files", format!("`{}` is given twice", grant.guest));
            }
        }
        Ok(())
    }
}

/// A character of a secret's name.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_need_a_host_and_a_port() {
        for (text, printed) in [
            ("API.example.com:443", "api.example.com:443"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), printed);
        }
        for bad in ["", "a", "a:0", "a:70000", ":80", "http://a:80", "[a]:80", "::1:80x", "a b:1"] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }
}
