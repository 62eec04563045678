//! Following the catalog: what other hosts change serves here too.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use roadstead_domain::{ModuleId, with_causes};
use tokio::sync::{Notify, watch};

use super::blocking;
use crate::{LiveVersion, OpenError, Registry, Standing};

/// How often versions are looked for that wait to be judged, also where nothing changes.
const LOOK: Duration = Duration::from_secs(20);

/// How long calls go on with what serves while a new version's code is made ready.
const READY: Duration = Duration::from_secs(60);

/// Follows the catalog as long as the registry lives, once it is open.
pub(super) async fn follow(
    registry: Weak<Registry>,
    changes: watch::Receiver<u64>,
    opened: Arc<Notify>,
) {
    opened.notified().await;
    tokio::join!(serve(registry.clone(), changes), fill(registry));
}

async fn serve(registry: Weak<Registry>, mut changes: watch::Receiver<u64>) {
    loop {
        let Some(registry) = registry.upgrade() else { return };
        if let Err(error) = registry.catch_up().await {
            tracing::error!(error = with_causes(&error), "follow the catalog: serving on");
        }
        registry.settle().await;
        drop(registry);
        if let Ok(Err(_)) = tokio::time::timeout(LOOK, changes.changed()).await {
            return;
        }
    }
}

/// Makes the code of what serves without it: of what came while others were made ready, and of all
/// where a new release or another processor needs its own.
async fn fill(registry: Weak<Registry>) {
    let Some(mut tables) = registry.upgrade().map(|registry| registry.watch()) else { return };
    loop {
        let Some(routes) = registry.upgrade().map(|registry| registry.routes()) else { return };
        for live in routes.all_modules().flat_map(|module| module.versions.values()) {
            let Some(registry) = registry.upgrade() else { return };
            if registry.shares_code() && live.standing() == Standing::Compiling {
                registry.load_ahead(live).await;
            }
        }
        if let Ok(Err(_)) = tokio::time::timeout(LOOK, tables.changed()).await {
            return;
        }
    }
}

impl Registry {
    /// Whether hosts of a pool wait for each other's code. One alone compiles when it is called.
    fn shares_code(&self) -> bool {
        self.blobs.grace().is_some()
    }

    /// Serves what the catalog holds, if it is newer than what serves.
    async fn catch_up(&self) -> Result<(), OpenError> {
        let behind = || self.routes.load().revision() < *self.catalog.watch().borrow();
        // This host's own change serves as soon as its turn ends.
        drop(self.changing.lock().await);
        // What could not be read from the pool's store may read now.
        let wanting = || self.shares_code() && self.routes.load().is_wanting();
        if !behind() && !wanting() {
            return Ok(());
        }
        let ahead = self.make_ahead().await;
        self.comes(None);
        let ahead = ahead?;
        let _turn = self.changing.lock().await;
        if behind() || wanting() {
            self.reload(&ahead).await?;
        }
        Ok(())
    }

    /// Makes versions that are new here ready to be called, before calls are led to them.
    async fn make_ahead(&self) -> Result<HashMap<ModuleId, Arc<LiveVersion>>, OpenError> {
        let snapshot = self.catalog.snapshot().await?;
        let routes = self.routes();
        let mut ahead = HashMap::new();
        for ((namespace, name), module) in snapshot.modules {
            let old = routes.module(&namespace, &name);
            for (version, record) in module.versions {
                let known = old.and_then(|old| old.versions.get(&version));
                if known.is_some_and(|known| **known.record() == *record) {
                    continue;
                }
                let (namespace, name) = (namespace.clone(), name.clone());
                let id = ModuleId { namespace, name, version };
                self.comes(Some(&id));
                let live = Arc::new(self.revive(id.clone(), record).await);
                self.load_ahead(&live).await;
                ahead.insert(id, live);
            }
        }
        Ok(ahead)
    }

    /// Maps a version's code, and compiles it where it is not stored here. What goes wrong, its
    /// calls will say.
    async fn load_ahead(&self, live: &LiveVersion) {
        let Ok(module) = live.module().cloned() else { return };
        let loading = blocking(move || module.load().map(drop));
        match tokio::time::timeout(READY, loading).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(module = %live.id(), error = with_causes(&*error), "load a new version");
            }
            Ok(Err(error)) => {
                tracing::warn!(module = %live.id(), error = with_causes(&error), "load it")
            }
            Err(_) => tracing::warn!(module = %live.id(), "its code takes long: calls wait for it"),
        }
    }
}
