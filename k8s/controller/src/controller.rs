//! One controller from its settings to its end: the ports, the watches, the election and the loop.

use std::{net::SocketAddr, sync::Arc};

use roadstead_metrics_port::{MetricsBindError, MetricsListener};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, ConnectError},
    fleet::Fleet,
    identities::Identities,
    lease::{Candidate, Leadership},
    listener,
    metrics::Metrics,
    monitor::Monitor,
    native::{Rules, RulesError},
    objects::{EVERY_KIND, Kind},
    reconcile::{Health, Reconciler, Setup},
    settings::Settings,
    sync::Service,
    tls::{Tls, TlsError},
    watching,
};

/// Events that watches may be ahead of the loop.
const AHEAD: usize = 4_096;

/// Why a controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("{0} is not NAMESPACE/NAME")]
    Authority(String),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Metrics(#[from] MetricsBindError),
}

/// A controller with its ports taken, not yet at work.
pub struct Controller {
    settings: Settings,
    cluster: Cluster,
    tls: Arc<Tls>,
    native: Option<Arc<Identities>>,
    hosts: TcpListener,
    port: MetricsListener<Monitor>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    candidate: Candidate,
    leadership: Leadership,
}

impl Controller {
    /// Reads what the settings name and takes the ports; port 0 takes a free one.
    ///
    /// # Errors
    /// [`StartError`] if something of it does not hold. An API server that does not answer is none.
    pub async fn bind(settings: Settings) -> Result<Self, StartError> {
        let tls = Arc::new(Tls::open(settings.tls.clone())?);
        let rules = settings.native.as_deref().map(Rules::read).transpose()?;
        let cluster = Cluster::connect(settings.kubeconfig.as_deref()).await?;
        let native = match rules {
            Some(rules) => {
                let hosts = settings.tls.client_ca.clone();
                let named = rules.authority.clone();
                let native = Identities::new(cluster.clone(), rules, hosts);
                Some(Arc::new(native.ok_or(StartError::Authority(named))?))
            }
            None => None,
        };
        let hosts = bind(settings.listen).await?;
        let (metrics, health) = (Arc::<Metrics>::default(), Arc::<Health>::default());
        let (candidate, leadership) = Candidate::new(
            &cluster,
            &settings.lease,
            &settings.identity,
            settings.times,
            Arc::clone(&metrics),
        );
        let monitor = Monitor {
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            leadership: leadership.clone(),
        };
        let port = MetricsListener::bind(settings.metrics, monitor).await?;
        Ok(Self {
            settings,
            cluster,
            tls,
            native,
            hosts,
            port,
            metrics,
            health,
            candidate,
            leadership,
        })
    }

    /// Where hosts open their streams.
    ///
    /// # Errors
    /// If the operating system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.hosts.local_addr()
    }

    /// Where metrics are.
    pub fn metrics_address(&self) -> SocketAddr {
        self.port.local_addr()
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Works until it is told to stop, and gives the Lease back then. Dropped, it stops at once, as
    /// a process that is killed does.
    pub async fn run(self, stop: CancellationToken) {
        let Self { settings, cluster, tls, native, hosts, port, metrics, health, .. } = self;
        let (candidate, leadership) = (self.candidate, self.leadership);
        let kinds = if native.is_some() { &EVERY_KIND[..] } else { &Kind::CATALOG };
        let fleet = Arc::new(Fleet::new(&settings.times, Arc::clone(&metrics)));
        let setup = Setup {
            cluster: cluster.clone(),
            fleet: Arc::clone(&fleet),
            leadership,
            metrics,
            health,
            times: settings.times,
            identity: settings.identity.clone(),
            lease: settings.lease.clone(),
            native,
            kinds,
        };
        let (to, told) = mpsc::channel(AHEAD);
        let ended = CancellationToken::new();
        let _end = ended.clone().drop_guard();
        let service = Service { fleet, stop: ended.clone() };
        let mut tasks = JoinSet::new();
        tasks.spawn(watching::follow(cluster, settings.namespaces, kinds, to));
        tasks.spawn(Reconciler::new(setup).run(told));
        tasks.spawn(port.serve());
        let serving = listener::serve(hosts, tls, service, ended.clone());
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "serve hosts");
            }
        });
        let election = candidate.run(stop.clone());
        tokio::select! {
            () = election => {}
            // None of them ends by itself.
            _ = tasks.join_next() => tracing::error!("a part of the controller ended"),
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}
