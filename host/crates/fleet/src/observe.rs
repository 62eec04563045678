//! What the host sees of itself: versions from the route table, the rest from whoever knows it.

use std::collections::BTreeMap;

use futures::stream::BoxStream;
use roadstead_domain::{ModuleId, Namespace};
use roadstead_proto::v1::{NativeServers, NativeUse};
use roadstead_registry::{Registry, Standing};

/// How busy the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    pub open_requests: u64,
    pub connections: u64,
    pub running: u64,
    pub queued: u64,
    pub memory_bytes: u64,
    pub memory_limit_bytes: u64,
}

/// Why a version that is written in the cluster is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub namespace: Namespace,
    /// The object's name and uid.
    pub object: String,
    pub uid: String,
    /// A reason of the condition `Accepted`.
    pub reason: &'static str,
    pub message: String,
}

/// What the host knows of itself beside its versions. Asked often, so it must not wait.
pub trait Observed: Send + Sync + 'static {
    /// Whether the catalog hears what changes in the cluster.
    fn current(&self) -> bool;

    /// Whether the host takes no new work.
    fn draining(&self) -> bool;

    /// Calls that run and wait are told by the versions.
    fn load(&self) -> Load;

    /// All of them.
    fn judgements(&self) -> Vec<Judgement>;

    /// The namespaces that the host serves.
    fn namespaces(&self) -> Vec<Namespace>;

    /// How native modules are called that run elsewhere.
    fn natives(&self) -> Vec<NativeUse> {
        Vec::new()
    }

    /// The controller tells which servers native modules have.
    fn told(&self, _servers: Vec<NativeServers>) {}

    /// Wakes when judgements changed, native modules are called that were not, or the host begins to
    /// drain.
    fn changes(&self) -> BoxStream<'static, ()>;
}

/// How one version stands here, and how its calls ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) standing: Standing,
    pub(crate) calls: u64,
    pub(crate) failures: u64,
}

/// The host at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Observation {
    pub(crate) revision: u64,
    pub(crate) current: bool,
    pub(crate) draining: bool,
    pub(crate) versions: BTreeMap<ModuleId, Seen>,
    pub(crate) judgements: Vec<Judgement>,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) natives: Vec<NativeUse>,
    pub(crate) load: Load,
}

impl Observation {
    /// Looks at everything. What was ready stays so: code that others need the room of is stored.
    pub(crate) fn of(
        registry: &Registry,
        observed: &dyn Observed,
        before: &BTreeMap<ModuleId, Seen>,
    ) -> Self {
        let routes = registry.routes();
        let mut load = observed.load();
        let mut versions = BTreeMap::new();
        for live in routes.all_modules().flat_map(|module| module.versions.values()) {
            if let Ok(module) = live.module() {
                let stats = module.stats();
                load.running += stats.running;
                load.queued += stats.queued;
            }
            let ready = before.get(live.id()).is_some_and(|seen| seen.standing == Standing::Ready);
            let standing = match live.problem() {
                None if ready => Standing::Ready,
                _ => live.standing(),
            };
            let (calls, failures) = live.outcomes().read();
            versions.insert(live.id().clone(), Seen { standing, calls, failures });
        }
        for id in registry.coming() {
            let compiling = Seen { standing: Standing::Compiling, calls: 0, failures: 0 };
            versions.entry(id).or_insert(compiling);
        }
        Self {
            revision: routes.revision(),
            current: observed.current(),
            draining: observed.draining(),
            versions,
            judgements: observed.judgements(),
            namespaces: observed.namespaces(),
            natives: observed.natives(),
            load,
        }
    }
}
