//! Which servers hosts are told of: each stream gets all once, then what changed.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use roadstead_proto::v1::NativeServers;
use tokio::sync::watch;

use crate::world::ModuleKey;

/// The servers of each native module, with the number of the last change.
#[derive(Debug)]
pub struct Endpoints {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    changes: u64,
    all: BTreeMap<ModuleKey, (u64, NativeServers)>,
    order: BTreeMap<u64, ModuleKey>,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Endpoints {
    /// A module has these servers now.
    pub fn tell(&self, key: &ModuleKey, servers: NativeServers) {
        let mut inner = self.inner.lock();
        if inner.all.get(key).is_some_and(|(_, known)| *known == servers) {
            return;
        }
        inner.changes += 1;
        let change = inner.changes;
        if let Some((before, _)) = inner.all.insert(key.clone(), (change, servers)) {
            inner.order.remove(&before);
        }
        inner.order.insert(change, key.clone());
        self.changed.send_replace(change);
    }

    /// It has none any more, and is none to hosts.
    pub fn forget(&self, key: &ModuleKey) {
        let known = self.inner.lock().all.contains_key(key);
        if known {
            let (namespace, module) = (key.namespace.clone(), key.module.clone());
            self.tell(key, NativeServers { namespace, module, ..NativeServers::default() });
        }
    }

    /// Another controller tells them now.
    pub fn clear(&self) {
        let mut inner = self.inner.lock();
        inner.all.clear();
        inner.order.clear();
    }

    /// What changed after a change, and the number of the last one.
    pub fn since(&self, change: u64) -> (Vec<NativeServers>, u64) {
        let inner = self.inner.lock();
        let later = inner.order.range(change.saturating_add(1)..).filter_map(|(_, key)| {
            let (_, servers) = inner.all.get(key)?;
            Some(servers.clone())
        });
        (later.collect(), inner.changes)
    }

    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_once() {
        let endpoints = Endpoints::default();
        let key = |module: &str| ModuleKey {
            namespace: "n".to_owned(),
            module: module.to_owned(),
            native: true,
        };
        let servers = |module: &str, name: &str| NativeServers {
            module: module.to_owned(),
            server_name: name.to_owned(),
            ..NativeServers::default()
        };
        endpoints.tell(&key("a"), servers("a", "1"));
        endpoints.tell(&key("b"), servers("b", "1"));
        endpoints.tell(&key("a"), servers("a", "1"));
        let (all, last) = endpoints.since(0);
        assert_eq!((all.len(), last), (2, 2), "the same again is no change");
        endpoints.tell(&key("a"), servers("a", "2"));
        let (changed, last) = endpoints.since(last);
        assert_eq!((changed.len(), &*changed[0].server_name, last), (1, "2", 3));
        endpoints.forget(&key("b"));
        endpoints.forget(&key("c"));
        let (changed, last) = endpoints.since(last);
        assert_eq!((changed.len(), &*changed[0].server_name), (1, ""));
        endpoints.clear();
        assert_eq!(endpoints.since(0), (Vec::new(), last));
    }
}
