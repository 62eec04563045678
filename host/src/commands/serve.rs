//! `roadstead serve`: wires storage, engine, registry and gateway into one host, and ends it.

use std::{fs, net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use roadstead_auth::Auth;
use roadstead_blobs::{BlobStore, SharedConfig};
use roadstead_catalog::{Catalog, RedbCatalog};
use roadstead_catalog_kubernetes::KubernetesCatalog;
use roadstead_domain::HostName;
use roadstead_engine::{Engine, EngineConfig, SessionKey};
use roadstead_fleet::Fleet;
use roadstead_gateway::{
    AllowedHosts, AllowedOrigins, Drained, Gateway, GatewayConfig, MetricsListener, Monitor,
    PoolConfig, PoolKey, PoolTls, Tls, TracesConfig,
};
use roadstead_native::Processes;
use roadstead_registry::{Registry, RegistryConfig};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_util::task::AbortOnDropHandle as AbortOnDrop;

use crate::{
    cli::ServeArgs,
    config::{self, CatalogPlace, PoolSettings, ServeConfig, TlsFiles, TracesSettings},
    fleet,
    native::Backends,
    output::{self, WrongUsage},
};

/// A host that serves until it is stopped.
pub(crate) struct Running {
    address: SocketAddr,
    engine: Arc<Engine>,
    auth: Arc<Auth>,
    /// Follows the policy file.
    _policy: Option<AbortOnDrop<()>>,
    stop: oneshot::Sender<()>,
    /// How long calls have to end, and then the servers of native modules.
    drain_timeout: Duration,
    gateway: JoinHandle<Drained>,
    /// Answers until the drain is done.
    _metrics: Option<AbortOnDrop<()>>,
    /// Reports to the controller until then, too.
    _fleet: Option<Fleet>,
    /// Ended once no call can come any more.
    natives: Option<Arc<Processes>>,
}

pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let settings = config::load(args)?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let running = start(settings).await?;
    output::line(format_args!("listening on {}", running.address()));
    let mut hangup = match running.auth.is_required() {
        true => Some(signal(SignalKind::hangup()).context("listen for SIGHUP")?),
        false => None,
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining; once more ends at once"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining; once more ends at once"),
            () = next(&mut hangup) => {
                running.auth.reload().await;
                continue;
            }
        }
        break;
    }
    tokio::select! {
        stopped = running.stop() => stopped?,
        _ = terminate.recv() => tracing::warn!("SIGTERM: ended before the drain was done"),
        _ = interrupt.recv() => tracing::warn!("SIGINT: ended before the drain was done"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The next signal of a kind that is listened for.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The policy at work; without one, whoever can connect may do everything.
async fn policy(settings: &ServeConfig) -> anyhow::Result<Arc<Auth>> {
    let Some(path) = &settings.auth else { return Ok(Auth::none()) };
    let tls = settings.tls.is_some();
    if !tls && !settings.listen.ip().is_loopback() {
        tracing::warn!("tokens travel in plain text: set tls_cert and tls_key");
    }
    let opened = Auth::open(path, tls).await;
    Ok(opened.map_err(|error| WrongUsage(anyhow::Error::new(error).context("read the policy")))?)
}

/// Starts a host: everything it needs is open and the address is bound when this returns.
///
/// # Errors
/// Says which part could not start and what to do.
pub(crate) async fn start(settings: ServeConfig) -> anyhow::Result<Running> {
    let data = settings.data_dir.clone();
    let auth = policy(&settings).await?;
    let pool = pool_config(&settings.pool)?;
    let blobs = open_blobs(&settings, pool.as_ref())?;
    let (catalog, cluster) = open_catalog(&catalog_place(&settings), &data, &blobs).await?;
    let tls = settings.tls.as_ref().map(read_tls).transpose()?;
    let traces = settings.traces.as_ref();
    let traces = traces.map(|traces| traces_config(traces, &settings.pool)).transpose()?;
    let key = match &pool {
        Some(pool) => SessionKey::new(pool.key.secret("handles"), pool.host.clone()),
        None => SessionKey::new(blobs.code().secret("handles"), HostName::default()),
    };
    let engine = Engine::new(engine_config(&settings, key)).context("start the engine")?;
    let backends = Backends::open(&settings, &data, &engine).await?;
    let limits = RegistryConfig {
        upload_limit: settings.max_upload,
        compile: settings.compile.clone(),
        namespace: settings.namespace.quota,
        natives: backends.natives(),
        ..RegistryConfig::default()
    };
    let registry = Registry::open(Arc::clone(&engine), catalog, Arc::new(blobs), limits)
        .await
        .with_context(|| format!("open what is stored in {}", data.display()))?;
    let config = GatewayConfig {
        tls,
        pool,
        name: settings.pool.host.clone(),
        traces,
        auth: Arc::clone(&auth),
        cors: AllowedOrigins::parse(settings.cors_origins),
        allowed_hosts: AllowedHosts::new(settings.allowed_hosts),
        drain_grace: settings.drain_grace,
        session_drain: settings.session_drain,
        drain_timeout: settings.drain_timeout,
        ..settings.http
    };
    let gateway = Gateway::bind(settings.listen, config, Arc::clone(&registry)).await?;
    let fleet = match (&settings.controller, cluster) {
        (Some(controller), Some(cluster)) => {
            let monitor = gateway.monitor();
            Some(fleet::start(
                controller,
                &settings.pool,
                cluster,
                registry,
                monitor,
                backends.pods,
            ))
        }
        _ => None,
    };
    let metrics = match settings.metrics {
        Some(address) => Some(serve_metrics(address, gateway.monitor()).await?),
        None => None,
    };
    let address = gateway.local_addr();
    let (stop, stopped) = oneshot::channel();
    let drain_timeout = settings.drain_timeout;
    let gateway = tokio::spawn(gateway.serve(async {
        // A sender that is gone is a reason to stop, too.
        drop(stopped.await);
    }));
    let policy =
        auth.is_required().then(|| AbortOnDrop::new(tokio::spawn(Arc::clone(&auth).follow())));
    Ok(Running {
        address,
        engine,
        auth,
        _policy: policy,
        stop,
        drain_timeout,
        gateway,
        _metrics: metrics,
        _fleet: fleet,
        natives: backends.processes,
    })
}

/// Where the catalog is, and which of its hosts this is.
fn catalog_place(settings: &ServeConfig) -> CatalogPlace {
    let mut place = settings.catalog.clone();
    if let CatalogPlace::Kubernetes(cluster) = &mut place {
        cluster.host = settings.pool.host.to_string();
    }
    place
}

async fn serve_metrics(address: SocketAddr, monitor: Monitor) -> anyhow::Result<AbortOnDrop<()>> {
    let metrics = MetricsListener::bind(address, monitor).await?;
    tracing::info!("metrics on http://{}/metrics", metrics.local_addr());
    Ok(AbortOnDrop::new(tokio::spawn(metrics.serve())))
}

fn open_blobs(settings: &ServeConfig, pool: Option<&PoolConfig>) -> anyhow::Result<BlobStore> {
    let data = &settings.data_dir;
    let (Some(shared), Some(pool)) = (&settings.blobs, pool) else {
        return Ok(BlobStore::open(data)?);
    };
    let config = SharedConfig {
        place: shared.place.clone(),
        pool: settings.pool.name.to_string(),
        key: pool.key.secret("compiled code 1"),
        cache: shared.cache,
        grace: shared.grace,
    };
    Ok(BlobStore::open_shared(data, config)?)
}

/// The catalog's file in the data directory.
const FILE: &str = "catalog.redb";

/// The last state of the cluster's catalog, there too.
const KEPT: &str = "catalog.json";

/// The catalog, and the same again where it is a cluster's.
async fn open_catalog(
    place: &CatalogPlace,
    data: &Path,
    blobs: &BlobStore,
) -> anyhow::Result<(Arc<dyn Catalog>, Option<KubernetesCatalog>)> {
    match place {
        CatalogPlace::File => Ok((Arc::new(open_file(data, blobs)?), None)),
        CatalogPlace::Kubernetes(settings) => {
            let file = data.join(FILE);
            if RedbCatalog::exists(&file)
                .with_context(|| format!("look into {}", data.display()))?
            {
                bail!(
                    "{} holds modules of this host alone, which a cluster's catalog does not \
                     know: give the host another data directory, and push them there",
                    file.display()
                );
            }
            let catalog = KubernetesCatalog::open(settings.clone(), data.join(KEPT)).await;
            let catalog = catalog.context("open the cluster's catalog")?;
            Ok((Arc::new(catalog.clone()), Some(catalog)))
        }
    }
}

fn read_tls(files: &TlsFiles) -> anyhow::Result<Tls> {
    Ok(Tls { certificates: read(&files.cert)?, key: read(&files.key)? })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// Where spans go, and what they say of the host.
fn traces_config(traces: &TracesSettings, pool: &PoolSettings) -> anyhow::Result<TracesConfig> {
    Ok(TracesConfig {
        endpoint: traces.endpoint.clone(),
        authority: traces.ca.as_deref().map(read).transpose()?,
        sample: traces.sample,
        max_per_second: traces.max_per_second,
        host: pool.host.clone(),
        pool: pool.name.to_string(),
    })
}

/// The host's place in its pool, where hosts call each other.
fn pool_config(pool: &PoolSettings) -> anyhow::Result<Option<PoolConfig>> {
    let Some(secret) = pool.secret()? else { return Ok(None) };
    let authority = pool.ca.as_deref().map(read).transpose()?;
    let own = pool.shown.as_ref().map(read_tls).transpose()?;
    Ok(Some(PoolConfig {
        host: pool.host.clone(),
        key: PoolKey::new(pool.name.as_str(), &secret),
        hosts: Arc::new(pool.peers.clone()),
        tls: authority.map(|authority| PoolTls { authority, own }),
    }))
}

/// Without its catalog, everything that is stored would be garbage: an empty one is made only where
/// nothing is.
fn open_file(data: &Path, blobs: &BlobStore) -> anyhow::Result<RedbCatalog> {
    let path = data.join(FILE);
    let look = || format!("look into {}", data.display());
    if !RedbCatalog::exists(&path).with_context(look)? && !blobs.is_empty().with_context(look)? {
        bail!(
            "{} is gone, but {} holds the modules that it names: put the catalog back from a \
             backup, or move the whole directory away to begin without modules",
            path.display(),
            data.display()
        );
    }
    Ok(RedbCatalog::open(&path)?)
}

fn engine_config(settings: &ServeConfig, session_key: SessionKey) -> EngineConfig {
    let machine = EngineConfig::for_machine();
    EngineConfig {
        guest_threads: settings.guest_threads.unwrap_or(machine.guest_threads),
        memory_budget: settings.memory_budget.unwrap_or(machine.memory_budget),
        code_budget: settings.code_budget.unwrap_or(machine.code_budget),
        offers: settings.offers.clone(),
        breaker: settings.breaker,
        namespace: settings.namespace.share,
        session_key,
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
        if let Some(natives) = &self.natives {
            natives.shutdown(self.drain_timeout).await;
        }
        self.engine.shutdown().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use roadstead_blobs::Kind;
    use roadstead_catalog_kubernetes::KubernetesSettings;

    use super::*;

    #[tokio::test]
    async fn a_host_with_modules_of_its_own_joins_no_cluster() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("data");
        let blobs = BlobStore::open(&data).unwrap();
        drop(open_catalog(&CatalogPlace::File, &data, &blobs).await.unwrap());
        let kubeconfig = Some(parent.path().join("kubeconfig"));
        let settings = KubernetesSettings { kubeconfig, ..KubernetesSettings::default() };
        let cluster = CatalogPlace::Kubernetes(settings);
        let open = async || open_catalog(&cluster, &data, &blobs).await.map(drop);
        let error = open().await.unwrap_err().to_string();
        assert!(error.contains("another data directory"), "{error}");
        fs::remove_file(data.join(FILE)).unwrap();
        let error = format!("{:#}", open().await.unwrap_err());
        assert!(error.contains("kubeconfig"), "{error}");
    }

    #[tokio::test]
    async fn stored_modules_without_their_catalog_are_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("data");
        let open = || {
            let blobs = BlobStore::open(&data)?;
            open_file(&data, &blobs).map(|catalog| (blobs, catalog))
        };
        let (blobs, catalog) = open().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = data.join("catalog.redb");
        assert_eq!((mode(&data), mode(&path)), (0o700, 0o600));
        drop(blobs.put(Kind::Component, "bytes".into()).await.unwrap());
        drop((blobs, catalog));
        // What a push left before its first word in the catalog is no reason.
        drop(open().unwrap());
        let backup = fs::read(&path).unwrap();
        for lost in [None, Some(&b""[..])] {
            match lost {
                None => fs::remove_file(&path).unwrap(),
                Some(bytes) => fs::write(&path, bytes).unwrap(),
            }
            // The refusal makes no catalog that the next start would believe.
            for _ in 0..2 {
                let error = open().unwrap_err().to_string();
                assert!(error.contains("from a backup"), "{error}");
            }
        }
        fs::write(&path, backup).unwrap();
        let (blobs, _catalog) = open().unwrap();
        assert!(!blobs.is_empty().unwrap());
    }
}
