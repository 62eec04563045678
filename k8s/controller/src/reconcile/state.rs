//! What the loop keeps: the world, its memory, and whether the watches tell what is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    apply::{Applied, Work},
    metrics::Metrics,
    objects::Kind,
    plan::{Memory, Plan},
    watching::Told,
    world::{ModuleKey, World},
};

/// Which watches do not tell what is, at the moment.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// None until the namespaces themselves are known.
    behind: Mutex<Option<BTreeSet<(String, Kind)>>>,
    /// Whether the namespaces' own watch is lost.
    blind: Mutex<bool>,
}

impl Health {
    pub(crate) fn is_current(&self) -> bool {
        !*self.blind.lock() && self.behind.lock().as_ref().is_some_and(BTreeSet::is_empty)
    }
}

pub(super) struct State {
    pub(super) world: World,
    memory: BTreeMap<ModuleKey, Memory>,
    waits: BTreeMap<ModuleKey, usize>,
    /// Kinds whose first list is still to come, by namespace.
    unlisted: BTreeMap<String, BTreeSet<Kind>>,
    kinds: &'static [Kind],
    known: bool,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl State {
    pub(super) fn new(kinds: &'static [Kind], health: Arc<Health>, metrics: Arc<Metrics>) -> Self {
        Self {
            world: World::default(),
            memory: BTreeMap::new(),
            waits: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            kinds,
            known: false,
            health,
            metrics,
        }
    }

    /// Takes in what a watch tells; the modules that it concerns.
    pub(super) fn take(&mut self, told: Told) -> BTreeSet<ModuleKey> {
        let touched = match told {
            Told::Namespaces(names) => {
                let others: Vec<String> =
                    self.unlisted.keys().filter(|name| !names.contains(*name)).cloned().collect();
                for name in others {
                    self.disable(&name);
                }
                names.iter().for_each(|name| self.enable(name));
                self.known = true;
                *self.health.blind.lock() = false;
                self.health.behind.lock().get_or_insert_default();
                BTreeSet::new()
            }
            Told::Enabled(name) => {
                self.enable(&name);
                *self.health.blind.lock() = false;
                BTreeSet::new()
            }
            Told::Disabled(name) => self.disable(&name),
            Told::Listed(namespace, kind, list) => {
                self.current(&namespace, kind);
                let listed = self.unlisted.get_mut(&namespace);
                listed.map(|kinds| kinds.remove(&kind));
                self.world.replace(&namespace, kind, list)
            }
            Told::Put(namespace, object) => {
                self.current(&namespace, object.kind());
                self.world.put(&namespace, object)
            }
            Told::Gone(namespace, object) => {
                self.current(&namespace, object.kind());
                self.world.gone(&namespace, &object)
            }
            Told::Lost(of, why) => {
                self.lost(of, &why);
                BTreeSet::new()
            }
        };
        self.metrics.is_current(self.health.is_current());
        touched
    }

    fn enable(&mut self, namespace: &str) {
        if self.unlisted.contains_key(namespace) {
            return;
        }
        self.world.enable(namespace);
        self.unlisted.insert(namespace.to_owned(), self.kinds.iter().copied().collect());
        let mut behind = self.health.behind.lock();
        let all = self.kinds.iter().map(|kind| (namespace.to_owned(), *kind));
        behind.get_or_insert_default().extend(all);
    }

    fn disable(&mut self, namespace: &str) -> BTreeSet<ModuleKey> {
        self.unlisted.remove(namespace);
        if let Some(behind) = &mut *self.health.behind.lock() {
            behind.retain(|(name, _)| name != namespace);
        }
        let keys = self.world.disable(namespace);
        for key in &keys {
            self.memory.remove(key);
            self.waits.remove(key);
        }
        keys
    }

    fn current(&self, namespace: &str, kind: Kind) {
        if let Some(behind) = &mut *self.health.behind.lock()
            && behind.remove(&(namespace.to_owned(), kind))
            && behind.is_empty()
        {
            tracing::info!("what is known of the cluster is up to date");
        }
    }

    fn lost(&self, of: Option<(String, Kind)>, why: &str) {
        let new = match of {
            None => !std::mem::replace(&mut *self.health.blind.lock(), true),
            Some(place) if self.unlisted.contains_key(&place.0) => {
                self.health.behind.lock().get_or_insert_default().insert(place)
            }
            Some(_) => false,
        };
        if new {
            tracing::warn!(error = why, "the cluster does not tell what changes");
        }
    }

    /// Whether all of a namespace was listed once.
    pub(super) fn is_listed(&self, namespace: &str) -> bool {
        self.unlisted.get(namespace).is_none_or(BTreeSet::is_empty)
    }

    pub(super) fn all_listed(&self) -> bool {
        self.known && self.unlisted.values().all(BTreeSet::is_empty)
    }

    /// Nothing is remembered of a time in which another may have led.
    pub(super) fn forget(&mut self) {
        self.memory.clear();
        self.waits.clear();
    }

    pub(super) fn memory(&self, key: &ModuleKey) -> Memory {
        self.memory.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn remember(&mut self, key: &ModuleKey, memory: Memory) {
        if memory == Memory::default() {
            self.memory.remove(key);
        } else {
            self.memory.insert(key.clone(), memory);
        }
    }

    /// What stands in the cluster counts, not what was decided last.
    pub(super) fn doubt(&mut self, key: &ModuleKey) {
        if let Some(memory) = self.memory.get_mut(key) {
            memory.decided = None;
        }
    }

    /// Whether calls of the module are counted.
    pub(super) fn counts(&self, key: &ModuleKey) -> bool {
        self.memory.get(key).is_some_and(|memory| memory.window.is_some())
    }

    pub(super) fn waiting(&mut self, key: &ModuleKey, count: usize) {
        match count {
            0 => drop(self.waits.remove(key)),
            _ => drop(self.waits.insert(key.clone(), count)),
        }
    }

    pub(super) fn waits(&self) -> usize {
        self.waits.values().sum()
    }

    /// Keeps what was applied of a native module's servers, and how that went.
    pub(super) fn applied(&mut self, key: &ModuleKey, done: Applied) {
        let native = &mut self.memory.entry(key.clone()).or_default().native;
        for (object, digest, mark) in done.objects {
            native.applied.insert(object, (digest, mark));
        }
        if let Some(certificate) = done.certificate {
            native.certificate = Some(certificate);
        }
        if let Some(problem) = done.problem {
            native.problem = problem;
        }
    }

    /// A plan with the revisions that it was made by.
    pub(super) fn work(&self, key: &ModuleKey, plan: Plan) -> Work {
        let id = |id: &crate::objects::Identity| (id.revision, id.uid.clone());
        let versions = self.world.versions(key).into_iter();
        Work {
            module: self.world.module(key).map(|module| id(&module.id)),
            versions: versions.map(|one| (one.id.name.clone(), id(&one.id))).collect(),
            key: key.clone(),
            plan,
        }
    }
}
