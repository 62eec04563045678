//! The catalog as hosts use it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use roadstead_catalog::{
    Catalog, CatalogError, Change, Election, Pending, Publication, Published, Refusal, Rollout,
    RolloutEdit, Snapshot, Verdict, VersionChoice,
};
use roadstead_domain::{ModuleName, Namespace, Version};
use roadstead_k8s_api::version_object;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    assemble,
    cluster::Cluster,
    disk,
    inner::Inner,
    judge::{Action, judge},
    leases::Leases,
    settings::KubernetesSettings,
    state::State,
    watching,
};

/// How long a host waits for the cluster before it starts from its last state.
const START: Duration = Duration::from_secs(15);

/// How long changes are gathered before they are written to disk.
const GATHER: Duration = Duration::from_millis(500);

/// How often what deletions left is looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// Why the catalog could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("read the kubeconfig {path}")]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: Box<KubeconfigError>,
    },
    #[error(
        "this host runs in no pod with a service account: name a kubeconfig in [catalog.kubernetes]"
    )]
    NotInCluster(#[source] Box<InClusterError>),
    #[error("connect to the cluster")]
    Client(#[source] Box<kube::Error>),
    #[error(
        "the cluster cannot be read ({why}), and there is no last state of the catalog to start from"
    )]
    Unavailable { why: String },
}

/// What is wrong with a version that was applied by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of the object that it is about.
    pub uid: String,
    pub why: Refusal,
    pub message: String,
    /// The revision of the locks by which it was judged.
    locks: u64,
}

/// A catalog that all hosts of a cluster share.
#[derive(Clone)]
pub struct KubernetesCatalog {
    inner: Arc<Inner>,
    leases: Arc<Leases>,
    _tasks: Arc<[AbortOnDropHandle<()>]>,
}

impl std::fmt::Debug for KubernetesCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubernetesCatalog").field("pool", &self.inner.pool).finish_non_exhaustive()
    }
}

impl KubernetesCatalog {
    /// Follows the cluster. Returns when all is known, or, where the cluster does not answer, with
    /// the last state that the file `kept` has; from then on the file is kept up to date.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(settings: KubernetesSettings, kept: PathBuf) -> Result<Self, OpenError> {
        let config = config(settings.kubeconfig.as_deref()).await?;
        let namespace =
            settings.lease_namespace.as_ref().map_or(&*config.default_namespace, Namespace::as_str);
        let namespace = namespace.to_owned();
        let client =
            Client::try_from(config).map_err(|error| OpenError::Client(Box::new(error)))?;
        let leases = Leases::new(client.clone(), &namespace, &settings.pool, &settings.host);
        let path = kept.clone();
        let last = tokio::task::spawn_blocking(move || disk::load(&path)).await.unwrap_or_default();
        let known = last.is_some();
        let cluster = Cluster::new(client, &settings.pool);
        let inner = Inner::new(cluster, settings.pool, last.unwrap_or_default());
        let inner = Arc::new(inner);
        let following =
            tokio::spawn(watching::follow(Arc::clone(&inner), settings.namespaces.clone()));
        let following = AbortOnDropHandle::new(following);
        let mut health = inner.health.subscribe();
        let current = tokio::time::timeout(START, health.wait_for(|health| health.is_current()));
        if current.await.is_err() {
            let why = inner.health.borrow().why.clone();
            if !known {
                return Err(OpenError::Unavailable { why });
            }
            tracing::warn!(why, "the cluster does not answer: starting with what was known last");
        }
        let keeping = AbortOnDropHandle::new(tokio::spawn(keep(Arc::clone(&inner), kept)));
        let sweeping = AbortOnDropHandle::new(tokio::spawn(sweep(Arc::clone(&inner))));
        Ok(Self { inner, leases: Arc::new(leases), _tasks: [following, keeping, sweeping].into() })
    }

    /// Whether all watches tell what changes.
    pub fn is_current(&self) -> bool {
        self.inner.health.borrow().is_current()
    }

    /// Versions that were applied by hand and cannot be published, by namespace and object: for
    /// whoever writes status.
    pub fn reports(&self) -> watch::Receiver<BTreeMap<(Namespace, String), Report>> {
        self.inner.reports.subscribe()
    }

    /// The namespaces that this host serves.
    pub fn namespaces(&self) -> Vec<Namespace> {
        self.inner.look(|state| state.namespaces.keys().cloned().collect())
    }

    /// Drops reports of what is published or gone.
    fn forget_reports(&self) {
        let now = Instant::now();
        self.inner.reports.send_if_modified(|reports| {
            let before = reports.len();
            let mut inert: BTreeMap<Namespace, BTreeMap<String, String>> = BTreeMap::new();
            reports.retain(|(namespace, object), report| {
                let uids = inert.entry(namespace.clone()).or_insert_with(|| {
                    let inert = self.inner.read(namespace, |objects| assemble::inert(objects, now));
                    let keys =
                        inert.unwrap_or_default().iter().map(VersionKey::of).collect::<Vec<_>>();
                    keys.into_iter().map(|key| (key.object, key.uid)).collect()
                });
                uids.get(object) == Some(&report.uid)
            });
            reports.len() != before
        });
    }

    /// Runs a change to its end, even if whoever asked for it is gone.
    async fn whole<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, CatalogError>> + Send + 'static,
    ) -> Result<T, CatalogError> {
        tokio::spawn(change).await.unwrap_or_else(|error| {
            Err(CatalogError::Storage { doing: "run a change", source: Box::new(error) })
        })
    }
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config, OpenError> {
    let config = match kubeconfig {
        None => Config::incluster().map_err(|error| OpenError::NotInCluster(Box::new(error)))?,
        Some(path) => {
            let failed =
                |source| OpenError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
            let file = Kubeconfig::read_from(path).map_err(failed)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(file, &options).await.map_err(failed)?
        }
    };
    Ok(roadstead_k8s_watch::bounded(config))
}

/// Writes the state to disk soon after it changed.
async fn keep(inner: Arc<Inner>, path: PathBuf) {
    let mut revision = inner.revision.subscribe();
    revision.mark_changed();
    while revision.changed().await.is_ok() {
        tokio::time::sleep(GATHER).await;
        revision.mark_unchanged();
        let (state, path) = (inner.look(State::clone), path.clone());
        let saved = tokio::task::spawn_blocking(move || disk::save(&path, &state)).await;
        if let Ok(Err(error)) = saved {
            tracing::error!(%error, "the catalog's last state is not kept on disk");
        }
    }
}

/// Deletes what deletions left that did not come to their end.
async fn sweep(inner: Arc<Inner>) {
    let mut turn = tokio::time::interval(SWEEP);
    loop {
        turn.tick().await;
        if !inner.health.borrow().is_current() {
            continue;
        }
        let left = inner.look(|state| {
            let all = state.namespaces.iter();
            let left = |(name, objects)| {
                assemble::garbage(objects).into_iter().map(move |one| (Namespace::clone(name), one))
            };
            all.flat_map(left).collect::<Vec<_>>()
        });
        for (namespace, one) in left {
            match inner.remove(&namespace, one.kind, &one.name, &one.uid).await {
                Ok(()) => tracing::info!(%namespace, object = one.name, "deleted what was left"),
                Err(failure) => {
                    tracing::warn!(%namespace, object = one.name, ?failure, "delete what is left");
                }
            }
        }
    }
}

#[async_trait]
impl Catalog for KubernetesCatalog {
    async fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        Ok(self.inner.look(assemble::snapshot))
    }

    async fn publish(&self, publication: Publication) -> Result<Published, CatalogError> {
        let inner = Arc::clone(&self.inner);
        self.whole(async move { inner.publish(publication).await }).await
    }

    async fn delete(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<Vec<Version>>, CatalogError> {
        let inner = Arc::clone(&self.inner);
        let (namespace, name, version) = (namespace.clone(), name.clone(), version.cloned());
        self.whole(async move { inner.delete(&namespace, &name, version.as_ref()).await }).await
    }

    async fn pin(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<()>, CatalogError> {
        let inner = Arc::clone(&self.inner);
        let (namespace, name, version) = (namespace.clone(), name.clone(), version.cloned());
        self.whole(async move { inner.pin(&namespace, &name, version.as_ref()).await }).await
    }

    async fn rollout(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
    ) -> Result<Rollout, CatalogError> {
        self.inner.rollout(namespace, name)
    }

    async fn edit_rollout(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        edit: RolloutEdit,
    ) -> Result<Change<Rollout>, CatalogError> {
        let inner = Arc::clone(&self.inner);
        let (namespace, name) = (namespace.clone(), name.clone());
        self.whole(async move { inner.edit_rollout(&namespace, &name, &edit).await }).await
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.inner.revision.subscribe()
    }

    fn is_current(&self) -> bool {
        self.inner.health.borrow().is_current()
    }

    async fn needed(&self) -> Result<Option<Snapshot>, CatalogError> {
        if !self.is_current() {
            return Ok(None);
        }
        let needed = self.inner.look(assemble::needed);
        // A watch that was lost meanwhile may have kept something from it.
        Ok(needed.filter(|_| self.is_current()))
    }

    fn election(&self) -> Option<Arc<dyn Election>> {
        Some(Arc::clone(&self.leases) as _)
    }

    async fn pending(&self) -> Vec<Pending> {
        if !self.is_current() {
            return Vec::new();
        }
        self.forget_reports();
        let reports = self.inner.reports.borrow().clone();
        let now = Instant::now();
        self.inner.look(|state| {
            let mut found = Vec::new();
            for (namespace, objects) in &state.namespaces {
                let locks = assemble::chains(objects).map_or(0, |(_, revision)| revision);
                let left = assemble::inert(objects, now).into_iter().filter(|one| one.is_left());
                for one in left {
                    let VersionKey { object, uid } = VersionKey::of(&one);
                    let judged = reports.get(&(namespace.clone(), object));
                    if judged.is_some_and(|report| report.uid == uid && report.locks == locks) {
                        continue;
                    }
                    let (name, record) = (one.version.module, one.version.record);
                    found.push(Pending { namespace: namespace.clone(), name, record });
                }
            }
            found
        })
    }

    async fn settle(&self, pending: &Pending, verdict: Verdict) -> Result<(), CatalogError> {
        let Pending { namespace, name, record } = pending;
        let (found, locks) = self.inner.read(namespace, |objects| {
            let inert = assemble::inert(objects, Instant::now());
            let mut same = inert.into_iter().filter(|one| {
                one.version.module == *name && one.version.record.version == record.version
            });
            (same.next(), assemble::chains(objects).map_or(0, |(_, revision)| revision))
        })?;
        let Some(found) = found else { return Ok(()) };
        let VersionKey { object, uid } = VersionKey::of(&found);
        match judge(verdict, found.version.pushed_by.is_some(), found.age) {
            Action::Wait => {}
            Action::Publish(locks) => {
                let publication = Publication {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    choice: VersionChoice::Explicit,
                    record: (*found.version.record).clone(),
                    locks,
                };
                self.publish(publication).await?;
                tracing::info!(%namespace, object, "published a version that was written");
            }
            Action::Delete => {
                let kind = found.version.kind();
                let removed = self.inner.remove(namespace, kind, &object, &uid).await;
                removed.map_err(|failure| {
                    failure.into_error(|| CatalogError::Contended(name.clone()))
                })?;
                tracing::info!(%namespace, object, "deleted a version that nobody will publish");
            }
            Action::Report(why, message) => {
                tracing::warn!(%namespace, object, ?why, message, "a version is not published");
                let report = Report { uid, why, message, locks };
                self.inner.reports.send_modify(|reports| {
                    reports.insert((namespace.clone(), object), report);
                });
            }
        }
        Ok(())
    }
}

/// How reports find a version.
struct VersionKey {
    object: String,
    uid: String,
}

impl VersionKey {
    fn of(inert: &assemble::Inert) -> Self {
        let version = &inert.version;
        let object = version_object(&version.module, &version.record.version);
        Self { object, uid: version.uid.clone() }
    }
}
