//! How calls are shared, as hosts are told: each stream gets all once, then what changed.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use roadstead_k8s_api::ServingVersion;
use roadstead_proto::v1::{TrafficSplit, VersionShare};
use tokio::sync::watch;

use crate::world::ModuleKey;

/// The splits that stand in the cluster, each with the number of its last change.
#[derive(Debug)]
pub(crate) struct Splits {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    changes: u64,
    all: BTreeMap<ModuleKey, (u64, TrafficSplit)>,
    order: BTreeMap<u64, ModuleKey>,
}

impl Default for Splits {
    fn default() -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Splits {
    /// A module's object has this split at this revision; without shares, the newest answers.
    pub(crate) fn tell(&self, key: &ModuleKey, revision: u64, serving: &[ServingVersion]) {
        let share = |one: &ServingVersion| VersionShare {
            version: one.version.to_string(),
            percent: one.percent.into(),
        };
        let shares: Vec<VersionShare> = serving.iter().map(share).collect();
        let mut inner = self.inner.lock();
        match inner.all.get_mut(key) {
            Some((_, old)) if revision < old.revision => return,
            Some((_, old)) if old.shares == shares => {
                old.revision = revision;
                return;
            }
            None if shares.is_empty() => return,
            _ => {}
        }
        let split = TrafficSplit {
            namespace: key.namespace.clone(),
            module: key.module.clone(),
            revision,
            shares,
        };
        inner.changes += 1;
        let change = inner.changes;
        if let Some((before, _)) = inner.all.insert(key.clone(), (change, split)) {
            inner.order.remove(&before);
        }
        inner.order.insert(change, key.clone());
        self.changed.send_replace(change);
    }

    /// The module is gone, and hosts know that from the cluster.
    pub(crate) fn forget(&self, key: &ModuleKey) {
        let mut inner = self.inner.lock();
        if let Some((change, _)) = inner.all.remove(key) {
            inner.order.remove(&change);
        }
    }

    /// Another controller tells them now.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner.lock();
        inner.all.clear();
        inner.order.clear();
    }

    /// What changed after a change, and the number of the last one.
    pub(crate) fn since(&self, change: u64) -> (Vec<TrafficSplit>, u64) {
        let inner = self.inner.lock();
        let keys = inner.order.range(change.saturating_add(1)..).map(|(_, key)| key);
        let splits = keys.filter_map(|key| inner.all.get(key)).map(|(_, split)| split.clone());
        (splits.filter(|split| change > 0 || !split.shares.is_empty()).collect(), inner.changes)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(module: &str) -> ModuleKey {
        ModuleKey { namespace: "n".to_owned(), module: module.to_owned(), native: false }
    }

    fn share(version: &str, percent: u8) -> ServingVersion {
        ServingVersion { version: version.parse().unwrap(), percent }
    }

    #[test]
    fn all_come_once_and_then_what_changed() {
        let splits = Splits::default();
        splits.tell(&key("a"), 5, &[share("0.1.0", 100)]);
        splits.tell(&key("b"), 6, &[share("0.1.0", 100)]);
        splits.tell(&key("never"), 6, &[]);
        let (all, seen) = splits.since(0);
        assert_eq!(all.iter().map(|split| split.module.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(splits.since(seen), (vec![], seen));
        // The same at a later revision is no change, an older revision none at all.
        splits.tell(&key("a"), 7, &[share("0.1.0", 100)]);
        splits.tell(&key("a"), 6, &[share("0.2.0", 100)]);
        assert_eq!(splits.since(seen).0, []);
        splits.tell(&key("a"), 8, &[share("0.1.0", 95), share("0.2.0", 5)]);
        splits.tell(&key("b"), 9, &[]);
        let (changed, _) = splits.since(seen);
        assert_eq!((changed.len(), changed[0].revision, changed[0].shares.len()), (2, 8, 2));
        assert!(changed[1].shares.is_empty(), "without a rollout the newest answers");
        assert_eq!(splits.since(0).0.len(), 1, "who is new need not hear of that");
        splits.forget(&key("a"));
        assert_eq!(splits.since(0).0, []);
    }
}
