//! What every request may use.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use roadstead_auth::Auth;
use roadstead_domain::CallId;
use roadstead_registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    AllowedHosts, AllowedOrigins, Counters, GatewayConfig,
    builtin::Builtin,
    connection::Ends,
    peers::Peers,
    trace::{Named, TraceId},
};

/// The gateway's state, one for all connections.
pub(crate) struct App {
    pub registry: Arc<Registry>,
    pub builtin: Builtin,
    pub auth: Arc<Auth>,
    pub cors: AllowedOrigins,
    pub allowed_hosts: AllowedHosts,
    /// Only this machine may call, in plain text: pages of browsers are looked at.
    pub loopback: bool,
    pub receive_timeout: Duration,
    pub peers: Arc<Peers>,
    /// Places of the uploads that may be on their way, and how many a connection may have.
    pub uploads: Arc<Semaphore>,
    pub uploads_share: usize,
    pub counters: Arc<Counters>,
    /// Cancelled when streams must end.
    pub streams: CancellationToken,
    next_call: AtomicU64,
    /// Tells the traces of this host from those of others.
    trace: u64,
}

impl App {
    pub(crate) fn new(
        registry: Arc<Registry>,
        config: &GatewayConfig,
        address: SocketAddr,
        ends: &Ends,
        (counters, peers): (Arc<Counters>, Arc<Peers>),
    ) -> Arc<Self> {
        Arc::new(Self {
            builtin: Builtin::new(&registry, ends.drain.clone(), config),
            registry,
            auth: Arc::clone(&config.auth),
            cors: config.cors.clone(),
            allowed_hosts: config.allowed_hosts.clone(),
            loopback: config.tls.is_none() && address.ip().is_loopback(),
            receive_timeout: config.receive_timeout,
            peers,
            uploads: Arc::new(Semaphore::new(config.uploads)),
            uploads_share: config.uploads.div_ceil(4),
            counters,
            streams: ends.streams.clone(),
            next_call: AtomicU64::new(random()),
            trace: random(),
        })
    }

    /// Names the next call. Identities are counted up, so that logs sort.
    pub(crate) fn name(&self, headers: &HeaderMap, peer: &'static str) -> Named {
        let id = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        let trace = TraceId::of(headers).unwrap_or_else(|| TraceId::new(self.trace, id));
        Named { id, trace, peer }
    }
}

/// Somewhere at random, so that calls of two lives of a host are not taken for one another.
fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
