//! Splits that another source than the catalog tells: of the same module, the one of the higher
//! revision holds.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use roadstead_domain::{ModuleName, Namespace, Traffic};

use super::load::govern;
use crate::{LiveModule, Registry};

/// Modules of which something may be told that the catalog does not say; beyond, nothing is taken.
const MOST: usize = 65_536;

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
        if MOST <= told.len() && !told.contains_key(&key) {
            tracing::warn!(namespace = %key.0, module = %key.1, "too many splits: left out");
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_bounded_and_what_is_known_is_still_renewed() {
        let steering = Steering::default();
        let key = |index: usize| (Namespace::default(), format!("m{index}").parse().unwrap());
        for index in 0..=MOST {
            steering.take(key(index), Traffic::none(1));
        }
        let revision = |index| {
            let (namespace, name) = key(index);
            steering.of(&namespace, &name).map(|traffic| traffic.revision())
        };
        assert_eq!((revision(MOST - 1), revision(MOST)), (Some(1), None));
        steering.take(key(0), Traffic::none(2));
        assert_eq!(revision(0), Some(2));
        steering.take(key(0), Traffic::none(1));
        assert_eq!(revision(0), Some(2));
        // The catalog is past all of it, and knows none of the modules.
        steering.forget(1, &[]);
        assert_eq!((revision(0), revision(1)), (Some(2), None));
    }
}
