//! The allow-lists of a spec, ready to be asked.

use std::net::{IpAddr, SocketAddr};

use http::{Uri, uri::Scheme};
use roadstead_domain::{HostPort, Network as NetworkSpec};
use tokio::sync::Semaphore;

/// Where a module may connect to. Once per module.
#[derive(Debug)]
pub(crate) struct Policy {
    http: Vec<HostPort>,
    tcp: Vec<HostPort>,
    /// Lookups of the module's instances at once.
    pub(super) lookups: Semaphore,
}

/// Few, because a module's own names may be slow on purpose, and each lookup blocks a thread.
const LOOKUPS: usize = 4;

/// Where an HTTP request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpTarget {
    pub(crate) to: HostPort,
    pub(crate) tls: bool,
}

impl Policy {
    pub(crate) fn new(spec: &NetworkSpec) -> Self {
        let lookups = Semaphore::new(LOOKUPS);
        Self { http: spec.http.clone(), tcp: spec.tcp.clone(), lookups }
    }

    pub(crate) fn allows_tcp(&self) -> bool {
        !self.tcp.is_empty()
    }

    /// Where a request may go, if the list has it. The port is the scheme's unless it is given.
    pub(crate) fn http_target(&self, uri: &Uri) -> Option<HttpTarget> {
        let tls = *uri.scheme()? == Scheme::HTTPS;
        let authority = uri.authority()?;
        // User names in an authority have no place in a request, and deceive who reads lists.
        if authority.as_str().contains('@') {
            return None;
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if tls => 443,
            None => 80,
        };
        let to: HostPort = format!("{}:{port}", authority.host()).parse().ok()?;
        self.http.contains(&to).then_some(HttpTarget { to, tls })
    }

    /// Ports of a name that may be connected to; none if the name may not be looked up.
    pub(crate) fn ports_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u16> + 'a {
        self.tcp.iter().filter(move |to| to.host() == name).map(HostPort::port)
    }

    /// Whether the list has this very address.
    pub(crate) fn names_address(&self, address: SocketAddr) -> bool {
        let is = |to: &HostPort| {
            to.port() == address.port()
                && to.host().parse::<IpAddr>().is_ok_and(|ip| ip == address.ip().to_canonical())
        };
        self.tcp.iter().any(is)
    }
}

/// What imports of `wasi:http` and `wasi:sockets` get, in words.
pub(crate) fn grant_text(list: &[HostPort], field: &str) -> String {
    if list.is_empty() {
        return format!("denied: nothing in capabilities.network.{field}");
    }
    let names: Vec<_> = list.iter().map(ToString::to_string).collect();
    format!("allowed: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(http: &[&str], tcp: &[&str]) -> Policy {
        let parse = |list: &[&str]| list.iter().map(|to| to.parse().unwrap()).collect();
        Policy::new(&NetworkSpec { http: parse(http), tcp: parse(tcp) })
    }

    #[test]
    fn requests_go_only_where_the_list_says() {
        let policy = policy(&["api.example.com:443", "127.0.0.1:8080", "[::1]:80"], &[]);
        for (uri, tls) in [
            ("https://api.example.com/x", Some(true)),
            ("https://API.example.com:443/", Some(true)),
            ("http://api.example.com:443/", Some(false)),
            ("http://127.0.0.1:8080/", Some(false)),
            ("http://[::1]/", Some(false)),
            ("http://[0:0::1]/", Some(false)),
            ("http://api.example.com/", None),
            ("https://api.example.com:8443/", None),
            ("https://api.example.com.evil.org/", None),
            ("https://evil.org#api.example.com", None),
            ("https://api.example.com@evil.org/", None),
            ("https://user@api.example.com/", None),
            ("http://127.0.0.1:80/", None),
            ("http://127.1:8080/", None),
            ("http://2130706433:8080/", None),
            ("https://api.example.com./", None),
            ("/relative", None),
        ] {
            let target = policy.http_target(&uri.parse().unwrap());
            assert_eq!(target.map(|target| target.tls), tls, "{uri}");
        }
    }

    #[test]
    fn addresses_count_only_where_the_list_writes_them_out() {
        let policy = policy(&[], &["db.example.com:5432", "10.0.0.7:6379", "db.example.com:5433"]);
        assert!(policy.names_address("10.0.0.7:6379".parse().unwrap()));
        assert!(!policy.names_address("10.0.0.7:6380".parse().unwrap()));
        assert!(!policy.names_address("10.0.0.8:6379".parse().unwrap()));
        assert_eq!(policy.ports_of("db.example.com").collect::<Vec<_>>(), [5432, 5433]);
        assert_eq!(policy.ports_of("example.com").count(), 0);
    }
}
