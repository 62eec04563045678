//! What every request may use.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Response, request::Parts};
use hyper::body::Incoming;
use roadstead_auth::{Auth, Identity};
use roadstead_domain::{CallId, Fault};
use roadstead_registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    AllowedHosts, AllowedOrigins, Counters, GatewayConfig, TlsError,
    builtin::Builtin,
    connection::Ends,
    counters::{Forwarded, Refused},
    modules::{About, Fleet},
    peers::Peers,
    pool::{Forged, Hop, Pool, unix_ms},
    steps::Permit,
    trace::{Named, Parent, TraceId},
    traces::{HopSpan, Traces},
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
    pub pool: Option<Arc<Pool>>,
    pub traces: Option<Arc<Traces>>,
    /// Cancelled when streams must end.
    pub streams: CancellationToken,
    /// Cancelled when the host is not ready any more.
    pub unready: CancellationToken,
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
        (counters, peers, traces): (Arc<Counters>, Arc<Peers>, Option<Arc<Traces>>),
    ) -> Result<Arc<Self>, TlsError> {
        let pool = config.pool.as_ref().map(Pool::new).transpose()?.map(Arc::new);
        let name = config.pool.as_ref().map_or(&config.name, |pool| &pool.host).clone();
        let known = pool.as_ref().and_then(|pool| pool.address(&name));
        let about = About {
            address: known.map_or_else(|| address.to_string(), |known| known.to_string()),
            since: SystemTime::now(),
            counters: Arc::clone(&counters),
            unready: ends.unready.clone(),
            controller: config.controller.clone(),
        };
        let fleet = Fleet { name, pool: pool.clone() };
        Ok(Arc::new(Self {
            builtin: Builtin::new(&registry, ends, config, (fleet, about)),
            pool,
            traces,
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
            unready: ends.unready.clone(),
            next_call: AtomicU64::new(random()),
            trace: random(),
        }))
    }

    /// Who asks, where another host of the pool forwarded the request.
    ///
    /// # Errors
    /// [`Forged`] where it says so, and none did.
    pub(crate) fn arrived(&self, request: &Parts) -> Result<Option<Identity>, Forged> {
        let Some(pool) = &self.pool else { return Ok(None) };
        let known = |hop: Hop| hop.identity().ok_or(Forged::Other("identity"));
        let arrived = pool.arrived(request, unix_ms()).and_then(|hop| hop.map(known).transpose());
        match &arrived {
            Ok(Some(_)) => self.counters.arrive(),
            Ok(None) => {}
            Err(why) => {
                self.counters.refuse(Refused::Forged);
                match why {
                    // Nobody but the pool's hosts can cause these.
                    Forged::Stale | Forged::Other(_) => tracing::warn!("a forwarded call: {why}"),
                    Forged::Seal => tracing::debug!("a forwarded call: {why}"),
                }
            }
        }
        arrived
    }

    /// The answer of another host of the pool, where a call's handle leads there.
    ///
    /// # Errors
    /// The fault of the call.
    pub(crate) async fn forwarded(
        &self,
        permit: &Permit,
        headers: &HeaderMap,
        message: &Bytes,
        left: Option<Duration>,
    ) -> Result<Option<Elsewhere>, Fault> {
        let Some(pool) = &self.pool else { return Ok(None) };
        let Some(host) = permit.elsewhere(message)? else { return Ok(None) };
        let span = permit.named().recording.as_ref().map(|recording| recording.hop(&host));
        let parent = permit.named().onward(span.as_ref().map(|span| span.id));
        let answered = pool.forward(&host, permit, headers, (message, &parent), left).await;
        self.counters.forward(match &answered {
            Ok(_) => Forwarded::Answered,
            Err(Fault::SessionLost(_)) => Forwarded::Lost,
            Err(_) => Forwarded::Failed,
        });
        match answered {
            Ok(response) => {
                let span = span.map(|span| span.answered(response.headers()));
                Ok(Some((response, span)))
            }
            Err(fault) => {
                if let Some(span) = span {
                    span.failed(&fault);
                }
                Err(fault)
            }
        }
    }

    /// Names the next call. Identities are counted up, so that logs sort.
    pub(crate) fn name(&self, headers: &HeaderMap, peer: &'static str) -> Named {
        let id = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        let parent = Parent::of(headers);
        let trace = TraceId::new(parent.as_ref(), self.trace, id);
        let record = |traces: &Arc<Traces>| traces.record(trace, parent.as_ref(), id);
        let recording = self.traces.as_ref().and_then(record);
        Named { id, trace, peer, parent, recording, decides: self.traces.is_some(), counted: true }
    }
}

/// What another host answers, and the span that ends with it.
pub(crate) type Elsewhere = (Response<Incoming>, Option<HopSpan>);

/// Somewhere at random, so that calls of two lives of a host are not taken for one another.
pub(crate) fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
