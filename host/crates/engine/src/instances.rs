//! The idle instances of a pooled module.
//!
//! An instance gets here only after a success; it leaves for a call of the same owner, or because
//! it is old, idle for too long, one too many, of dropped code, or in the way of others.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use roadstead_domain::{InstancePolicy, ModuleSpec, Share};

use crate::instance::Guest;

/// Whom an instance serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    Namespace,
    Caller(Arc<str>),
}

#[derive(Default)]
pub(crate) struct IdleInstances {
    /// The one used last stands last.
    list: Mutex<Vec<Idle>>,
}

struct Idle {
    guest: Guest,
    owner: Owner,
    since: Instant,
}

/// Whose instances a call may use; none where every call gets its own. A caller without an
/// identity shares with nobody, not even with itself.
pub(crate) fn owner_of(spec: &ModuleSpec, caller: Option<&Arc<str>>) -> Option<Owner> {
    match (spec.instances.policy, spec.instances.share) {
        (InstancePolicy::PerCall, _) => None,
        (InstancePolicy::Pooled, Share::Namespace) => Some(Owner::Namespace),
        (InstancePolicy::Pooled, Share::Caller) => caller.cloned().map(Owner::Caller),
    }
}

impl IdleInstances {
    pub(crate) fn len(&self) -> usize {
        self.list.lock().len()
    }

    /// The owner's instance that was used last.
    pub(crate) fn take(&self, owner: &Owner) -> Option<Guest> {
        let mut list = self.list.lock();
        let index = list.iter().rposition(|idle| idle.owner == *owner)?;
        Some(list.remove(index).guest)
    }

    /// Keeps an instance, and drops the oldest one beyond `warm`.
    pub(crate) fn put(&self, guest: Guest, owner: Owner, warm: usize) {
        let idle = Idle { guest, owner, since: Instant::now() };
        let dropped = {
            let mut list = self.list.lock();
            list.push(idle);
            (warm < list.len()).then(|| list.remove(0))
        };
        drop(dropped);
    }

    /// When the instance that is idle longest became so.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.list.lock().first().map(|idle| idle.since)
    }

    /// Drops the instance that is idle longest.
    pub(crate) fn drop_oldest(&self) -> bool {
        let dropped = {
            let mut list = self.list.lock();
            (!list.is_empty()).then(|| list.remove(0))
        };
        dropped.is_some()
    }

    /// Drops those that are idle since before `limit`.
    pub(crate) fn drop_before(&self, limit: Instant) {
        let dropped: Vec<Idle> = {
            let mut list = self.list.lock();
            let keep = list.partition_point(|idle| idle.since < limit);
            list.drain(..keep).collect()
        };
        drop(dropped);
    }

    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.list.lock());
        drop(dropped);
    }
}
