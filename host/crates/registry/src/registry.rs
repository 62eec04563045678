//! The registry: one per host.

mod admin;
mod follow;
mod judge;
mod load;
mod native;
mod offers;
mod steer;
mod sweep;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use roadstead_blobs::{BlobStore, Upload};
use roadstead_catalog::{Catalog, VersionRecord};
use roadstead_domain::{ByteSize, ModuleId, ModuleSpec, Namespace};
use roadstead_engine::{Bindings, Engine, LoadError, Module, Natives};
use roadstead_transcode::{Derived, Import};
use roadstead_worker::{CompileConfig, WorkerCounts, Workers};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::AbortHandle,
};

pub use self::{
    native::native_fits,
    offers::{HeldOffer, Holder},
};
use crate::{
    OpenError, PushError, RouteTable, bindings::BoundImports, code::StoredCode, recipe::Recipe,
    turns::Turns,
};

/// When a refused push may be tried again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Loads that may wait at the same time for a turn to compile again.
const WAITING_LOADS: usize = 4;

/// Bounds of what pushes may cost the host, and who runs what.
#[derive(Clone)]
pub struct RegistryConfig {
    /// Bytes of one upload.
    pub upload_limit: ByteSize,
    /// What checking and compiling may cost, in processes of their own.
    pub compile: CompileConfig,
    /// Pushes that may be in progress, waiting ones included; further ones are refused.
    pub pushes: usize,
    /// What each namespace may publish.
    pub namespace: NamespaceQuota,
    /// Who runs native modules; none: nobody, and they are refused.
    pub natives: Option<Arc<dyn Natives>>,
}

/// What one namespace may publish; what is not set is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceQuota {
    pub modules: Option<u64>,
    /// Of all its modules together.
    pub versions: Option<u64>,
    /// Bytes of the components as they were uploaded, where the same bytes count once, and of what
    /// is stored beside each version: its record, interface, WIT texts and locks.
    pub stored: Option<ByteSize>,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        let compile = CompileConfig::for_machine();
        Self {
            upload_limit: ByteSize::mib(128),
            compile,
            pushes: 64,
            namespace: NamespaceQuota::default(),
            natives: None,
        }
    }
}

/// What is published and what serves.
pub struct Registry {
    pub(crate) engine: Arc<Engine>,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) catalog: Arc<dyn Catalog>,
    config: RegistryConfig,
    pub(crate) routes: Arc<ArcSwap<RouteTable>>,
    changes: watch::Sender<u64>,
    pub(crate) steering: steer::Steering,
    /// Versions that are published and whose code is made ready before they serve here.
    coming: Mutex<BTreeSet<ModuleId>>,
    /// Held from the catalog's transaction until its outcome serves.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pub(crate) pushes: Arc<Semaphore>,
    pub(crate) turns: Turns,
    /// Places for loads that wait for a turn, on threads that other loads need as well.
    waiting_loads: Arc<Semaphore>,
    /// What the log says of versions that cannot serve.
    problems: Mutex<HashMap<ModuleId, String>>,
    pub(crate) workers: Arc<Workers>,
    /// Who runs native modules, if anybody.
    pub(crate) natives: Option<native::Runner>,
    /// Told when something may have become garbage.
    pub(crate) collect: Arc<Notify>,
    collector: AbortHandle,
    sweeper: AbortHandle,
    follower: AbortHandle,
}

impl Registry {
    /// Makes everything that is published serve again. Nothing is compiled.
    ///
    /// # Errors
    /// [`OpenError`] if the catalog or the blobs do not read.
    pub async fn open(
        engine: Arc<Engine>,
        catalog: Arc<dyn Catalog>,
        blobs: Arc<BlobStore>,
        config: RegistryConfig,
    ) -> Result<Arc<Self>, OpenError> {
        blobs.code().retain_fingerprint(engine.fingerprint())?;
        let workers = Workers::new(config.compile.clone(), engine.stack());
        let collect = Arc::new(Notify::new());
        let opened = Arc::new(Notify::new());
        let registry = Arc::new_cyclic(|registry: &std::sync::Weak<Self>| {
            let following = follow::follow(registry.clone(), catalog.watch(), Arc::clone(&opened));
            let follower = tokio::spawn(following).abort_handle();
            let sweeping = sweep::keep_swept(registry.clone(), blobs.grace());
            let sweeper = tokio::spawn(sweeping).abort_handle();
            let (registry, told) = (registry.clone(), Arc::clone(&collect));
            let collector = tokio::spawn(async move {
                loop {
                    told.notified().await;
                    let Some(registry) = registry.upgrade() else { return };
                    registry.sweep().await;
                }
            });
            Self {
                engine,
                blobs,
                catalog,
                routes: Arc::new(ArcSwap::from_pointee(RouteTable::default())),
                changes: watch::Sender::new(0),
                steering: steer::Steering::default(),
                coming: Mutex::default(),
                changing: tokio::sync::Mutex::default(),
                pushes: Arc::new(Semaphore::new(config.pushes.max(1))),
                turns: Turns::new(config.compile.workers),
                waiting_loads: Arc::new(Semaphore::new(WAITING_LOADS)),
                problems: Mutex::default(),
                workers: Arc::new(workers),
                collect: Arc::clone(&collect),
                natives: config.natives.clone().map(native::Runner::new),
                collector: collector.abort_handle(),
                sweeper,
                follower,
                config,
            }
        });
        registry.probe_workers().await;
        registry.reload(&HashMap::new()).await?;
        registry.sweep().await;
        opened.notify_one();
        Ok(registry)
    }

    /// What the processes that check and compile have done and do.
    pub fn compile_counts(&self) -> WorkerCounts {
        self.workers.counts()
    }

    pub(crate) fn namespace_quota(&self) -> NamespaceQuota {
        self.config.namespace
    }

    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What serves now.
    pub fn routes(&self) -> Arc<RouteTable> {
        self.routes.load_full()
    }

    /// Whether the catalog hears of changes as they happen.
    pub fn catalog_is_current(&self) -> bool {
        self.catalog.is_current()
    }

    /// Versions that others published and that do not serve here yet: their code is made ready.
    pub fn coming(&self) -> BTreeSet<ModuleId> {
        self.coming.lock().clone()
    }

    /// Tells which versions are coming to whoever watches.
    pub(crate) fn comes(&self, id: Option<&ModuleId>) {
        let mut coming = self.coming.lock();
        let before = coming.len();
        match id {
            Some(id) => coming.extend([id.clone()]),
            None => coming.clear(),
        }
        if coming.len() != before {
            self.changes.send_modify(|_| ());
        }
    }

    /// Wakes with the revision of every new [`RouteTable`], after it serves, and when versions are
    /// [`Registry::coming`].
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Begins an upload; `announced` bytes over the limit are refused at once.
    ///
    /// # Errors
    /// [`PushError::TooLarge`], [`PushError::Full`] or [`PushError::Host`].
    pub async fn upload(&self, announced: Option<u64>) -> Result<Upload, PushError> {
        if announced.is_some_and(|bytes| bytes > self.config.upload_limit.0) {
            return Err(PushError::TooLarge(self.config.upload_limit));
        }
        Ok(self.blobs.upload(self.config.upload_limit).await?)
    }

    /// Says in the log how workers are confined here. What is published serves without any.
    async fn probe_workers(&self) {
        let workers = Arc::clone(&self.workers);
        match blocking(move || workers.probe()).await.and_then(|probed| Ok(probed?)) {
            Ok(probed) if probed.fingerprint != self.engine.fingerprint() => tracing::error!(
                "compile workers make code for another engine: nothing can be pushed"
            ),
            Ok(probed) if probed.is_confined() => tracing::info!(
                landlock = ?probed.landlock, seccomp = ?probed.seccomp, "compile workers are confined"),
            Ok(probed) => tracing::warn!(
                ?probed,
                "the kernel confines compile workers in part: their limits of memory and time hold"
            ),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "no compile worker starts: nothing can be pushed"
            ),
        }
    }

    /// Lets a table serve.
    pub(crate) fn serve(&self, table: RouteTable) {
        let (promised, whole) = (table.promised(None), self.engine.cpu());
        if whole < promised {
            tracing::warn!(%promised, %whole,
                "more processor time is promised than there is: all get proportionally less");
        }
        let revision = table.revision();
        let table = Arc::new(table);
        self.routes.store(Arc::clone(&table));
        if let Some(natives) = &self.natives {
            natives.follow(&table);
        }
        self.changes.send_replace(revision);
    }

    /// Whether this host could run a version that may never be published; of a component, with the
    /// engine's side of it.
    pub(crate) async fn accept(
        &self,
        id: &ModuleId,
        record: &VersionRecord,
        derived: &Derived,
        bindings: Option<&Arc<BoundImports>>,
    ) -> Result<Option<Arc<Module>>, LoadError> {
        if record.spec.native.is_none() {
            return self.prepare(id, record, derived, bindings).await.map(Some);
        }
        self.engine.accepts_remote(&record.spec)?;
        self.natives.as_ref().ok_or_else(native::nobody)?.accepts(id, &record.spec, derived)?;
        Ok(None)
    }

    /// The engine's side of a version that offers `derived`. Nothing is read, mapped or run yet.
    pub(crate) async fn prepare(
        &self,
        id: &ModuleId,
        record: &VersionRecord,
        derived: &Derived,
        bindings: Option<&Arc<BoundImports>>,
    ) -> Result<Arc<Module>, LoadError> {
        let spec = Arc::new(record.spec.clone());
        if record.spec.native.is_some() {
            let natives = self.natives.as_ref().ok_or_else(native::nobody)?;
            let remote = natives.remote(id, &spec, derived)?;
            return self.engine.remote(id.clone(), spec, remote);
        }
        let recipe = Recipe::of(&id.name, record);
        let holds =
            vec![self.blobs.hold(record.component).await, self.blobs.hold(recipe.key()).await];
        let code = StoredCode {
            recipe,
            component_instances: record.component_instances,
            blobs: Arc::clone(&self.blobs),
            engine: Arc::clone(&self.engine),
            turns: self.turns.clone(),
            waiting_loads: Arc::clone(&self.waiting_loads),
            workers: Arc::clone(&self.workers),
            election: self.catalog.election(),
            collect: Arc::clone(&self.collect),
            holds,
            failed: Mutex::default(),
        };
        let bindings = bindings.map(|bound| Arc::clone(bound) as Arc<dyn Bindings>);
        self.engine.prepare_bound(id.clone(), spec, Arc::new(code), bindings)
    }

    /// Those who serve the imports of a version.
    pub(crate) fn bind(
        &self,
        namespace: &Namespace,
        spec: &ModuleSpec,
        imports: &[Import],
    ) -> Option<Arc<BoundImports>> {
        BoundImports::new(&self.routes, namespace, spec, imports)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.collector.abort();
        self.sweeper.abort();
        self.follower.abort();
    }
}

impl From<LoadError> for PushError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::NeverFits(why) => Self::NeverFits(why),
            LoadError::NotOffered(why) => Self::NotOffered(why),
            error => Self::host(error),
        }
    }
}

/// Runs work that takes the processor or the disk for a while.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PushError> {
    tokio::task::spawn_blocking(work).await.map_err(PushError::host)
}
