//! The client: who it is, where the controller is, and trying for ever.

use std::{path::PathBuf, sync::Arc, time::Instant};

use roadstead_domain::{HostName, with_causes};
use roadstead_proto::v1::HostHello;
use roadstead_registry::Registry;
use tokio_util::task::AbortOnDropHandle;

use crate::{Observed, backoff::Pauses, session::Session};

/// Where the controller is, and what host and controller know each other by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetConfig {
    /// `https` with a host and a port.
    pub address: String,
    pub files: ControllerFiles,
    pub hello: Hello,
}

/// PEM files, read anew for every connection: they are renewed while the host lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerFiles {
    /// Who vouches for the controller, and nobody else does.
    pub ca: PathBuf,
    /// What the host shows.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Who the host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub host: HostName,
    pub pool: HostName,
    pub release: String,
    pub started_unix_ms: i64,
    /// For what its compiled code is made.
    pub fingerprint: String,
}

impl From<Hello> for HostHello {
    fn from(Hello { host, pool, release, started_unix_ms, fingerprint }: Hello) -> Self {
        let (host, pool) = (host.to_string(), pool.to_string());
        Self { host, pool, release, started_unix_ms, fingerprint }
    }
}

/// The host's place in its fleet. Dropping it ends the stream.
#[derive(Debug)]
pub struct Fleet {
    _client: AbortOnDropHandle<()>,
}

impl Fleet {
    /// Begins to look for the controller, and returns at once.
    pub fn start(
        config: FleetConfig,
        registry: Arc<Registry>,
        observed: Arc<dyn Observed>,
    ) -> Self {
        let client = tokio::spawn(async move {
            let session = Session { config, registry, observed };
            let mut pauses = Pauses::default();
            loop {
                let began = Instant::now();
                let ended = session.run().await;
                let pause = pauses.after(began);
                tracing::warn!(
                    error = with_causes(&ended), retry_in = ?pause,
                    "no controller: serving on by what it told last"
                );
                tokio::time::sleep(pause).await;
            }
        });
        Self { _client: AbortOnDropHandle::new(client) }
    }
}
