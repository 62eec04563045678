//! A pool of hosts that share a key, and call each other where a session lives.
//!
//! A handle names its host. A host that is called with a handle of another forwards the call there,
//! once: message and answer go through as they are. What a forwarded call is about, who asks among
//! it, is signed with the pool's key; that a call is forwarded nobody else can say, and one that
//! was is never forwarded again. A host that is gone, or that nobody knows, is a lost session.
//!
//! What is asked of the whole pool, like who uses what, goes the same way to every other host.

mod ask;
mod hop;
mod link;
mod relay;

use std::{collections::BTreeMap, fmt, sync::Arc};

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Uri;
use roadstead_domain::HostName;
use sha2::{Digest as _, Sha256};

use crate::TlsError;

pub(crate) use ask::{Client, Missing};
pub(crate) use hop::{Forged, Hop};
pub(crate) use relay::{Relay, collected, relayed, unix_ms};

use hop::Seal;
use link::Links;

/// This host's place in its pool.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// The host's own name.
    pub host: HostName,
    pub key: PoolKey,
    pub hosts: Arc<dyn Hosts>,
    /// What hosts with `https` addresses are called by; they cannot be called without.
    pub tls: Option<PoolTls>,
}

/// Where the hosts of a pool are to be found.
pub trait Hosts: fmt::Debug + Send + Sync {
    /// The address of a host, `http` or `https` with a host and a port; none where it is not known,
    /// or known to be gone. Asked for every call that is forwarded, so it must not wait.
    fn find(&self, host: &HostName) -> Option<Uri>;

    /// All hosts that there may be, by name; this one may be among them. One whose address names
    /// nobody (DNS) does not exist now.
    fn all(&self) -> Vec<(HostName, Uri)>;
}

/// The hosts that a setting lists.
impl Hosts for BTreeMap<HostName, Uri> {
    fn find(&self, host: &HostName) -> Option<Uri> {
        self.get(host).cloned()
    }

    fn all(&self) -> Vec<(HostName, Uri)> {
        self.iter().map(|(name, at)| (name.clone(), at.clone())).collect()
    }
}

/// How hosts are called over TLS, as PEM.
#[derive(Clone)]
pub struct PoolTls {
    /// Who vouches for their certificates.
    pub authority: Vec<u8>,
    /// What this host shows where it is asked.
    pub own: Option<crate::Tls>,
}

/// The secret of a pool.
#[derive(Clone, PartialEq, Eq)]
pub struct PoolKey([u8; 32]);

impl PoolKey {
    /// Of the pool with this name: pools with one secret and two names are strangers.
    pub fn new(pool: &str, secret: &[u8]) -> Self {
        let mut mac = mac(&Sha256::digest(secret).into());
        mac.update(b"roadstead pool 1\0");
        mac.update(pool.as_bytes());
        Self(mac.finalize().into_bytes().into())
    }

    /// A secret for one purpose, which tells nothing of the others.
    pub fn secret(&self, purpose: &str) -> [u8; 32] {
        let mut mac = mac(&self.0);
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolKey")
    }
}

impl fmt::Debug for PoolTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolTls")
    }
}

/// A pool, as one host sees it.
pub(crate) struct Pool {
    host: HostName,
    seal: Seal,
    hosts: Arc<dyn Hosts>,
    links: Links,
}

impl Pool {
    pub(crate) fn new(config: &PoolConfig) -> Result<Self, TlsError> {
        Ok(Self {
            host: config.host.clone(),
            seal: Seal::new(&config.key),
            hosts: Arc::clone(&config.hosts),
            links: Links::new(config.tls.as_ref())?,
        })
    }
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC's own padding to a block of the hash.
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_pool_secret_and_purpose_and_are_never_printed() {
        let key = PoolKey::new("a", b"secret");
        assert!(key == PoolKey::new("a", b"secret"));
        assert!(key != PoolKey::new("b", b"secret") && key != PoolKey::new("a", b"Secret"));
        assert_ne!(key.secret("one"), key.secret("two"));
        assert_eq!(format!("{key:?}"), "PoolKey");
    }
}
