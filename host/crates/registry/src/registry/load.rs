//! From records to versions that serve: at the start, and after every change.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use roadstead_blobs::Kind;
use roadstead_catalog::{ModuleRecord, Snapshot, VersionRecord};
use roadstead_domain::{Digest, Fault, ModuleId, ModuleName, Namespace, Traffic, with_causes};
use roadstead_engine::{LoadError, Module};
use roadstead_transcode::Lock;

use crate::{
    LiveModule, LiveVersion, OpenError, Registry, RouteTable, Schema,
    bindings::BoundImports,
    derive::{self, ReviveError},
    push::{LockBook, NewestLock, Unreadable},
};

/// Versions that are read at the same time.
const AT_ONCE: usize = 16;

/// Versions of which it is known what the log says already.
const TOLD: usize = 10_000;

impl Registry {
    /// Serves exactly what the catalog holds; versions that serve already go on, and so do those
    /// that were made ahead. Nothing else may change meanwhile.
    pub(crate) async fn reload(
        &self,
        ahead: &HashMap<ModuleId, Arc<LiveVersion>>,
    ) -> Result<(), OpenError> {
        let Snapshot { revision, modules, locks } = self.catalog.snapshot().await?;
        let old = self.routes();
        let mut books: HashMap<Namespace, LockBook> = HashMap::new();
        for ((namespace, package), digest) in locks {
            let lock = match old.locks(&namespace).readable(&package, digest) {
                Some(known) => Ok(known),
                None => self.newest_lock(&package, digest).await,
            };
            books.entry(namespace).or_default().insert(package, NewestLock { digest, lock });
        }
        let live: Vec<(Namespace, LiveModule)> = stream::iter(modules)
            .map(|((namespace, name), record)| {
                let old = old.module(&namespace, &name).cloned();
                async move {
                    let fresh = |id: &ModuleId| ahead.get(id).cloned();
                    let old = old.as_deref();
                    let live = self.live_module(&namespace, &name, record, old, &fresh).await;
                    Ok::<_, OpenError>((namespace, live))
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        live.iter().for_each(|(_, module)| govern(module));
        self.steering.forget(revision, &live);
        let table = RouteTable::of(revision, live, books, &old);
        self.serve(table);
        self.retire_all(&old);
        Ok(())
    }

    /// Frees what the versions of an earlier table need no more.
    fn retire_all(&self, old: &RouteTable) {
        let routes = self.routes();
        let mut gone = false;
        for (namespace, before) in old.all() {
            let after = routes.module(namespace, &before.name);
            if after.is_some_and(|after| Arc::ptr_eq(after, before)) {
                continue;
            }
            gone = true;
            retire(before, after.map(|after| &**after));
            if after.is_none() {
                self.engine.logs().forget(namespace, &before.name);
            }
        }
        if gone {
            self.collect.notify_one();
        }
    }

    /// Serves one changed module; `fresh` is the version that was just published, `book` the locks
    /// that moved with it.
    pub(crate) async fn swap(
        &self,
        revision: u64,
        namespace: &Namespace,
        name: &ModuleName,
        module: Option<ModuleRecord>,
        fresh: Option<Arc<LiveVersion>>,
        book: Option<LockBook>,
    ) {
        let old = self.routes();
        let before = old.module(namespace, name);
        let module = match module {
            Some(record) => Some(
                self.live_module(namespace, name, record, before.map(|old| &**old), &|id| {
                    fresh.clone().filter(|fresh| fresh.id() == id)
                })
                .await,
            ),
            None => None,
        };
        let table = old.with_module(revision, namespace, name, module, book);
        let after = table.module(namespace, name).cloned();
        if let Some(module) = &after {
            govern(module);
        }
        self.serve(table);
        if let Some(before) = before {
            retire(before, after.as_deref());
        }
    }

    /// A lock as it is stored. One that does not read keeps nothing from serving.
    async fn newest_lock(&self, package: &str, digest: Digest) -> Result<Arc<Lock>, Unreadable> {
        let read = async {
            let locks = derive::lock_from(&self.blobs.get(Kind::Lock, digest).await?)?;
            let lock = locks.get(package).cloned();
            lock.ok_or_else(|| ReviveError::Text(format!("it is not the lock of {package}")))
        };
        read.await.map(Arc::new).map_err(|error| {
            tracing::error!(package, lock = %digest, error = with_causes(&error),
                "a wire lock does not read: nothing new of its package can be published");
            Unreadable
        })
    }

    async fn live_module(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        record: ModuleRecord,
        old: Option<&LiveModule>,
        fresh: &(dyn Fn(&ModuleId) -> Option<Arc<LiveVersion>> + Sync),
    ) -> LiveModule {
        let ModuleRecord { versions, pinned, traffic, highest } = record;
        let mut live = BTreeMap::new();
        for (version, record) in versions {
            let id = ModuleId {
                namespace: namespace.clone(),
                name: name.clone(),
                version: version.clone(),
            };
            // One that could not serve is tried again: it may have been repaired.
            let serves =
                |known: &Arc<LiveVersion>| **known.record() == *record && known.module().is_ok();
            let known = old.and_then(|old| old.versions.get(&version)).cloned();
            let before = known.clone().filter(|known| **known.record() == *record);
            let serving = match known.filter(serves).or_else(|| fresh(&id).filter(serves)) {
                Some(known) => known,
                None => {
                    let revived = self.revive(id, record).await;
                    Arc::new(match before {
                        Some(before) => revived.after(&before),
                        None => revived,
                    })
                }
            };
            live.insert(version, serving);
        }
        let name = name.clone();
        let traffic = Traffic::newer(traffic, self.steering.of(namespace, &name));
        let given = old.map(|old| Arc::clone(&old.given)).unwrap_or_default();
        LiveModule { name, pinned, traffic, given, highest, versions: live }
    }

    /// A published version as it was. One that cannot serve here stays published and says so.
    pub(super) async fn revive(&self, id: ModuleId, record: Arc<VersionRecord>) -> LiveVersion {
        let parts = self.parts(&id, &record).await;
        let bindings = parts.as_ref().ok().and_then(|(_, _, bindings)| bindings.clone());
        let parts = parts.map(|(module, schema, _)| (module, schema)).map_err(|error| {
            self.tell_problem(&id, with_causes(&error));
            match error {
                PartsError::Load(LoadError::NeverFits(why)) => Fault::NeverFits(why),
                PartsError::Load(LoadError::NotOffered(why)) => Fault::NotOffered(why),
                PartsError::Schema(ReviveError::Blob(error)) if error.is_unavailable() => {
                    Fault::NotReady("its stored parts cannot be read now: try again".to_owned())
                }
                _ => Fault::NotReady("its stored parts are damaged: push it again".to_owned()),
            }
        });
        LiveVersion::new(id, record, parts).with_bindings(bindings)
    }

    /// Says in the log that a version cannot serve, once for each reason: it is tried again whenever
    /// the catalog changes.
    fn tell_problem(&self, id: &ModuleId, error: String) {
        let mut told = self.problems.lock();
        if told.get(id) != Some(&error) {
            tracing::error!(module = %id.name, version = %id.version, error,
                "a published version cannot serve");
            if TOLD <= told.len() {
                told.clear();
            }
            told.insert(id.clone(), error);
        }
    }

    async fn parts(&self, id: &ModuleId, record: &VersionRecord) -> Result<Revived, PartsError> {
        let (derived, imports) = derive::revive(&self.blobs, &id.name, record).await?;
        let bindings = self.bind(&id.namespace, &record.spec, &imports);
        let module = self.prepare(id, record, &derived, bindings.as_ref()).await?;
        Ok((module, Arc::new(derive::schema(&derived, record)), bindings))
    }
}

/// What a version serves with, again.
type Revived = (Arc<Module>, Arc<Schema>, Option<Arc<BoundImports>>);

#[derive(Debug, thiserror::Error)]
enum PartsError {
    #[error("prepare the module")]
    Load(#[from] LoadError),
    #[error("read its schema")]
    Schema(#[from] ReviveError),
}

/// A module's processor time is what the version says that answers for it.
pub(super) fn govern(module: &LiveModule) {
    if let Some(Ok(current)) = module.current().map(|live| live.module()) {
        current.govern();
    }
}

/// Frees what only a version that answers calls needs, and ends the sessions of one that is deleted.
/// Calls that run on it finish.
fn retire(before: &LiveModule, after: Option<&LiveModule>) {
    let serving = after.map(LiveModule::serving).unwrap_or_default();
    let serving = serving.into_iter().flat_map(|(_, versions)| versions);
    let serving: HashSet<_> = serving.map(|(live, _)| Arc::as_ptr(live)).collect();
    for (version, live) in &before.versions {
        let kept = after.is_some_and(|after| after.versions.contains_key(version));
        if let (false, Ok(module)) = (kept, live.module()) {
            module.retire();
        }
        if !serving.contains(&Arc::as_ptr(live))
            && let Ok(module) = live.module()
        {
            module.drop_idle();
        }
    }
}
