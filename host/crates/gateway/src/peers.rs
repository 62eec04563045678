//! Who is connected, by address, and what of the host each peer may have.
//!
//! A connection's bounds are not enough where opening another costs nothing: all connections of
//! one address together get a part of the host's places only, so that it cannot lock others out.
//! Whoever has 64 bits of IPv6 addresses of its own counts as one.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use parking_lot::Mutex;
use roadstead_domain::Fault;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{GatewayConfig, budget::Budget, counters::Ended, session::place};

/// The part of the host's messages and requests that one address may have, as a divisor.
const SHARE: usize = 2;

/// Places for connections and requests, and who has them.
pub(crate) struct Peers {
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    requests_of_one: usize,
    of_one: usize,
    budget: Budget,
    open: Mutex<HashMap<IpAddr, (usize, Arc<Peer>)>>,
}

/// What all connections of one address share.
pub(crate) struct Peer {
    requests: Arc<Semaphore>,
    /// Its part of the host's budget.
    pub budget: Budget,
}

/// A connection's place.
pub(crate) struct Place {
    peers: Arc<Peers>,
    block: IpAddr,
    pub peer: Arc<Peer>,
    _connection: OwnedSemaphorePermit,
}

/// A request's place.
pub(crate) struct OpenRequest {
    _of_peer: OwnedSemaphorePermit,
    _of_host: OwnedSemaphorePermit,
}

impl Peers {
    /// `connections` of the settings may be more than the process has descriptors for.
    pub(crate) fn new(config: &GatewayConfig, connections: usize) -> Arc<Self> {
        let requests = config.requests.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            connections: Arc::new(Semaphore::new(connections)),
            requests: Arc::new(Semaphore::new(requests)),
            requests_of_one: requests.div_ceil(SHARE),
            of_one: config.connections_per_peer,
            budget: Budget::new(config.message_budget),
            open: Mutex::default(),
        })
    }

    /// The bytes of messages that are held, of all connections.
    pub(crate) fn held(&self) -> u64 {
        self.budget.used()
    }

    /// The bytes of messages that may be held.
    pub(crate) fn may_hold(&self) -> u64 {
        self.budget.most()
    }

    /// A place for a connection from `address`.
    ///
    /// # Errors
    /// Which bound is reached.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Ended> {
        let connection = Arc::clone(&self.connections).try_acquire_owned();
        let connection = connection.map_err(|_| Ended::HostFull)?;
        let block = block(address);
        let peer = match self.open.lock().entry(block) {
            Entry::Occupied(mut entry) => {
                let (open, peer) = entry.get_mut();
                if *open >= self.of_one {
                    return Err(Ended::PeerFull);
                }
                *open += 1;
                Arc::clone(peer)
            }
            Entry::Vacant(entry) => {
                let requests = Arc::new(Semaphore::new(self.requests_of_one));
                let budget = self.budget.peers();
                let (_, peer) = entry.insert((1, Arc::new(Peer { requests, budget })));
                Arc::clone(peer)
            }
        };
        Ok(Place { peers: Arc::clone(self), block, peer, _connection: connection })
    }

    /// A place for a request of `peer`.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the host or the peer has as many open as it may.
    pub(crate) fn request(&self, peer: &Peer) -> Result<OpenRequest, Fault> {
        let of_peer = place(&peer.requests, "allowance of open requests of this address")?;
        let of_host = place(&self.requests, "host's allowance of open requests")?;
        Ok(OpenRequest { _of_peer: of_peer, _of_host: of_host })
    }
}

impl Place {
    /// Where the peer is, as logs say it.
    pub(crate) fn class(&self) -> &'static str {
        match self.block {
            IpAddr::V4(v4) if v4.is_loopback() => "loopback",
            IpAddr::V4(v4) if v4.is_private() || v4.is_link_local() => "private",
            // The network of `::1`, which nothing else is in.
            IpAddr::V6(v6) if v6.is_unspecified() => "loopback",
            IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local() => "private",
            _ => "public",
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.peers.open.lock().entry(self.block) {
            let (open, _) = entry.get_mut();
            *open -= 1;
            if *open == 0 {
                entry.remove();
            }
        }
    }
}

/// The address, or the network of it that one owner has.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_what_ends_comes_back() {
        let config = GatewayConfig { connections_per_peer: 2, ..GatewayConfig::default() };
        let peers = Peers::new(&config, 4);
        let enter = |address: &str| peers.enter(address.parse().unwrap());
        let why = |address: &str| enter(address).err();
        let first = enter("10.0.0.1").unwrap();
        let mapped = enter("::ffff:10.0.0.1").unwrap();
        assert_eq!(why("10.0.0.1"), Some(Ended::PeerFull));
        let net = [enter("2001:db8::1").unwrap(), enter("2001:db8::ffff:1").unwrap()];
        assert_eq!(why("10.0.0.2"), Some(Ended::HostFull));
        drop(net);
        let one = enter("2001:db8:0:1::1").unwrap();
        drop(mapped);
        let again = enter("10.0.0.1").unwrap();
        assert!(Arc::ptr_eq(&first.peer, &again.peer));
        drop((first, one, again));
        assert!(peers.open.lock().is_empty());
        assert_eq!(peers.connections.available_permits(), 4);
    }

    #[test]
    fn an_address_has_half_of_the_open_requests() {
        let config = GatewayConfig { requests: 4, ..GatewayConfig::default() };
        let peers = Peers::new(&config, 4);
        let [one, two] = ["10.0.0.1", "10.0.0.2"].map(|ip| peers.enter(ip.parse().unwrap()));
        let (one, two) = (one.unwrap(), two.unwrap());
        let held = [peers.request(&one.peer).unwrap(), peers.request(&one.peer).unwrap()];
        let refused = peers.request(&one.peer).err().unwrap().to_string();
        assert!(refused.contains("this address"), "{refused}");
        assert!(peers.request(&two.peer).is_ok());
        assert_eq!(peers.requests.available_permits(), 2);
        drop(held);
        assert!(peers.request(&one.peer).is_ok());
    }
}
