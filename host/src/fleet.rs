//! The host's place in its fleet: what the controller is told of it.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt as _, stream, stream::BoxStream};
use roadstead_catalog::Refusal;
use roadstead_catalog_kubernetes::KubernetesCatalog;
use roadstead_domain::Namespace;
use roadstead_fleet::{Fleet, FleetConfig, Hello, Judgement, Load, Observed};
use roadstead_gateway::Monitor;
use roadstead_native::Pods;
use roadstead_proto::v1::{NativeServers, NativeUse};
use roadstead_registry::Registry;
use tokio_stream::wrappers::WatchStream;

use crate::config::{ControllerSettings, PoolSettings};

/// Versions that cannot be published of which the controller hears; it takes no more of one host.
const MOST_JUDGEMENTS: usize = 1_000;

/// Begins to report to the controller.
pub(crate) fn start(
    settings: &ControllerSettings,
    pool: &PoolSettings,
    catalog: KubernetesCatalog,
    registry: Arc<Registry>,
    monitor: Monitor,
    pods: Option<Arc<Pods>>,
) -> Fleet {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hello = Hello {
        host: pool.host.clone(),
        pool: pool.name.clone(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        fingerprint: registry.engine().fingerprint().to_owned(),
    };
    let (address, files) = (settings.address.clone(), settings.files.clone());
    let config = FleetConfig { address, files, hello };
    let seen = Arc::new(Seen { catalog, registry: Arc::clone(&registry), monitor, pods });
    Fleet::start(config, registry, seen)
}

/// The parts of the host that know.
struct Seen {
    catalog: KubernetesCatalog,
    registry: Arc<Registry>,
    monitor: Monitor,
    /// Native modules that the cluster runs.
    pods: Option<Arc<Pods>>,
}

impl Observed for Seen {
    fn current(&self) -> bool {
        self.catalog.is_current()
    }

    fn draining(&self) -> bool {
        !self.monitor.ready()
    }

    fn load(&self) -> Load {
        let counted = self.monitor.counted();
        let engine = self.registry.engine();
        Load {
            open_requests: counted.open_requests,
            connections: counted.open,
            memory_bytes: engine.memory_taken(),
            memory_limit_bytes: engine.config().memory_budget.0,
            ..Load::default()
        }
    }

    fn judgements(&self) -> Vec<Judgement> {
        let reports = self.catalog.reports();
        let told = reports.borrow();
        let judgement = |((namespace, object), report): (&(Namespace, String), &_)| {
            let roadstead_catalog_kubernetes::Report { uid, why, message, .. } = report;
            Judgement {
                namespace: namespace.clone(),
                object: object.clone(),
                uid: uid.clone(),
                reason: reason(*why),
                message: message.clone(),
            }
        };
        told.iter().take(MOST_JUDGEMENTS).map(judgement).collect()
    }

    fn namespaces(&self) -> Vec<Namespace> {
        self.catalog.namespaces()
    }

    fn natives(&self) -> Vec<NativeUse> {
        self.pods.as_ref().map(|pods| pods.used()).unwrap_or_default()
    }

    fn told(&self, servers: Vec<NativeServers>) {
        if let Some(pods) = &self.pods {
            pods.told(servers);
        }
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let judged = WatchStream::from_changes(self.catalog.reports()).map(drop);
        let monitor = self.monitor.clone();
        let draining = stream::once(async move { monitor.unready().await });
        let called = self.pods.as_ref().map(|pods| WatchStream::from_changes(pods.news()));
        let called = stream::iter(called).flatten().map(drop);
        stream::select(stream::select(judged, draining), called).boxed()
    }
}

/// As the condition `Accepted` says it.
fn reason(why: Refusal) -> &'static str {
    match why {
        Refusal::BreaksContract => "BreaksContract",
        Refusal::LocksMoved => "LocksMoved",
        Refusal::BlobMissing => "BlobMissing",
        Refusal::Malformed => "Malformed",
    }
}
