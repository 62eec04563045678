//! What an operator may offer by pattern: targets in the network, and to whom.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{HostPort, ModuleName, Namespace, address::is_public};

/// Hosts and a port that an operator offers: `api.example.com:443`, `*.example.com:443`, `*:443`,
/// `10.0.0.7:5432`, `10.0.0.0/8:5432`, `[fd00::/8]:*`.
///
/// Only one that writes an address or a block of them out opens addresses that are not public;
/// `localhost` opens loopback to that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkOffer {
    hosts: Hosts,
    /// None: any.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    /// Every name but `localhost`, and every public address.
    Any,
    /// Names that end in this, which starts with a dot.
    Below(String),
    Name(String),
    Block {
        address: IpAddr,
        prefix: u8,
    },
}

/// Who may have an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grantee {
    /// `*`
    Everyone,
    /// `NAMESPACE/*`
    Namespace(Namespace),
    /// `NAMESPACE/MODULE`
    Module(Namespace, ModuleName),
}

impl NetworkOffer {
    /// Whether a spec may ask for `to`.
    pub fn offers(&self, to: &HostPort) -> bool {
        if !self.has_port(to.port()) {
            return false;
        }
        match (&self.hosts, to.address()) {
            (Hosts::Any, Some(address)) => is_public(address),
            (Hosts::Any, None) => to.host() != "localhost",
            (Hosts::Below(end), None) => to.host().ends_with(end.as_str()),
            (Hosts::Name(name), None) => to.host() == name,
            (Hosts::Block { address, prefix }, Some(asked)) => contains(*address, *prefix, asked),
            _ => false,
        }
    }

    /// Whether this writes out the address that a connection would go to.
    pub fn opens(&self, to: IpAddr, port: u16) -> bool {
        let named = match self.hosts {
            Hosts::Block { address, prefix } => contains(address, prefix, to.to_canonical()),
            _ => false,
        };
        named && self.has_port(port)
    }

    fn has_port(&self, port: u16) -> bool {
        self.port.is_none_or(|offered| offered == port)
    }
}

/// Whether the first `prefix` bits agree.
fn contains(block: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let agree = |difference: u128, bits: u32| {
        difference.checked_shr(bits.saturating_sub(prefix.into())).is_none_or(|rest| rest == 0)
    };
    match (block, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => agree((a.to_bits() ^ b.to_bits()).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => agree(a.to_bits() ^ b.to_bits(), 128),
        _ => false,
    }
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a host's name, an address or a block of them");
        if text == "*" {
            return Ok(Self::Any);
        }
        let (host, prefix) = match text.split_once('/') {
            Some((host, prefix)) => (host, Some(prefix.parse::<u8>().map_err(|_| expected())?)),
            None => (text, None),
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            return Self::block(address, prefix, text);
        }
        let (wild, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        let well_formed = !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
        match (well_formed && prefix.is_none(), wild) {
            (false, _) => Err(expected()),
            (true, true) => Ok(Self::Below(format!(".{}", name.to_ascii_lowercase()))),
            (true, false) => Ok(Self::Name(name.to_ascii_lowercase())),
        }
    }

    fn block(address: IpAddr, prefix: Option<u8>, text: &str) -> Result<Self, String> {
        let (least, most) = if address.is_ipv4() { (8, 32) } else { (7, 128) };
        let prefix = prefix.unwrap_or(most);
        if prefix < least || most < prefix {
            return Err(format!(
                "`{text}`: a block's prefix is /{least} to /{most}; `*` stands for the whole public \
                 internet"
            ));
        }
        let nobody = address.is_unspecified() || address.is_multicast();
        if nobody || address == IpAddr::from([255, 255, 255, 255]) {
            return Err(format!("`{text}` is nobody's address"));
        }
        if prefix == most {
            let address = address.to_canonical();
            return Ok(Self::Block { address, prefix: if address.is_ipv4() { 32 } else { 128 } });
        }
        Ok(Self::Block { address, prefix })
    }
}

impl FromStr for NetworkOffer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!("`{text}` is not HOST:PORT, like *.example.com:443, 10.0.0.0/8:* or [::1]:80")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = match port {
            "*" => None,
            port => Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(expected)?),
        };
        let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        if bracketed.is_none() && host.contains(':') {
            return Err(expected());
        }
        Ok(Self { hosts: Hosts::parse(bracketed.unwrap_or(host))?, port })
    }
}

impl fmt::Display for NetworkOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Any => f.write_str("*")?,
            Hosts::Below(end) => write!(f, "*{end}")?,
            Hosts::Name(name) => f.write_str(name)?,
            Hosts::Block { address: IpAddr::V4(address), prefix: 32 } => write!(f, "{address}")?,
            Hosts::Block { address: IpAddr::V6(address), prefix: 128 } => write!(f, "[{address}]")?,
            Hosts::Block { address: IpAddr::V4(address), prefix } => {
                write!(f, "{address}/{prefix}")?;
            }
            Hosts::Block { address: IpAddr::V6(address), prefix } => {
                write!(f, "[{address}/{prefix}]")?;
            }
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl Grantee {
    pub fn is(&self, namespace: &Namespace, module: &ModuleName) -> bool {
        match self {
            Self::Everyone => true,
            Self::Namespace(all) => all == namespace,
            Self::Module(within, one) => (within, one) == (namespace, module),
        }
    }

    /// Whether some module of the namespace may have it.
    pub fn is_within(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Everyone => true,
            Self::Namespace(within) | Self::Module(within, _) => within == namespace,
        }
    }
}

impl FromStr for Grantee {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Everyone);
        }
        let (namespace, module) = text.split_once('/').ok_or_else(|| {
            format!("`{text}` is neither NAMESPACE/MODULE nor NAMESPACE/* nor * for everyone")
        })?;
        let namespace = namespace.parse().map_err(|error| format!("`{text}`: {error}"))?;
        if module == "*" {
            return Ok(Self::Namespace(namespace));
        }
        let module = module.parse().map_err(|error| format!("`{text}`: {error}"))?;
        Ok(Self::Module(namespace, module))
    }
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("*"),
            Self::Namespace(namespace) => write!(f, "{namespace}/*"),
            Self::Module(namespace, module) => write!(f, "{namespace}/{module}"),
        }
    }
}

macro_rules! written_as_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

written_as_text!(NetworkOffer, Grantee);

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(text: &str) -> NetworkOffer {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn an_offer_covers_what_its_pattern_says() {
        for (pattern, covered, not) in [
            (
                "*.Example.com:443",
                &["api.example.com:443", "a.b.example.com:443"][..],
                &["example.com:443", "api.example.com:80", "badexample.com:443", "1.1.1.1:443"][..],
            ),
            (
                "*:443",
                &["api.example.com:443", "1.1.1.1:443", "[2606:4700::1111]:443"],
                &["localhost:443", "10.0.0.1:443", "[::1]:443", "[::ffff:127.0.0.1]:443", "a:80"],
            ),
            ("localhost:*", &["localhost:1"], &["127.0.0.1:1", "x.localhost:1"]),
            (
                "10.0.0.0/8:*",
                &["10.1.2.3:1", "[::ffff:10.0.0.1]:2"],
                &["11.0.0.1:1", "db.example.com:1"],
            ),
            ("127.0.0.1:80", &["127.0.0.1:80"], &["127.0.0.2:80", "localhost:80"]),
            ("[::ffff:127.0.0.1]:80", &["127.0.0.1:80"], &["[::1]:80"]),
            ("[fd00::/8]:80", &["[fdff::1]:80"], &["[fc00::1]:80"]),
        ] {
            let offer = offer(pattern);
            for to in covered {
                assert!(offer.offers(&to.parse().unwrap()), "{pattern} {to}");
            }
            for to in not {
                assert!(!offer.offers(&to.parse().unwrap()), "{pattern} {to}");
            }
            assert_eq!(offer.to_string().parse(), Ok(offer), "{pattern}");
        }
    }

    #[test]
    fn only_written_out_addresses_are_opened() {
        let opens = |pattern: &str, to: &str| offer(pattern).opens(to.parse().unwrap(), 80);
        assert!(opens("10.0.0.0/8:80", "10.9.9.9") && opens("[::1]:*", "::1"));
        assert!(opens("10.0.0.0/8:80", "::ffff:10.9.9.9"));
        assert!(!opens("10.0.0.0/8:81", "10.9.9.9") && !opens("*:80", "10.9.9.9"));
        assert!(!opens("localhost:80", "127.0.0.1") && !opens("10.0.0.0/8:80", "11.0.0.0"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "",
            "a",
            "a:0",
            ":80",
            "*a.com:1",
            "a.*:1",
            "::1:80",
            "0.0.0.0/0:80",
            "[::/0]:80",
            "0.0.0.0:80",
            "224.0.0.1:80",
            "[::]:80",
            "10.0.0.0/33:80",
            "a.com/8:80",
            "*.:80",
            "255.255.255.255:1",
            "http://a:80",
        ] {
            assert!(bad.parse::<NetworkOffer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn grantees_are_everyone_a_namespace_or_a_module() {
        let (team, other) = ("team".parse().unwrap(), "other".parse().unwrap());
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        for (text, is) in [
            ("*", [true, true, true]),
            ("team/*", [true, true, false]),
            ("team/one", [true, false, false]),
        ] {
            let grantee: Grantee = text.parse().unwrap();
            let found = [(&team, &one), (&team, &two), (&other, &one)];
            assert_eq!(found.map(|(namespace, module)| grantee.is(namespace, module)), is);
            assert_eq!(grantee.to_string(), text);
        }
        for bad in ["", "team", "team/", "/one", "*/one", "A B/c"] {
            assert!(bad.parse::<Grantee>().is_err(), "{bad}");
        }
    }
}
