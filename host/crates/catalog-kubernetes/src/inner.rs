//! The state that watches and changes share, and how it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use parking_lot::Mutex;
use roadstead_catalog::CatalogError;
use roadstead_domain::{ModuleName, Namespace};
use roadstead_k8s_api::LOCKS;
use tokio::sync::watch;

use crate::{
    Report,
    cluster::Cluster,
    error::Failure,
    objects::{Kind, Object, Read},
    state::{By, Objects, State},
};

pub(crate) struct Inner {
    pub(crate) cluster: Cluster,
    pub(crate) pool: String,
    state: Mutex<State>,
    /// The newest revision; told while the state is locked, so that it never goes back.
    pub(crate) revision: watch::Sender<u64>,
    /// What is still to be listed, or has lost its watch.
    pub(crate) health: watch::Sender<Health>,
    /// This host's changes come one after the other.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// What is wrong with versions that were applied by hand, by namespace and object.
    pub(crate) reports: watch::Sender<BTreeMap<(Namespace, String), Report>>,
}

/// Which watches do not tell what is, at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// None where the namespaces themselves are not known yet.
    pub(crate) behind: Option<BTreeSet<(Namespace, Kind)>>,
    /// Why, as the last failure had it.
    pub(crate) why: String,
}

impl Health {
    pub(crate) fn is_current(&self) -> bool {
        self.behind.as_ref().is_some_and(BTreeSet::is_empty)
    }
}

impl Inner {
    pub(crate) fn new(cluster: Cluster, pool: String, state: State) -> Self {
        Self {
            cluster,
            pool,
            revision: watch::Sender::new(state.revision),
            state: Mutex::new(state),
            health: watch::Sender::default(),
            changing: tokio::sync::Mutex::default(),
            reports: watch::Sender::default(),
        }
    }

    /// Looks at the objects of a namespace that this host serves.
    pub(crate) fn read<T>(
        &self,
        namespace: &Namespace,
        look: impl FnOnce(&Objects) -> T,
    ) -> Result<T, CatalogError> {
        let state = self.state.lock();
        let objects = state.namespaces.get(namespace);
        objects.map(look).ok_or_else(|| CatalogError::NotEnabled(namespace.clone()))
    }

    /// Looks at everything.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// Changes the state and tells the revision that it has then.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let done = change(&mut state);
        let revision = state.revision;
        self.revision.send_if_modified(|told| {
            let newer = *told < revision;
            *told = revision.max(*told);
            newer
        });
        done
    }

    /// Takes in the answer to a request of this host, and returns the object's uid.
    pub(crate) fn learn(&self, namespace: &Namespace, kind: Kind, read: Read) -> String {
        let uid = read.object.uid().to_owned();
        self.update(|state| state.put(namespace, kind, read, By::Answer, Instant::now()));
        uid
    }

    /// Deletes an object and forgets it.
    pub(crate) async fn remove(
        &self,
        namespace: &Namespace,
        kind: Kind,
        name: &str,
        uid: &str,
    ) -> Result<(), Failure> {
        self.cluster.delete(namespace, kind, name, uid).await?;
        self.update(|state| state.deleted(namespace, kind, name, uid));
        Ok(())
    }

    /// Reads anew all that a change of a module depends on.
    pub(crate) async fn refresh(
        &self,
        namespace: &Namespace,
        module: &ModuleName,
    ) -> Result<(), Failure> {
        let [plain, native] = Kind::MODULES;
        let [plain_version, native_version] = Kind::VERSIONS;
        // Boxed, as changes hold this while they run.
        tokio::try_join!(
            Box::pin(self.look_again(namespace, plain, module.as_str())),
            Box::pin(self.look_again(namespace, native, module.as_str())),
            Box::pin(self.refresh_versions(namespace, plain_version, module)),
            Box::pin(self.refresh_versions(namespace, native_version, module)),
            Box::pin(self.refresh_locks(namespace)),
        )?;
        Ok(())
    }

    async fn refresh_versions(
        &self,
        namespace: &Namespace,
        kind: Kind,
        module: &ModuleName,
    ) -> Result<(), Failure> {
        let known = self.read(namespace, |objects| {
            let versions = objects.all(kind).filter(|(_, object, _)| {
                matches!(object, Object::Version(version) if version.module == *module)
            });
            let known = versions.map(|(name, _, _)| (name.to_owned(), objects.known(kind, name)));
            known.collect::<BTreeMap<String, Option<u64>>>()
        })?;
        let versions = self.cluster.versions(namespace, kind, module).await?;
        self.update(|state| {
            let now = Instant::now();
            let listed: BTreeSet<String> = versions.iter().map(|read| read.name.clone()).collect();
            for read in versions {
                state.put(namespace, kind, read, By::Answer, now);
            }
            for (name, known) in known.into_iter().filter(|(name, _)| !listed.contains(name)) {
                state.absent(namespace, kind, &name, known);
            }
        });
        Ok(())
    }

    pub(crate) async fn refresh_locks(&self, namespace: &Namespace) -> Result<(), Failure> {
        self.look_again(namespace, Kind::Locks, LOCKS).await
    }

    /// Reads one object anew.
    pub(crate) async fn look_again(
        &self,
        namespace: &Namespace,
        kind: Kind,
        name: &str,
    ) -> Result<(), Failure> {
        let known = self.read(namespace, |objects| objects.known(kind, name))?;
        let read = self.cluster.get(namespace, kind, name).await?;
        self.update(|state| match read {
            Some(read) => state.put(namespace, kind, read, By::Answer, Instant::now()),
            None => state.absent(namespace, kind, name, known),
        });
        Ok(())
    }
}
