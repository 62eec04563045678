//! The parts of the host's resources that namespaces and modules may take.
//!
//! Parts nest: the host, a namespace (as the operator sets it), a module (half of the host at most,
//! whatever its specs ask for). The versions of a module share its parts.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use roadstead_domain::{ByteSize, ModuleId, ModuleName, Namespace, Quota};

use crate::{
    admission::Admission,
    gate::{Gate, Lane, Part},
    room::Values,
    scheduler::{Account, Share},
};

/// The most that one namespace may have of the host at any time; none where it may have all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceShare {
    /// Calls that run at the same time.
    pub concurrency: Option<u64>,
    /// Live instances, counted like the host's slots.
    pub slots: Option<u32>,
    /// Memory of all instances.
    pub memory: Option<ByteSize>,
    /// Room for values of calls.
    pub values: Option<ByteSize>,
}

/// What the versions of one module share.
pub(crate) struct Parts {
    pub(crate) admission: Arc<Admission>,
    pub(crate) slots: Lane,
    pub(crate) memory: Lane,
    pub(crate) values: Arc<Values>,
    /// Slots of instances that are sessions.
    pub(crate) sessions: Lane,
    /// Its processor time.
    pub(crate) account: Arc<Account>,
    _owner: Arc<Owner>,
}

/// What the modules of a namespace share.
struct Owner {
    calls: Arc<Part>,
    slots: Arc<Part>,
    memory: Arc<Part>,
    values: Arc<Part>,
    sessions: Arc<Part>,
}

/// The host's resources, and the parts of all modules that live.
pub(crate) struct Budgets {
    calls: Arc<Gate>,
    pub(crate) slots: Arc<Gate>,
    pub(crate) memory: Arc<Gate>,
    pub(crate) values: Arc<Gate>,
    sessions: Arc<Gate>,
    share: NamespaceShare,
    lives: Mutex<Lives>,
}

#[derive(Default)]
struct Lives {
    owners: HashMap<Namespace, Weak<Owner>>,
    modules: HashMap<(Namespace, ModuleName), Weak<Parts>>,
}

/// No module can take all of the host, whatever its spec asks for.
pub(crate) fn part_of(whole: u64) -> u64 {
    whole / 2
}

impl Budgets {
    pub(crate) fn new(slots: u32, memory: u64, values: u64, share: NamespaceShare) -> Self {
        Self {
            calls: Gate::new(u64::MAX),
            slots: Gate::new(u64::from(slots)),
            memory: Gate::new(memory),
            values: Gate::new(values),
            // Calls that need an instance for themselves always find slots.
            sessions: Gate::new(part_of(u64::from(slots))),
            share,
            lives: Mutex::default(),
        }
    }

    /// The parts of the module that `id` is a version of. The first version's quota counts until
    /// another is put in force.
    pub(crate) fn of(&self, id: &ModuleId, quota: &Quota) -> Arc<Parts> {
        let mut lives = self.lives.lock();
        let Lives { owners, modules } = &mut *lives;
        modules.retain(|_, parts| 0 < parts.strong_count());
        owners.retain(|_, owner| 0 < owner.strong_count());
        let place = modules.entry((id.namespace.clone(), id.name.clone())).or_default();
        place.upgrade().unwrap_or_else(|| {
            let owner = owners.entry(id.namespace.clone()).or_default();
            let owned = owner.upgrade().unwrap_or_else(|| self.owner());
            *owner = Arc::downgrade(&owned);
            let made = Arc::new(self.parts(owned, quota));
            *place = Arc::downgrade(&made);
            made
        })
    }

    fn owner(&self) -> Arc<Owner> {
        let bytes = |size: Option<ByteSize>| size.map_or(u64::MAX, |size| size.0);
        Arc::new(Owner {
            calls: self.calls.part(self.share.concurrency.unwrap_or(u64::MAX)),
            slots: self.slots.part(self.share.slots.map_or(u64::MAX, u64::from)),
            memory: self.memory.part(bytes(self.share.memory)),
            values: self.values.part(bytes(self.share.values)),
            sessions: {
                let slots = self.share.slots.map_or(u64::MAX, |slots| part_of(slots.into()));
                self.sessions.part(slots)
            },
        })
    }

    fn parts(&self, owner: Arc<Owner>, quota: &Quota) -> Parts {
        let slots = self.slots.most();
        let values = self.values.lane(&owner.values, part_of(self.values.most()));
        let parts = Parts {
            admission: Admission::new(self.calls.lane(&owner.calls, u64::MAX), part_of(slots)),
            slots: self.slots.lane(&owner.slots, slots),
            memory: self.memory.lane(&owner.memory, part_of(self.memory.most())),
            values: Values::new(values),
            sessions: {
                let most = part_of(self.sessions.most()).max(1);
                self.sessions.lane(&owner.sessions, most)
            },
            account: Arc::new(Account::new(Share::from(quota))),
            _owner: owner,
        };
        parts.set_weight(quota.weight);
        parts
    }
}

impl Parts {
    /// How much the module gets of what is contended, beside others.
    pub(crate) fn set_weight(&self, weight: u64) {
        self.admission.lane.set_weight(weight);
        self.slots.set_weight(weight);
        self.memory.set_weight(weight);
        self.values.set_weight(weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Ask, Level};

    fn id(name: &str, version: &str) -> ModuleId {
        ModuleId {
            namespace: Namespace::default(),
            name: name.parse().unwrap(),
            version: version.parse().unwrap(),
        }
    }

    fn bytes(count: u64) -> Ask {
        Ask { count, most: u64::MAX }
    }

    fn of(budgets: &Budgets, name: &str, version: &str) -> Arc<Parts> {
        budgets.of(&id(name, version), &Quota::default())
    }

    #[test]
    fn versions_of_a_module_share_its_parts_and_modules_do_not() {
        let budgets = Budgets::new(10, 100, 100, NamespaceShare::default());
        let (old, new) = (of(&budgets, "m", "0.1.0"), of(&budgets, "m", "0.2.0"));
        let other = of(&budgets, "n", "0.1.0");
        assert!(Arc::ptr_eq(&old.account, &new.account));
        assert!(!Arc::ptr_eq(&old.account, &other.account));
        let held = old.memory.try_take(bytes(50)).unwrap();
        assert_eq!(new.memory.try_take(bytes(1)).unwrap_err(), Level::Module);
        assert!(other.memory.try_take(bytes(50)).is_ok());
        drop((held, old, new));
        assert!(of(&budgets, "m", "0.3.0").memory.try_take(bytes(50)).is_ok());
        assert_eq!(budgets.lives.lock().modules.len(), 2);
    }

    #[test]
    fn modules_of_a_namespace_share_its_part_and_namespaces_do_not() {
        let share = NamespaceShare { memory: Some(ByteSize(60)), ..NamespaceShare::default() };
        let budgets = Budgets::new(10, 100, 100, share);
        let (one, two) = (of(&budgets, "m", "0.1.0"), of(&budgets, "n", "0.1.0"));
        let elsewhere = ModuleId { namespace: "other".parse().unwrap(), ..id("m", "0.1.0") };
        let _held = one.memory.try_take(bytes(40)).unwrap();
        assert_eq!(two.memory.try_take(bytes(21)).unwrap_err(), Level::Namespace);
        let elsewhere = budgets.of(&elsewhere, &Quota::default());
        assert!(elsewhere.memory.try_take(bytes(50)).is_ok());
    }

    #[test]
    fn the_weight_of_a_module_counts_for_its_calls() {
        let share = NamespaceShare { concurrency: Some(3), ..NamespaceShare::default() };
        let budgets = Budgets::new(10, 100, 100, share);
        let heavy = budgets.of(&id("m", "0.1.0"), &Quota { weight: 1000, ..Quota::default() });
        let (light, other) = (of(&budgets, "n", "0.1.0"), of(&budgets, "o", "0.1.0"));
        let take = |parts: &Arc<Parts>| parts.admission.lane.try_take(bytes(1)).unwrap();
        let (_heavy, _light, ending) = (take(&heavy), take(&light), take(&other));
        let came_first = light.admission.lane.join(bytes(1), 1).unwrap();
        let came_second = heavy.admission.lane.join(bytes(1), 1).unwrap();
        drop(ending);
        assert!(came_first.pending() && !came_second.pending());
    }
}
