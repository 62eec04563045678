//! Looking at modules, and changing what is published without a push.

use std::sync::Arc;

use roadstead_catalog::{Change, ModuleRecord, Rollout, RolloutEdit};
use roadstead_domain::{ModuleName, Namespace, Version};
use roadstead_transcode::print_proto;

use crate::{ChangeError, LiveModule, LiveVersion, Protos, Registry};

impl Registry {
    /// The namespace's modules by name.
    pub fn list(&self, namespace: &Namespace) -> Vec<Arc<LiveModule>> {
        self.routes.load().modules(namespace).cloned().collect()
    }

    /// # Errors
    /// [`ChangeError::NoSuchModule`].
    pub fn get(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
    ) -> Result<Arc<LiveModule>, ChangeError> {
        let routes = self.routes.load();
        let module = routes.module(namespace, name);
        module.cloned().ok_or_else(|| ChangeError::NoSuchModule(name.clone()))
    }

    /// Deletes one version, or the module with all its versions; says which are gone. Calls that
    /// run finish. A pinned version alone cannot be deleted: its calls would go, unasked, to the
    /// very versions that it was pinned against.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn delete(
        self: &Arc<Self>,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Vec<Version>, ChangeError> {
        let (registry, namespace, name) = (Arc::clone(self), namespace.clone(), name.clone());
        let version = version.cloned();
        uninterrupted(async move {
            let _turn = registry.changing.lock().await;
            let change = registry.catalog.delete(&namespace, &name, version.as_ref()).await?;
            let Change { revision, module, outcome } = change;
            let gone = module.is_none();
            registry.swap(revision, &namespace, &name, module, None, None).await;
            if gone {
                registry.engine.logs().forget(&namespace, &name);
            }
            registry.collect.notify_one();
            Ok(outcome)
        })
        .await
    }

    /// Makes one version answer every call that names none; without a version, removes the pin.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn pin(
        self: &Arc<Self>,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Arc<LiveModule>, ChangeError> {
        let (registry, namespace, name) = (Arc::clone(self), namespace.clone(), name.clone());
        let version = version.cloned();
        uninterrupted(async move {
            let _turn = registry.changing.lock().await;
            let change: Change<()> =
                registry.catalog.pin(&namespace, &name, version.as_ref()).await?;
            let module: Option<ModuleRecord> = change.module;
            registry.swap(change.revision, &namespace, &name, module, None, None).await;
            registry.get(&namespace, &name)
        })
        .await
    }

    /// How new versions of a module roll out.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn rollout(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
    ) -> Result<Rollout, ChangeError> {
        Ok(self.catalog.rollout(namespace, name).await?)
    }

    /// Changes how they do, or decides about one of them.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn edit_rollout(
        self: &Arc<Self>,
        namespace: &Namespace,
        name: &ModuleName,
        edit: RolloutEdit,
    ) -> Result<Rollout, ChangeError> {
        let (registry, namespace, name) = (Arc::clone(self), namespace.clone(), name.clone());
        uninterrupted(async move {
            let _turn = registry.changing.lock().await;
            let change = registry.catalog.edit_rollout(&namespace, &name, edit).await?;
            let Change { revision, module, outcome } = change;
            registry.swap(revision, &namespace, &name, module, None, None).await;
            Ok(outcome)
        })
        .await
    }

    /// The `.proto` files, the lock and the plan of a version, or of the one that answers now.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn protos(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Protos, ChangeError> {
        let module = self.get(namespace, name)?;
        let live = match version {
            Some(wanted) => module.versions.get(wanted).ok_or_else(|| {
                ChangeError::NoSuchVersion { name: name.clone(), version: wanted.clone() }
            })?,
            None => module.current().ok_or_else(|| ChangeError::NoSuchModule(name.clone()))?,
        };
        self.protos_of(namespace, live)
    }

    fn protos_of(&self, namespace: &Namespace, live: &LiveVersion) -> Result<Protos, ChangeError> {
        let schema = live.schema().map_err(|fault| ChangeError::Host(fault.into()))?;
        let files = schema.files();
        let routes = self.routes.load();
        let lock = routes.newest_locks(namespace, files.iter().map(|file| file.package()))?;
        Ok(Protos {
            files: files.iter().map(|file| (file.name().to_owned(), print_proto(file))).collect(),
            lock: lock.to_string(),
            plan: schema.plan(),
        })
    }
}

/// Runs a change to its end even if whoever asked for it is gone: what the catalog has done must
/// serve.
async fn uninterrupted<T: Send + 'static>(
    change: impl Future<Output = Result<T, ChangeError>> + Send + 'static,
) -> Result<T, ChangeError> {
    let done = tokio::spawn(change).await;
    done.unwrap_or_else(|error| Err(ChangeError::Host(error.into())))
}
