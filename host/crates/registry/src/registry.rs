//! The registry: one per host.

use std::sync::Arc;

use arc_swap::ArcSwap;
use roadstead_blobs::{BlobStore, Staged, Upload};
use roadstead_catalog::Catalog;
use roadstead_domain::{ByteSize, ModuleName, Namespace, Version};
use roadstead_engine::Engine;
use tokio::sync::watch;

use crate::{
    ChangeError, Checked, LiveModule, OpenError, Progress, Protos, PushError, PushRequest, Pushed,
    RouteTable,
};

/// Bounds of what pushes may cost the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Bytes of one upload.
    pub upload_limit: ByteSize,
    /// Components that are compiled at the same time; each takes memory of many times its size.
    pub compilations: usize,
    /// Pushes that may be in progress, waiting ones included; further ones are refused.
    pub pushes: usize,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self { upload_limit: ByteSize::mib(128), compilations: 2, pushes: 64 }
    }
}

/// What is published and what serves.
pub struct Registry {
    engine: Arc<Engine>,
    blobs: Arc<BlobStore>,
    catalog: Arc<dyn Catalog>,
    config: RegistryConfig,
    routes: ArcSwap<RouteTable>,
    changes: watch::Sender<u64>,
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
        let routes = ArcSwap::from_pointee(RouteTable::default());
        let changes = watch::Sender::new(0);
        Ok(Arc::new(Self { engine, blobs, catalog, config, routes, changes }))
    }

    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What serves now.
    pub fn routes(&self) -> Arc<RouteTable> {
        self.routes.load_full()
    }

    /// Wakes with the revision of every new [`RouteTable`], after it serves.
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

    /// Publishes what was uploaded. Dropping the future before the last phase ends the push.
    ///
    /// # Errors
    /// [`PushError`] says what to change; nothing is published then.
    pub async fn push(
        self: &Arc<Self>,
        _namespace: &Namespace,
        _request: PushRequest,
        _staged: Staged,
        _progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pushed, PushError> {
        let _ = &self.catalog;
        Err(PushError::NoName)
    }

    /// Says what [`Registry::push`] would come to, short of compiling and storing.
    ///
    /// # Errors
    /// [`PushError`], except for breaks, which are part of the answer.
    pub async fn check(
        &self,
        _namespace: &Namespace,
        _request: PushRequest,
        _staged: Staged,
    ) -> Result<Checked, PushError> {
        Err(PushError::NoName)
    }

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
    /// run finish. A pinned version alone cannot be deleted.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn delete(
        self: &Arc<Self>,
        _namespace: &Namespace,
        name: &ModuleName,
        _version: Option<&Version>,
    ) -> Result<Vec<Version>, ChangeError> {
        Err(ChangeError::NoSuchModule(name.clone()))
    }

    /// Makes one version answer every call that names none; without a version, removes the pin.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn pin(
        self: &Arc<Self>,
        _namespace: &Namespace,
        name: &ModuleName,
        _version: Option<&Version>,
    ) -> Result<Arc<LiveModule>, ChangeError> {
        Err(ChangeError::NoSuchModule(name.clone()))
    }

    /// The `.proto` files and the lock of a version, or of the one that answers now.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn protos(
        &self,
        _namespace: &Namespace,
        name: &ModuleName,
        _version: Option<&Version>,
    ) -> Result<Protos, ChangeError> {
        Err(ChangeError::NoSuchModule(name.clone()))
    }
}
