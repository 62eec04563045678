//! What of the network a spec asks for and its operator offers, ready to be asked.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{Uri, uri::Scheme};
use roadstead_domain::{HostPort, Network as NetworkSpec, NetworkOffer, is_public};
use tokio::sync::Semaphore;

use crate::{LoadError, OfferKind, capability::grant::Asking};

/// Where a module may connect to. Once per module.
#[derive(Debug)]
pub(crate) struct Policy {
    http: Vec<HostPort>,
    tcp: Vec<HostPort>,
    /// What is offered to the module, whether it asked for it or not: where a name leads is judged
    /// by it.
    offered: Vec<NetworkOffer>,
    /// The module's turns to look up a name, whichever of its versions does.
    pub(super) lookups: Arc<Semaphore>,
}

/// Where an HTTP request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpTarget {
    pub(crate) to: HostPort,
    pub(crate) tls: bool,
}

impl Policy {
    /// # Errors
    /// [`LoadError::NotOffered`] names the first target that is not.
    pub(crate) fn new(
        spec: &NetworkSpec,
        asking: &Asking<'_>,
        lookups: &Arc<Semaphore>,
    ) -> Result<Self, LoadError> {
        let offered: Vec<NetworkOffer> = asking
            .offers
            .network
            .iter()
            .filter(|offer| asking.is_among(&offer.to))
            .map(|offer| offer.target.clone())
            .collect();
        for (field, list) in [("http", &spec.http), ("tcp", &spec.tcp)] {
            for to in list {
                if !offered.iter().any(|offer| offer.offers(to)) {
                    return Err(not_offered(field, to, asking));
                }
            }
        }
        let lookups = Arc::clone(lookups);
        Ok(Self { http: spec.http.clone(), tcp: spec.tcp.clone(), offered, lookups })
    }

    /// Whether a connection to `host` may go to this address: a public one, or one that the
    /// operator writes out, or loopback where the host is `localhost`. The spec has no say.
    pub(crate) fn may_lead_to(&self, host: &str, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        if address.is_unspecified() || address.is_multicast() {
            return false;
        }
        if host == "localhost" {
            return address.is_loopback();
        }
        is_public(address) || self.offered.iter().any(|offer| offer.opens(address, port))
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
            to.port() == address.port() && to.address() == Some(address.ip().to_canonical())
        };
        self.tcp.iter().any(is)
    }
}

fn not_offered(field: &str, to: &HostPort, asking: &Asking<'_>) -> LoadError {
    let offers = asking.offered(|kind| kind == OfferKind::Network);
    let inner = match to.address() {
        Some(address) if !is_public(address) => {
            ", and it is not a public address: only an offer that writes it out opens it"
        }
        _ => "",
    };
    LoadError::NotOffered(format!(
        "capabilities.network.{field} asks for `{to}`{inner}; targets that this host offers to this \
         module: {offers}. Its operator offers one with `serve --offer-network {to}` or in the \
         settings file"
    ))
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
    use crate::{
        OfferedNetwork, Offers,
        capability::tests::harness::{anyone, offering},
    };

    fn turns() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1))
    }

    fn policy(http: &[&str], tcp: &[&str]) -> Policy {
        let parse = |list: &[&str]| list.iter().map(|to| to.parse().unwrap()).collect();
        let spec = NetworkSpec { http: parse(http), tcp: parse(tcp) };
        let offers = offering(&spec);
        Policy::new(&spec, &Asking { id: &anyone(), offers: &offers }, &turns()).unwrap()
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
    fn a_spec_gets_what_is_offered_to_its_module_and_nothing_else() {
        let to = |text: &str| vec![text.parse().unwrap()];
        let offer = |target: &str, grantee: &str| OfferedNetwork {
            target: target.parse().unwrap(),
            to: to(grantee),
        };
        let offers = Offers {
            network: vec![
                offer("*.example.com:443", "*"),
                offer("10.0.0.0/8:5432", "default/anyone"),
                offer("other.com:443", "default/other"),
            ],
            ..Offers::default()
        };
        let ask = |target: &str| {
            let spec = NetworkSpec { http: vec![target.parse().unwrap()], tcp: Vec::new() };
            Policy::new(&spec, &Asking { id: &anyone(), offers: &offers }, &turns()).map(|_| ())
        };
        for granted in ["api.example.com:443", "10.0.0.7:5432"] {
            ask(granted).unwrap();
        }
        for refused in [
            "other.com:443",
            "api.example.com:80",
            "10.0.0.7:80",
            "127.0.0.1:443",
            "localhost:443",
            "169.254.169.254:80",
        ] {
            let error = ask(refused).unwrap_err().to_string();
            assert!(error.contains(refused) && error.contains("--offer-network"), "{error}");
            assert!(error.contains("*.example.com:443, 10.0.0.0/8:5432."), "{error}");
            assert!(!error.contains("`other.com") || refused.starts_with("other"), "{error}");
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
