//! The accept loop, and the end of it.
//!
//! Every task of a connection is tracked: when [`Gateway::serve`] returns, none is alive.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use roadstead_registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use crate::{
    Counters, GatewayConfig,
    app::App,
    connection::{Connections, Ends, counted},
    counters::Ended,
    manners::goaway,
    metrics::Monitor,
    peers::Peers,
    tls::{TlsError, acceptor},
};

/// How long callers of streams have to hear that the drain timeout has passed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A wait after the kernel refused to accept, which it does while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}: {source}{}", remedy(source))]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
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
    drain_timeout: Duration,
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
        let drain = ends.drain.clone();
        let peers = Peers::new(&config, connections(&config));
        let of_app = (Arc::clone(&counters), Arc::clone(&peers));
        let app = App::new(Arc::clone(&registry), &config, address, &ends, of_app);
        let monitor = Monitor {
            registry,
            counters: Arc::clone(&counters),
            peers: Arc::clone(&peers),
            uploads: Arc::clone(&app.uploads),
            most_uploads: config.uploads,
            drain,
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
            drain_timeout: config.drain_timeout,
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

    /// Serves until `shutdown` is ready, then drains: accepts no more, tells clients to go
    /// elsewhere (GOAWAY), and gives running calls the drain timeout to finish. Streams that go on
    /// by then are ended with their reason.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Drained {
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                (tcp, from) = accept(&self.listener) => match self.peers.enter(from.ip()) {
                    Ok(place) => {
                        let connections = Arc::clone(&self.connections);
                        let served = connections.serve(tcp, place, self.ends.clone());
                        self.tasks.spawn(counted(Arc::clone(&self.counters), served));
                    }
                    Err(why) => self.turn_away(&tcp, why),
                }
            }
        }
        drop(self.listener);
        self.ends.drain.cancel();
        self.tasks.close();
        if timeout(self.drain_timeout, self.tasks.wait()).await.is_ok() {
            return Drained::Clean;
        }
        self.ends.streams.cancel();
        if timeout(LAST_WORDS, self.tasks.wait()).await.is_err() {
            self.ends.abort.cancel();
            self.tasks.wait().await;
        }
        Drained::TimedOut
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
                tokio::time::sleep(ACCEPT_PAUSE).await;
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
