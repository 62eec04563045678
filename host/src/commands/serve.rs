//! `roadstead serve`: wires storage, engine, registry and gateway into one host, and ends it.

use std::{fs, net::SocketAddr, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use roadstead_blobs::BlobStore;
use roadstead_catalog::RedbCatalog;
use roadstead_engine::{Engine, EngineConfig, OfferedDirectory};
use roadstead_gateway::{AllowedOrigins, Drained, Gateway, GatewayConfig, Tls};
use roadstead_registry::{Registry, RegistryConfig};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
};

use crate::{
    cli::ServeArgs,
    config::{self, ServeConfig},
    output,
};

/// A host that serves until it is stopped.
pub(crate) struct Running {
    address: SocketAddr,
    engine: Arc<Engine>,
    stop: oneshot::Sender<()>,
    gateway: JoinHandle<Drained>,
}

pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let settings = config::load(args)?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let running = start(settings).await?;
    output::line(format_args!("listening on {}", running.address()));
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining; once more ends at once"),
    }
    tokio::select! {
        stopped = running.stop() => stopped?,
        _ = interrupt.recv() => tracing::warn!("ended before the drain was done"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a host: everything it needs is open and the address is bound when this returns.
///
/// # Errors
/// Says which part could not start and what to do.
pub(crate) async fn start(settings: ServeConfig) -> anyhow::Result<Running> {
    let data = settings.data_dir.clone();
    fs::create_dir_all(&data).with_context(|| format!("make the folder {}", data.display()))?;
    let catalog = RedbCatalog::open(&data.join("catalog.redb"))?;
    let blobs = BlobStore::open(&data)?;
    let engine = Engine::new(engine_config(&settings)).context("start the engine")?;
    let limits = RegistryConfig { upload_limit: settings.max_upload, ..RegistryConfig::default() };
    let registry = Registry::open(Arc::clone(&engine), Arc::new(catalog), Arc::new(blobs), limits)
        .await
        .with_context(|| format!("open what is stored in {}", data.display()))?;
    let tls = match &settings.tls {
        Some(files) => Some(Tls {
            certificates: fs::read(&files.cert)
                .with_context(|| format!("read {}", files.cert.display()))?,
            key: fs::read(&files.key).with_context(|| format!("read {}", files.key.display()))?,
        }),
        None => None,
    };
    let config = GatewayConfig {
        tls,
        cors: AllowedOrigins::parse(settings.cors_origins),
        drain_timeout: settings.drain_timeout,
        ..GatewayConfig::default()
    };
    let gateway = Gateway::bind(settings.listen, config, registry).await?;
    let address = gateway.local_addr();
    let (stop, stopped) = oneshot::channel();
    let gateway = tokio::spawn(gateway.serve(async {
        // A sender that is gone is a reason to stop, too.
        drop(stopped.await);
    }));
    Ok(Running { address, engine, stop, gateway })
}

fn engine_config(settings: &ServeConfig) -> EngineConfig {
    let machine = EngineConfig::for_machine();
    EngineConfig {
        guest_threads: settings.guest_threads.unwrap_or(machine.guest_threads),
        memory_budget: settings.memory_budget.unwrap_or(machine.memory_budget),
        code_budget: settings.code_budget.unwrap_or(machine.code_budget),
        directories: settings
            .directories
            .iter()
            .map(|(name, (path, mode))| {
                (name.clone(), OfferedDirectory { path: path.clone(), mode: *mode })
            })
            .collect(),
        ..machine
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains: running calls finish within the drain timeout, new ones are refused.
    ///
    /// # Errors
    /// The gateway's task panicked.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        if self.stop.send(()).is_err() {
            tracing::debug!("the gateway ended on its own");
        }
        if self.gateway.await.context("drain the gateway")? == Drained::TimedOut {
            tracing::warn!("the drain timeout passed: what still ran was ended");
        }
        self.engine.shutdown().await;
        Ok(())
    }
}
