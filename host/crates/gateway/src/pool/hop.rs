//! What a host says of a call that it forwards, under the pool's seal.
//!
//! It travels in one header, which means nothing unless a host of the pool made it, for this host,
//! a moment ago, and for the very path and metadata that it stands beside.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use prost::Message as _;
use roadstead_auth::{Identity, Role};
use roadstead_domain::Namespace;
use sha2::Sha256;

use super::{Pool, PoolKey, mac};
use crate::steps::{MODULE, NAMESPACE};

pub(super) const HEADER: HeaderName = HeaderName::from_static("roadstead-forwarded-bin");
pub(super) const TIMEOUT: &str = "grpc-timeout";

/// How far the clocks of two hosts may be apart, and a call be under way.
const WINDOW_MS: u64 = 60_000;

/// Length of the seal.
const TAG: usize = 32;

/// A call on its way between two hosts.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Hop {
    #[prost(string, tag = "1")]
    pub from: String,
    #[prost(string, tag = "2")]
    pub to: String,
    /// How often it has been forwarded: once.
    #[prost(uint32, tag = "3")]
    pub hops: u32,
    #[prost(fixed64, tag = "4")]
    pub unix_ms: u64,
    /// As the forwarding host names it.
    #[prost(fixed64, tag = "5")]
    pub call: u64,
    #[prost(string, tag = "6")]
    pub path: String,
    /// Who asks, by the name that the policy has for them.
    #[prost(string, tag = "7")]
    pub identity: String,
    /// The metadata of these names.
    #[prost(string, tag = "8")]
    pub namespace: String,
    #[prost(string, tag = "9")]
    pub module: String,
    #[prost(string, tag = "10")]
    pub timeout: String,
    /// What they may do in the namespace, in the words of [`Role`].
    #[prost(string, tag = "11")]
    pub role: String,
    /// They can be told from others, and so have sessions and instances of their own.
    #[prost(bool, tag = "12")]
    pub known: bool,
    /// What they may do in every namespace, if anything.
    #[prost(string, tag = "13")]
    pub everywhere: String,
}

impl Hop {
    /// Who asks, as far as this call goes; none where it does not read.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let namespace = match self.namespace.as_str() {
            "" => Namespace::default(),
            named => named.parse().ok()?,
        };
        let role = |said: &str| Role::ALL.into_iter().find(|role| role.as_str() == said);
        let everywhere = match self.everywhere.as_str() {
            "" => None,
            said => Some(role(said)?),
        };
        let there = (namespace, role(&self.role)?);
        Some(Identity::vouched_for(self.identity.as_str().into(), self.known, there, everywhere))
    }
}

/// Why a call that says it was forwarded is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forged {
    #[error("no host of the pool made it")]
    Seal,
    #[error("its {0} is another's")]
    Other(&'static str),
    #[error("it is old, or the clocks of two hosts are over a minute apart")]
    Stale,
}

/// Signs hops and tells signed ones from all others.
pub(super) struct Seal(Hmac<Sha256>);

impl Seal {
    pub(super) fn new(key: &PoolKey) -> Self {
        Self(mac(&key.secret("forwarded call 1")))
    }

    pub(super) fn write(&self, hop: &Hop) -> Option<HeaderValue> {
        let mut bytes = hop.encode_to_vec();
        let tag = self.0.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend(tag);
        let mut value = HeaderValue::try_from(STANDARD.encode(bytes)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn read(&self, value: &HeaderValue) -> Result<Hop, Forged> {
        let bytes = STANDARD.decode(value).map_err(|_| Forged::Seal)?;
        let (said, tag) = bytes.split_last_chunk::<TAG>().ok_or(Forged::Seal)?;
        let sealed = self.0.clone().chain_update(said).verify_slice(tag);
        sealed.map_err(|_| Forged::Seal)?;
        Hop::decode(said).map_err(|_| Forged::Seal)
    }
}

impl Pool {
    /// What a host of the pool says of a request that it forwarded; none for one that comes from a
    /// client.
    ///
    /// # Errors
    /// [`Forged`] for one that says so and is not.
    pub(crate) fn arrived(&self, request: &Parts, now_ms: u64) -> Result<Option<Hop>, Forged> {
        let mut said = request.headers.get_all(HEADER).iter();
        let Some(value) = said.next() else { return Ok(None) };
        let hop = self.seal.read(value)?;
        let here = Hop {
            to: self.host.to_string(),
            hops: 1,
            path: request.uri.path().to_owned(),
            namespace: text(&request.headers, NAMESPACE),
            module: text(&request.headers, MODULE),
            timeout: text(&request.headers, TIMEOUT),
            ..hop.clone()
        };
        let differs = [
            ("header", said.next().is_some()),
            ("host", hop.to != here.to),
            ("number of hops", hop.hops != here.hops),
            ("path", hop.path != here.path),
            ("metadata", hop != here),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(Forged::Other(what));
        }
        if now_ms.abs_diff(hop.unix_ms) > WINDOW_MS {
            return Err(Forged::Stale);
        }
        Ok(Some(hop))
    }
}

/// A header's value, empty where there is none.
pub(super) fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::PoolConfig;

    const NOW: u64 = 1_000_000_000;

    fn pool(host: &str, secret: &[u8]) -> Pool {
        let (host, key) = (host.parse().unwrap(), PoolKey::new("pool", secret));
        let hosts = Arc::new(BTreeMap::new());
        Pool::new(&PoolConfig { host, key, hosts, tls: None }).unwrap()
    }

    fn hop() -> Hop {
        Hop {
            from: "a".into(),
            to: "b".into(),
            hops: 1,
            unix_ms: NOW,
            call: 7,
            path: "/a.B/C".into(),
            identity: "anonymous".into(),
            namespace: "team".into(),
            module: String::new(),
            timeout: "5S".into(),
            role: "caller".into(),
            known: true,
            everywhere: String::new(),
        }
    }

    fn request(values: &[HeaderValue]) -> Parts {
        let mut request = Request::post("/a.B/C")
            .header(NAMESPACE, "team")
            .header(TIMEOUT, "5S")
            .body(())
            .unwrap();
        for value in values {
            request.headers_mut().append(HEADER, value.clone());
        }
        request.into_parts().0
    }

    fn sealed(hop: &Hop) -> HeaderValue {
        pool("a", b"secret").seal.write(hop).unwrap()
    }

    #[test]
    fn a_hop_is_read_by_the_host_that_it_is_for() {
        let pool = pool("b", b"secret");
        assert_eq!(pool.arrived(&request(&[]), NOW), Ok(None));
        let good = request(&[sealed(&hop())]);
        for now in [NOW - WINDOW_MS, NOW, NOW + WINDOW_MS] {
            assert_eq!(pool.arrived(&good, now), Ok(Some(hop())));
        }
        for now in [NOW - WINDOW_MS - 1, NOW + WINDOW_MS + 1] {
            assert_eq!(pool.arrived(&good, now), Err(Forged::Stale));
        }
        assert!(sealed(&hop()).is_sensitive());
    }

    #[test]
    fn what_the_hop_does_not_say_is_refused() {
        let pool = pool("b", b"secret");
        let arrived = |hop: &Hop| pool.arrived(&request(&[sealed(hop)]), NOW);
        for (hop, what) in [
            (Hop { to: "c".into(), ..hop() }, "host"),
            (Hop { hops: 2, ..hop() }, "number of hops"),
            (Hop { hops: 0, ..hop() }, "number of hops"),
            (Hop { path: "/a.B/D".into(), ..hop() }, "path"),
            (Hop { namespace: "other".into(), ..hop() }, "metadata"),
            (Hop { module: "one".into(), ..hop() }, "metadata"),
            (Hop { timeout: String::new(), ..hop() }, "metadata"),
        ] {
            assert_eq!(arrived(&hop), Err(Forged::Other(what)), "{hop:?}");
        }
        let twice = request(&[sealed(&hop()), sealed(&hop())]);
        assert_eq!(pool.arrived(&twice, NOW), Err(Forged::Other("header")));
    }

    #[test]
    fn only_hosts_of_the_pool_make_hops() {
        let stranger = pool("b", b"another secret");
        let value = sealed(&hop());
        assert_eq!(stranger.arrived(&request(&[value]), NOW), Err(Forged::Seal));
    }

    proptest! {
        #[test]
        fn no_changed_bits_and_no_other_bytes_make_a_hop(
            bit in 0_usize..8 * 80,
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let pool = pool("b", b"secret");
            let mut bytes = STANDARD.decode(sealed(&hop())).unwrap();
            let at = bit / 8 % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
            for bytes in [bytes, noise] {
                let value = HeaderValue::try_from(STANDARD.encode(bytes)).unwrap();
                prop_assert_eq!(pool.arrived(&request(&[value]), NOW), Err(Forged::Seal));
            }
        }
    }
}
