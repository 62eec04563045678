//! Outgoing connections: HTTP and TCP to what the spec lists, and nothing else.
//!
//! UDP, listening and accepting are always denied. A name is looked up only if it is listed, leads
//! only to public addresses and those that the operator offers by address, and what an instance's own lookup yielded is all that
//! it may connect to besides addresses that the spec writes out and the operator offers. Sockets, requests in flight and
//! lookups share the places of `limits.sockets`, and all instances those of `quota.connections`; bytes
//! sent count against `limits.egress` and go out at `quota.egress`.

mod http;
mod lookup;
mod policy;
mod request;
mod resolve;
mod tcp;

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use roadstead_domain::{LimitKind, LimitReached, Limits};
use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};

use super::{
    limit::{Account, Place, Places, held_by_each},
    shares::Egress,
};

pub(crate) use lookup::link_lookup;
pub(crate) use policy::{Policy, grant_text};
pub(crate) use request::limit_requests;
pub(crate) use tcp::limit_sockets;

/// Addresses that lookups of one instance may have yielded; older ones are forgotten.
const MOST_YIELDED: usize = 1024;

/// Names that one call may look up. Whoever answers for a name may learn from being asked.
const LOOKUPS: u64 = 256;

/// What an instance's connections share with those of others.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// Places of the whole module.
    pub(crate) connections: Arc<Places>,
    /// Places of the whole host.
    pub(crate) descriptors: Arc<Places>,
    pub(crate) egress: Egress,
}

/// One instance's connections.
pub(crate) struct Network {
    policy: Arc<Policy>,
    account: Arc<Account>,
    sockets: Arc<Places>,
    connections: Arc<Places>,
    descriptors: Arc<Places>,
    egress: Egress,
    /// Names that this call may still look up.
    lookups: Arc<AtomicU64>,
    yielded: Arc<Mutex<HashSet<SocketAddr>>>,
    deadline: Option<Instant>,
    tcp: tcp::Sockets,
    /// What one handle may hold on the host.
    held: usize,
}

impl Network {
    pub(crate) fn new(
        policy: &Arc<Policy>,
        account: &Arc<Account>,
        limits: &Limits,
        shared: &Shared,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            policy: Arc::clone(policy),
            account: Arc::clone(account),
            sockets: Places::new(limits.sockets),
            connections: Arc::clone(&shared.connections),
            descriptors: Arc::clone(&shared.descriptors),
            egress: shared.egress.clone(),
            lookups: Arc::new(AtomicU64::new(LOOKUPS)),
            yielded: Arc::default(),
            deadline,
            tcp: tcp::Sockets::default(),
            held: held_by_each(limits.handles),
        }
    }

    pub(crate) fn begin_call(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
        self.lookups.store(LOOKUPS, Ordering::Relaxed);
    }

    /// Whether this call may look one more name up.
    pub(crate) fn may_look_up(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        self.lookups.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    /// Lets wasmtime's sockets through to the addresses that may be connected to.
    pub(crate) fn configure(&self, builder: &mut WasiCtxBuilder) {
        if !self.policy.allows_tcp() {
            return;
        }
        let (policy, yielded) = (Arc::clone(&self.policy), Arc::clone(&self.yielded));
        builder.allow_tcp(true).socket_addr_check(move |address, purpose| {
            let allowed = match purpose {
                // What connecting does by itself; a port of its own choice is none of a client's.
                SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
                SocketAddrUse::TcpConnect => {
                    let yielded = yielded.lock().contains(&canonical(address));
                    yielded || policy.names_address(address)
                }
                _ => false,
            };
            Box::pin(std::future::ready(allowed))
        });
    }

    /// A place for one more socket, request or lookup.
    pub(crate) fn admit(&self) -> Option<Place> {
        let place = Place::take(&[&self.sockets, &self.connections, &self.descriptors]);
        if place.is_none() {
            let (limit, places) = if self.connections.is_full() {
                (LimitKind::Connections, &self.connections)
            } else {
                (LimitKind::Sockets, &self.sockets)
            };
            self.account.soft(LimitReached { limit, allowed: places.allowed(), used: None });
        }
        place
    }

    /// From now on these addresses of a name may be connected to.
    fn learn(yielded: &Mutex<HashSet<SocketAddr>>, found: &[SocketAddr]) {
        let mut yielded = yielded.lock();
        for to in found {
            if yielded.len() >= MOST_YIELDED {
                yielded.clear();
            }
            yielded.insert(*to);
        }
    }

    /// How long to wait for a peer: what the guest says, and never longer than the call may last.
    fn patience(&self, asked: Option<Duration>) -> Duration {
        const LONGEST: Duration = Duration::from_secs(600);
        let asked = asked.unwrap_or(LONGEST).min(LONGEST);
        self.deadline
            .map_or(asked, |deadline| asked.min(deadline.saturating_duration_since(Instant::now())))
    }
}

/// The same address in one form: no mapped IPv4, no scopes.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
