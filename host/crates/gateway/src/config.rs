//! The gateway's settings.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use roadstead_auth::Auth;
use roadstead_domain::{ByteSize, HostName};

use crate::{AllowedHosts, PoolConfig, TracesConfig};

/// Everything about the gateway but the address. Each bound says what it keeps away.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Serves TLS instead of plain text.
    pub tls: Option<Tls>,
    /// Who may do what; without a policy, whoever can connect may do everything.
    pub auth: Arc<Auth>,
    /// Whose pages may call from a browser.
    pub cors: AllowedOrigins,
    /// Names by which proxies and other machines call a host on loopback: any other could be a web
    /// page's own, by DNS rebinding.
    pub allowed_hosts: AllowedHosts,
    /// How long the host goes on as before once it is told to stop, but for saying that it is not
    /// ready: so long load balancers may take to send nobody else.
    pub drain_grace: Duration,
    /// How long open sessions may be called after that. Who is connected is told to go elsewhere,
    /// but who comes anew is served until no session is left.
    pub session_drain: Duration,
    /// How long running calls may take to finish after that.
    pub drain_timeout: Duration,
    /// How long a request may take to arrive, and a connection to say its first bytes: slow
    /// senders must not hold places.
    pub receive_timeout: Duration,
    /// How long a client may leave what it is sent unread: its stream is reset then, or its
    /// connection closed.
    pub write_timeout: Duration,
    /// How long a connection may stay open without a request. It is told to go elsewhere then
    /// (GOAWAY), and closed if it stays for as long again.
    pub idle_timeout: Duration,
    /// How old a connection may get, and up to a fifth more or less. It is told to go elsewhere
    /// then, so that clients find the hosts that are new. None: for as long as its client wants.
    pub connection_age: Option<Duration>,
    /// How long streams may go on after that. Then they are ended with CONNECTION_AGE; other calls
    /// have their deadline, and uploads their timeouts.
    pub connection_grace: Duration,
    /// Bytes of requests and responses that may be held at once, of all connections together; one
    /// peer may hold half of them, one connection a quarter. The first KiB of a message is not
    /// counted.
    pub message_budget: ByteSize,
    /// Uploads that may be on their way at once, each with up to 4 MiB in memory; one connection
    /// may have a quarter of them. An upload is one once its header came, in 5 seconds at most.
    pub uploads: usize,
    /// Connections that may be open; further ones are closed at once. They take three quarters of
    /// the process's file descriptors at most.
    pub connections: usize,
    /// Connections that one peer may have open, by its IPv4 address or IPv6 /64; further ones are
    /// closed at once. Behind a proxy all clients are one peer.
    pub connections_per_peer: usize,
    /// Requests that may be open, of all connections together; one peer may have half of them.
    pub requests: usize,
    /// Requests that one connection may have open.
    pub streams: u32,
    /// Bytes of a request's headers, all names and values together.
    pub headers: ByteSize,
    /// The pool that the host belongs to.
    pub pool: Option<PoolConfig>,
    /// The host's own name where no pool gives it one.
    pub name: HostName,
    /// Where spans of calls go, if anywhere.
    pub traces: Option<TracesConfig>,
    /// Who tells the host what to do beside its catalog, if somebody does.
    pub controller: Option<Arc<dyn Controller>>,
}

/// The host's connection to a controller.
pub trait Controller: std::fmt::Debug + Send + Sync {
    /// Whether it hears from it now.
    fn is_connected(&self) -> bool;
}

/// A certificate chain and its private key, as PEM.
#[derive(Clone)]
pub struct Tls {
    pub certificates: Vec<u8>,
    pub key: Vec<u8>,
}

/// Origins of web pages, like `https://example.com`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AllowedOrigins {
    #[default]
    None,
    Any,
    These(BTreeSet<String>),
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            tls: None,
            auth: Auth::none(),
            cors: AllowedOrigins::None,
            allowed_hosts: AllowedHosts::default(),
            drain_grace: Duration::ZERO,
            session_drain: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            receive_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            connection_age: None,
            connection_grace: Duration::from_secs(30),
            message_budget: ByteSize::mib(256),
            uploads: 32,
            connections: 10_000,
            connections_per_peer: 1000,
            requests: 16_384,
            streams: 1024,
            headers: ByteSize::kib(16),
            pool: None,
            name: HostName::default(),
            traces: None,
            controller: None,
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl AllowedOrigins {
    /// `*` allows all.
    pub fn parse(origins: impl IntoIterator<Item = String>) -> Self {
        let origins: BTreeSet<String> = origins.into_iter().collect();
        if origins.contains("*") {
            Self::Any
        } else if origins.is_empty() {
            Self::None
        } else {
            Self::These(origins)
        }
    }

    pub(crate) fn allow(&self, origin: &str) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::These(origins) => origins.contains(origin),
        }
    }
}
