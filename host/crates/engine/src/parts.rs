//! The parts of the host's budgets that each module may take, whichever of its versions runs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use roadstead_domain::{ModuleId, ModuleName, Namespace, Quota};

use crate::{
    budget::MemoryBudget,
    room::Values,
    scheduler::{Account, Share},
};

/// What the versions of one module share.
pub(crate) struct Parts {
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) values: Arc<Values>,
    /// Its processor time.
    pub(crate) account: Arc<Account>,
}

/// The host's budgets, and the parts of all modules that live.
pub(crate) struct Budgets {
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) values: Arc<MemoryBudget>,
    parts: Mutex<HashMap<(Namespace, ModuleName), Weak<Parts>>>,
}

impl Budgets {
    pub(crate) fn new(memory: u64, values: u64) -> Self {
        let (memory, values) = (MemoryBudget::new(memory), MemoryBudget::new(values));
        Self { memory, values, parts: Mutex::default() }
    }

    /// The parts of the module that `id` is a version of. The first version's quota counts until
    /// another is put in force.
    pub(crate) fn of(&self, id: &ModuleId, quota: &Quota) -> Arc<Parts> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|_, parts| 0 < parts.strong_count());
        let place = parts.entry((id.namespace.clone(), id.name.clone())).or_default();
        place.upgrade().unwrap_or_else(|| {
            let values = Values::new(self.values.part());
            let account = Arc::new(Account::new(Share::from(quota)));
            let made = Arc::new(Parts { memory: self.memory.part(), values, account });
            *place = Arc::downgrade(&made);
            made
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, version: &str) -> ModuleId {
        ModuleId {
            namespace: Namespace::default(),
            name: name.parse().unwrap(),
            version: version.parse().unwrap(),
        }
    }

    #[test]
    fn versions_of_a_module_share_its_parts_and_modules_do_not() {
        let budgets = Budgets::new(100, 100);
        let of = |name, version| budgets.of(&id(name, version), &Quota::default());
        let (old, new) = (of("m", "0.1.0"), of("m", "0.2.0"));
        let other = of("n", "0.1.0");
        assert!(Arc::ptr_eq(&old.account, &new.account));
        assert!(!Arc::ptr_eq(&old.account, &other.account));
        let held = old.memory.reserve(50).unwrap();
        assert!(new.memory.reserve(1).is_err());
        assert!(other.memory.reserve(50).is_ok());
        drop((held, old, new));
        assert!(of("m", "0.3.0").memory.reserve(50).is_ok());
        assert_eq!(budgets.parts.lock().unwrap().len(), 2);
    }
}
