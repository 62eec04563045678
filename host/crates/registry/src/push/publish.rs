//! The end of a push: one transaction, then the new table.

use std::{collections::HashMap, sync::Arc};

use roadstead_blobs::Kind;
use roadstead_catalog::{CatalogError, Change, Published};
use roadstead_engine::Module;

use super::{Plan, Planned, Stored, Validated};
use crate::{LiveVersion, PushError, Pushed, Registry, derive, recipe::Recipe};

/// How often a push derives anew because another host changed the catalog under it.
const ATTEMPTS: usize = 16;

impl Registry {
    pub(super) async fn publish(
        self: Arc<Self>,
        validated: Arc<Validated>,
        mut planned: Box<Planned>,
        prepared: (Option<Arc<Module>>, Recipe),
        mut stored: Stored,
    ) -> Result<Pushed, PushError> {
        let _turn = self.changing.lock().await;
        let name = validated.name.clone();
        for _ in 0..ATTEMPTS {
            let edition = self.routes.load().edition(&validated.namespace);
            if edition != planned.basis {
                planned = match self.plan_again(&validated).await? {
                    Plan::Exists(record) => return Ok(Pushed { name, record, created: false }),
                    Plan::New(planned) => planned.accepted(&validated)?,
                };
            } else {
                self.keep_promises(&validated, &planned)?;
            }
            let live = self.store_plan(&validated, &planned, &prepared, &mut stored).await?;
            match self.catalog.publish(planned.publication(&validated)).await {
                Ok(Published::Created(change)) => {
                    let record = Arc::clone(&change.outcome);
                    stored.collect = None;
                    self.install(&validated, &planned, change, live).await;
                    self.renew_if_late(&record, stored.age()).await?;
                    return Ok(Pushed { name, record, created: true });
                }
                Ok(Published::Unchanged(record)) => {
                    return Ok(Pushed { name, record, created: false });
                }
                Err(CatalogError::NotNext { .. } | CatalogError::LockMoved { .. }) => {
                    self.reload(&HashMap::new()).await.map_err(PushError::host)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(PushError::Overloaded { retry_after: crate::registry::RETRY_AFTER })
    }

    /// Stores what only the plan knows, and makes the version that will serve.
    async fn store_plan(
        &self,
        validated: &Validated,
        planned: &Planned,
        (module, recipe): &(Option<Arc<Module>>, Recipe),
        stored: &mut Stored,
    ) -> Result<Arc<LiveVersion>, PushError> {
        for text in &planned.lock_texts {
            stored.add(self, Kind::Lock, text.clone()).await?;
        }
        if let Some(interface) = &planned.interface {
            stored.add(self, Kind::Interface, interface.clone()).await?;
        }
        let id = validated.id_of(&planned.record);
        // Where other numbers were given out meanwhile, its first call compiles it with those.
        let same = Recipe::of(&id.name, &planned.record).key() == recipe.key();
        let module = match module {
            Some(module) if *module.id() == id && same => Arc::clone(module),
            _ => self.prepare(&id, &planned.record, &planned.derived).await?,
        };
        let schema = Arc::new(derive::schema(&planned.derived, &planned.record));
        let record = Arc::new(planned.record.clone());
        Ok(Arc::new(LiveVersion::new(id, record, Ok((module, schema)))))
    }

    async fn install(
        &self,
        validated: &Validated,
        planned: &Planned,
        change: Change<Arc<roadstead_catalog::VersionRecord>>,
        live: Arc<LiveVersion>,
    ) {
        let Validated { namespace, name, .. } = validated;
        let mut book = (*self.routes.load().locks(namespace)).clone();
        let digests = planned.locks.iter().map(|change| (change.package.clone(), change.to));
        book.extend(&planned.derived.locks, digests);
        let Change { revision, module, .. } = change;
        self.swap(revision, namespace, name, module, Some(live), Some(book)).await;
    }
}
