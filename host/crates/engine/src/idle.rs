//! The idle instances of all modules: expired ones go, and the oldest when somebody needs a slot.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use roadstead_domain::ModuleId;
use tokio::sync::Notify;

use crate::module::Inner;

/// How late an idle instance may be dropped.
const LATENESS: Duration = Duration::from_millis(500);

/// Every module of the engine.
#[derive(Default)]
pub(crate) struct IdleModules {
    modules: Mutex<Vec<Weak<Inner>>>,
    kept: Notify,
}

impl IdleModules {
    pub(crate) fn add(&self, module: &Arc<Inner>) {
        let mut modules = self.modules.lock();
        modules.retain(|module| 0 < module.strong_count());
        modules.push(Arc::downgrade(module));
    }

    /// An instance lies idle from now on.
    pub(crate) fn kept(&self) {
        self.kept.notify_one();
    }

    /// Drops the instance that is idle longest, of those modules whose loss helps.
    pub(crate) fn drop_oldest(&self, helps: impl Fn(&ModuleId) -> bool) -> bool {
        let oldest = self
            .live()
            .into_iter()
            .filter(|module| helps(&module.id))
            .filter_map(|module| Some((module.idle().oldest()?, module)))
            .min_by_key(|(since, _)| *since);
        oldest.is_some_and(|(_, module)| module.idle().drop_oldest())
    }

    pub(crate) fn clear(&self) {
        for module in self.live() {
            module.idle().clear();
        }
    }

    fn live(&self) -> Vec<Arc<Inner>> {
        self.modules.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Drops what is idle for too long, for as long as the engine lives; sleeps while nothing is idle.
pub(crate) async fn sweep(idle: Weak<IdleModules>) {
    loop {
        let Some(modules) = idle.upgrade() else { return };
        let live = modules.live();
        for module in &live {
            module.drop_expired(Instant::now());
        }
        let some_idle = live.iter().any(|module| module.idle().oldest().is_some());
        drop(live);
        if some_idle {
            drop(modules);
            tokio::time::sleep(LATENESS).await;
        } else {
            modules.kept.notified().await;
        }
    }
}
