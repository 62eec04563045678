//! Whether a request may come from a web page that has no business here.
//!
//! What keeps others out of a host on loopback is, first of all, that they are on other machines. A browser is not, and shows pages of anyone. Such a page may name this host as its
//! own by DNS rebinding, so names that are not loopback's are refused, and so are pages of other
//! origins. gRPC needs HTTP/2 without TLS, which no browser speaks, so its clients may name the
//! host as they like. Who names the host otherwise on purpose, as a proxy does, is let in by
//! setting.

use std::{collections::BTreeSet, net::IpAddr};

use http::{
    HeaderMap, Uri,
    header::{HOST, ORIGIN},
};

use crate::AllowedOrigins;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    Name,
    Page,
}

impl Foreign {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Name => "FOREIGN_HOST",
            Self::Page => "FOREIGN_ORIGIN",
        }
    }

    /// What to do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Name => {
                "This host listens on loopback in plain text, so it answers to \
                 loopback's names only. Call it as localhost, let your proxy send \
                 `host: localhost`, or start it with --allowed-host to name it otherwise.\n"
            }
            Self::Page => {
                "This host listens on loopback in plain text, so pages of other \
                 origins may not call it. Start it with --cors-origin to name those that may.\n"
            }
        }
    }
}

/// The names, without ports, by which a host on loopback may be called besides loopback's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(BTreeSet<String>);

impl AllowedHosts {
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| without_port(&name).to_ascii_lowercase()).collect())
    }

    fn allow(&self, authority: &str) -> bool {
        is_loopback(authority) || self.0.contains(&without_port(authority).to_ascii_lowercase())
    }
}

/// Looks at a request to a host on loopback; `grpc` if that is what it speaks.
///
/// # Errors
/// What about it is foreign.
pub(crate) fn check(
    allowed: &AllowedOrigins,
    names: &AllowedHosts,
    uri: &Uri,
    headers: &HeaderMap,
    grpc: bool,
) -> Result<(), Foreign> {
    let origin = headers.get(ORIGIN);
    if origin.is_some_and(|origin| !origin.to_str().is_ok_and(|origin| allowed.allow(origin))) {
        return Err(Foreign::Page);
    }
    if grpc && origin.is_none() {
        return Ok(());
    }
    let mut hosts = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let named = uri.authority().is_none_or(|name| names.allow(name.as_str()));
    if named && hosts.all(|host| names.allow(host)) { Ok(()) } else { Err(Foreign::Name) }
}

/// The host of `host`, `host:port` or `[address]:port`.
fn without_port(authority: &str) -> &str {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host)
}

/// Whether `host`, `host:port` or `[address]:port` is this machine.
fn is_loopback(authority: &str) -> bool {
    let host = without_port(authority);
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.rsplit('.').next().unwrap_or_default();
            name.eq_ignore_ascii_case("localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopbacks_names_are_known() {
        for name in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "demo.localhost:1",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:8080",
        ] {
            assert!(is_loopback(name), "{name}");
        }
        for name in [
            "",
            "host",
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "10.0.0.1:8080",
            "[2001:db8::1]:80",
            "0.0.0.0",
            "localhost@evil.example",
        ] {
            assert!(!is_loopback(name), "{name}");
        }
    }

    #[test]
    fn every_name_in_a_request_counts() {
        let none = AllowedOrigins::None;
        let check = |origins: &AllowedOrigins, uri: &Uri, headers: &HeaderMap, grpc| {
            check(origins, &AllowedHosts::default(), uri, headers, grpc)
        };
        let mut headers = HeaderMap::new();
        let relative = Uri::from_static("/a");
        assert_eq!(check(&none, &relative, &headers, false), Ok(()));
        headers.append(HOST, "localhost:80".parse().unwrap());
        assert_eq!(check(&none, &relative, &headers, false), Ok(()));
        let absolute = Uri::from_static("http://evil.example/a");
        assert_eq!(check(&none, &absolute, &headers, false), Err(Foreign::Name));
        assert_eq!(check(&none, &absolute, &headers, true), Ok(()));
        headers.append(HOST, "evil.example".parse().unwrap());
        assert_eq!(check(&none, &relative, &headers, false), Err(Foreign::Name));
        headers.insert(HOST, "localhost".parse().unwrap());
        headers.insert(ORIGIN, "http://good.example".parse().unwrap());
        assert_eq!(check(&none, &relative, &headers, false), Err(Foreign::Page));
        assert_eq!(check(&none, &relative, &headers, true), Err(Foreign::Page));
        let good = AllowedOrigins::parse(["http://good.example".to_owned()]);
        assert_eq!(check(&good, &relative, &headers, false), Ok(()));
        assert_eq!(check(&good, &absolute, &headers, true), Err(Foreign::Name));
    }

    #[test]
    fn names_are_let_in_by_setting() {
        let names = AllowedHosts::new(["Box.lan".to_owned(), "10.0.0.1:80".to_owned()]);
        let checked = |host: &str, uri| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            check(&AllowedOrigins::None, &names, &Uri::from_static(uri), &headers, false)
        };
        for name in ["box.lan", "BOX.LAN:8080", "box.lan.:80", "10.0.0.1", "localhost:1"] {
            assert_eq!(checked(name, "/a"), Ok(()), "{name}");
        }
        for name in ["", "a.box.lan", "box.lan.evil.example", "lan", "10.0.0.2"] {
            assert_eq!(checked(name, "/a"), Err(Foreign::Name), "{name}");
        }
        assert_eq!(checked("box.lan", "http://box.lan/a"), Ok(()));
        assert_eq!(checked("box.lan", "http://evil.example/a"), Err(Foreign::Name));
    }
}
