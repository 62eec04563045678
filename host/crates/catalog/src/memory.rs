//! The catalog's twin in memory: for tests and throw-away hosts.

use async_trait::async_trait;
use parking_lot::Mutex;
use roadstead_domain::{ModuleName, Namespace, Version};
use tokio::sync::watch;

use crate::{
    Catalog, CatalogError, Change, Publication, Published, Snapshot,
    rules::{self, Decision},
};

/// A catalog that lives as long as the value.
#[derive(Debug)]
pub struct MemoryCatalog {
    state: Mutex<Snapshot>,
    revision: watch::Sender<u64>,
}

impl Default for MemoryCatalog {
    fn default() -> Self {
        Self { state: Mutex::default(), revision: watch::Sender::new(0) }
    }
}

impl MemoryCatalog {
    /// Counts one change and tells it while the state is still locked, so that revisions are told
    /// in order.
    fn advance(&self, state: &mut Snapshot) -> u64 {
        state.revision += 1;
        self.revision.send_replace(state.revision);
        state.revision
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        Ok(self.state.lock().clone())
    }

    async fn publish(&self, publication: Publication) -> Result<Published, CatalogError> {
        let mut state = self.state.lock();
        let namespace = &publication.namespace;
        let key = (namespace.clone(), publication.name.clone());
        let decision = rules::publish(state.modules.get(&key).cloned(), &publication, |package| {
            Ok(state.locks.get(&(namespace.clone(), package.to_owned())).copied())
        })?;
        let (module, record) = match decision {
            Decision::Create(module, record) => (module, record),
            Decision::Unchanged(record) => return Ok(Published::Unchanged(record)),
        };
        for change in publication.locks {
            state.locks.insert((key.0.clone(), change.package), change.to);
        }
        state.modules.insert(key, module.clone());
        let revision = self.advance(&mut state);
        Ok(Published::Created(Change { revision, module: Some(module), outcome: record }))
    }

    async fn delete(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<Vec<Version>>, CatalogError> {
        let mut state = self.state.lock();
        let key = (namespace.clone(), name.clone());
        let (module, outcome) = rules::delete(state.modules.get(&key).cloned(), name, version)?;
        match &module {
            Some(module) => state.modules.insert(key, module.clone()),
            None => state.modules.remove(&key),
        };
        Ok(Change { revision: self.advance(&mut state), module, outcome })
    }

    async fn pin(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<()>, CatalogError> {
        let mut state = self.state.lock();
        let key = (namespace.clone(), name.clone());
        let mut module = state.modules.get(&key).cloned();
        if !rules::pin(&mut module, name, version)? {
            return Ok(Change { revision: state.revision, module, outcome: () });
        }
        if let Some(module) = &module {
            state.modules.insert(key, module.clone());
        }
        Ok(Change { revision: self.advance(&mut state), module, outcome: () })
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}
