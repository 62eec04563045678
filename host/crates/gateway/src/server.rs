//! The accept loop, and the end of it.
//!
//! Every task of a connection is tracked: when [`Gateway::serve`] returns, none is alive.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::FutureExt as _;
use roadstead_manners::goaway;
use roadstead_registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{
    Counters, GatewayConfig,
    app::App,
    connection::{Connections, Ends, counted},
    counters::Ended,
    metrics::Monitor,
    peers::Peers,
    tls::{TlsError, acceptor},
    traces::{Traces, TracesError},
};

/// How long callers of streams have to hear that the drain timeout has passed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often it is looked whether sessions are left.
const LOOK: Duration = Duration::from_millis(100);

/// How long it takes at most to hear of who has connected.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// A wait after the kernel refused to accept, which it does while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}: {source}{}", remedy(source))]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot export traces")]
    Traces(#[from] TracesError),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; perhaps a host runs already: end it, or choose another port",
        _ => "",
    }
}

/// How the last connections ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every running call was answered.
    Clean,
    /// The drain timeout passed, and what still ran was ended.
    TimedOut,
}

/// How long each part of the end may take.
struct Drains {
    grace: Duration,
    sessions: Duration,
    calls: Duration,
}

/// A bound gateway, not yet serving.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    connections: Arc<Connections>,
    tasks: TaskTracker,
    ends: Ends,
    peers: Arc<Peers>,
    tls: bool,
    monitor: Monitor,
    drains: Drains,
    counters: Arc<Counters>,
}

impl Gateway {
    /// Takes the address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`BindError`] if the address is taken or the certificate cannot be used.
    pub async fn bind(
        address: SocketAddr,
        config: GatewayConfig,
        registry: Arc<Registry>,
    ) -> Result<Self, BindError> {
        let tls = config.tls.as_ref().map(|tls| acceptor(tls, &config.auth)).transpose()?;
        let failed = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tasks = TaskTracker::new();
        let ends = Ends::default();
        let counters = Arc::new(Counters::default());
        let unready = ends.unready.clone();
        let peers = Peers::new(&config, connections(&config));
        let traces = config.traces.as_ref().map(Traces::start).transpose()?;
        let of_app = (Arc::clone(&counters), Arc::clone(&peers), traces.clone());
        let app = App::new(Arc::clone(&registry), &config, address, &ends, of_app)?;
        let monitor = Monitor {
            registry,
            counters: Arc::clone(&counters),
            peers: Arc::clone(&peers),
            uploads: Arc::clone(&app.uploads),
            most_uploads: config.uploads,
            unready,
            traces,
        };
        Ok(Self {
            listener,
            address,
            connections: Arc::new(Connections::new(app, tls, &config, tasks.clone())),
            tasks,
            ends,
            peers,
            tls: config.tls.is_some(),
            monitor,
            drains: Drains {
                grace: config.drain_grace,
                sessions: config.session_drain,
                calls: config.drain_timeout,
            },
            counters,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Looks at the gateway for as long as it is asked, beyond the end of service too.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Serves until `shutdown` is ready, then drains. First the host only says that it is not
    /// ready, for the drain grace. Then, where sessions are open, it sends its clients elsewhere
    /// (GOAWAY) and serves who comes anew until no session is left, or the time for them is over.
    /// Then it accepts no more, and running calls have the drain timeout to finish. Streams that go
    /// on by then are ended with their reason.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Drained {
        let traces = self.monitor.traces.clone();
        let drained = self.serve_calls(shutdown).await;
        if let Some(traces) = traces {
            traces.finish().await;
        }
        drained
    }

    async fn serve_calls(self, shutdown: impl Future<Output = ()>) -> Drained {
        let Drains { grace, sessions, calls } = self.drains;
        // Of the connections that come before sessions are waited for.
        let early = Ends { drain: self.ends.drain.child_token(), ..self.ends.clone() };
        self.accept_until(shutdown, &early).await;
        self.ends.unready.cancel();
        if !grace.is_zero() {
            self.accept_until(sleep(grace), &early).await;
        }
        if !sessions.is_zero() && self.sessions() > 0 {
            early.drain.cancel();
            let ended = timeout(sessions, self.sessions_end()).map(drop);
            self.accept_until(ended, &self.ends).await;
        }
        self.ends.drain.cancel();
        // Who has connected by now would be reset.
        self.accept_until(sleep(LAST_LOOK), &self.ends).await;
        drop(self.listener);
        self.tasks.close();
        if timeout(calls, self.tasks.wait()).await.is_ok() {
            return Drained::Clean;
        }
        self.ends.streams.cancel();
        if timeout(LAST_WORDS, self.tasks.wait()).await.is_err() {
            self.ends.abort.cancel();
            self.tasks.wait().await;
        }
        Drained::TimedOut
    }

    /// Serves who comes until `end` is ready.
    async fn accept_until(&self, end: impl Future<Output = ()>, ends: &Ends) {
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = &mut end => return,
                (tcp, from) = accept(&self.listener) => self.let_in(tcp, from, ends),
            }
        }
    }

    fn let_in(&self, tcp: TcpStream, from: SocketAddr, ends: &Ends) {
        match self.peers.enter(from.ip()) {
            Ok(place) => {
                let served = Arc::clone(&self.connections).serve(tcp, place, ends.clone());
                self.tasks.spawn(counted(Arc::clone(&self.counters), served));
            }
            Err(why) => self.turn_away(&tcp, why),
        }
    }

    /// Sessions that are open.
    fn sessions(&self) -> usize {
        self.monitor.registry.engine().sessions()
    }

    async fn sessions_end(&self) {
        while self.sessions() > 0 {
            sleep(LOOK).await;
        }
    }
}

impl Gateway {
    /// Says why where that can be read, and does no more: this must cost less than to connect.
    fn turn_away(&self, tcp: &TcpStream, why: Ended) {
        self.counters.end(why);
        let text = match why {
            Ended::PeerFull => "too many connections from this address",
            _ => "this host has too many connections",
        };
        if !self.tls {
            // HTTP/2 begins with SETTINGS, here without any.
            let said = [&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], &goaway(0, text)].concat();
            drop(tcp.try_write(&said));
        }
    }
}

/// The connections that there are file descriptors for: modules and storage need some, too.
fn connections(config: &GatewayConfig) -> usize {
    let room = descriptors().and_then(|most| usize::try_from(most - most / 4).ok());
    let room = room.unwrap_or(config.connections);
    if room < config.connections {
        tracing::warn!(room, "file descriptors are short: raise `ulimit -n` for more connections");
    }
    config.connections.min(room).min(tokio::sync::Semaphore::MAX_PERMITS)
}

/// The file descriptors that the process may have, after asking for all it can get: the usual soft
/// limit is there for programs that use `select`. None where there is no limit.
fn descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "raise the limit of file descriptors");
            limit.current
        }
    }
}

/// The next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
