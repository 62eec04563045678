//! Splits that another source than the catalog tells: of the same module, the one of the higher
//! revision holds.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use roadstead_domain::{ModuleName, Namespace, Traffic};

use super::load::govern;
use crate::{LiveModule, Registry};

/// What was told, by module.
#[derive(Debug, Default)]
pub(crate) struct Steering(Mutex<HashMap<(Namespace, ModuleName), Traffic>>);

impl Steering {
    /// What was told of a module.
    pub(super) fn of(&self, namespace: &Namespace, name: &ModuleName) -> Option<Traffic> {
        self.0.lock().get(&(namespace.clone(), name.clone())).cloned()
    }

    /// Takes in what is newer than what was told before.
    fn take(&self, key: (Namespace, ModuleName), traffic: Traffic) {
        let mut told = self.0.lock();
        let newest = Traffic::newer(told.remove(&key), Some(traffic));
        told.extend(newest.map(|newest| (key, newest)));
    }

    /// Forgets what the catalog is past: it has newer splits, or the modules are gone.
    pub(super) fn forget(&self, revision: u64, live: &[(Namespace, LiveModule)]) {
        let mut told = self.0.lock();
        if told.is_empty() {
            return;
        }
        let named: HashMap<_, _> =
            live.iter().map(|(namespace, module)| ((namespace, &module.name), module)).collect();
        told.retain(|(namespace, name), traffic| match named.get(&(namespace, name)) {
            Some(module) => module.traffic.as_ref() == Some(traffic),
            None => revision < traffic.revision(),
        });
    }
}

impl Registry {
    /// Shares the calls of modules as somebody else than the catalog tells, where that is newer. It
    /// also holds for modules that the catalog tells of later.
    pub async fn steer(&self, splits: Vec<(Namespace, ModuleName, Traffic)>) {
        let _turn = self.changing.lock().await;
        let mut changed = HashSet::new();
        for (namespace, name, traffic) in splits {
            let key = (namespace, name);
            self.steering.take(key.clone(), traffic);
            changed.insert(key);
        }
        let old = self.routes();
        let mut modules = Vec::new();
        for (namespace, name) in changed {
            let Some(before) = old.module(&namespace, &name) else { continue };
            let told = self.steering.of(&namespace, &name);
            let traffic = Traffic::newer(before.traffic.clone(), told);
            if traffic == before.traffic {
                continue;
            }
            let module = LiveModule { traffic, ..(**before).clone() };
            govern(&module);
            modules.push((namespace, module));
        }
        if !modules.is_empty() {
            self.serve(old.steered(modules));
        }
    }
}
