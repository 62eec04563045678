//! The instances of a module that no call runs on.
//!
//! - Idle ones of a pooled module, each kept for the next call of its owner. An instance gets there
//!   only after a success; it leaves for a call of the same owner, or because it is old, idle for
//!   too long, one too many, of dropped code, or in the way of others.
//! - Spare ones, which no call has seen: made ahead of calls that will want a fresh one.
//! - Spent ones, which nothing will see again, until somebody has the time to take them apart.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use roadstead_domain::{InstancePolicy, ModuleSpec, Share};

use crate::instance::Guest;

/// A spare instance is for calls that come at once.
const SPARE: Duration = Duration::from_secs(10);

/// Whom an instance serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    Namespace,
    Caller(Arc<str>),
}

#[derive(Default)]
pub(crate) struct IdleInstances {
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    /// The one used last stands last.
    idle: Vec<Idle>,
    /// The one made last stands last.
    spare: Vec<Spare>,
    spent: Vec<Guest>,
}

struct Idle {
    guest: Box<Guest>,
    owner: Owner,
    since: Instant,
}

struct Spare {
    guest: Box<Guest>,
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
    /// Idle instances.
    pub(crate) fn len(&self) -> usize {
        self.lists.lock().idle.len()
    }

    /// The owner's instance that was used last.
    pub(crate) fn take(&self, owner: &Owner) -> Option<Box<Guest>> {
        let idle = &mut self.lists.lock().idle;
        let index = idle.iter().rposition(|idle| idle.owner == *owner)?;
        Some(idle.remove(index).guest)
    }

    /// Keeps an instance, and drops the oldest one beyond `warm`.
    pub(crate) fn put(&self, guest: Box<Guest>, owner: Owner, warm: usize) {
        let kept = Idle { guest, owner, since: Instant::now() };
        let dropped = {
            let idle = &mut self.lists.lock().idle;
            idle.push(kept);
            (warm < idle.len()).then(|| idle.remove(0))
        };
        drop(dropped);
    }

    /// A spare instance, and how many are left.
    pub(crate) fn take_spare(&self) -> Option<(Box<Guest>, usize)> {
        let spare = &mut self.lists.lock().spare;
        let Spare { guest, .. } = spare.pop()?;
        Some((guest, spare.len()))
    }

    pub(crate) fn put_spare(&self, guest: Box<Guest>) {
        self.lists.lock().spare.push(Spare { guest, since: Instant::now() });
    }

    pub(crate) fn spares(&self) -> usize {
        self.lists.lock().spare.len()
    }

    pub(crate) fn put_spent(&self, guest: Guest) {
        self.lists.lock().spent.push(guest);
    }

    pub(crate) fn any_spent(&self) -> bool {
        !self.lists.lock().spent.is_empty()
    }

    pub(crate) fn take_spent(&self) -> Vec<Guest> {
        std::mem::take(&mut self.lists.lock().spent)
    }

    /// When the instance that lies here longest came, as far as it may be used; a spent one is as
    /// good as any other to be dropped.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let lists = self.lists.lock();
        let idle = lists.idle.first().map(|idle| idle.since);
        let spare = lists.spare.first().map(|spare| spare.since);
        let spent = (!lists.spent.is_empty()).then(Instant::now);
        idle.into_iter().chain(spare).chain(spent).min()
    }

    /// Drops the spent instances, else the one that lies here longest.
    pub(crate) fn drop_oldest(&self) -> bool {
        let mut lists = self.lists.lock();
        let mut dropped = std::mem::take(&mut lists.spent);
        if dropped.is_empty() {
            let Lists { idle, spare, .. } = &mut *lists;
            let since = |idle: Option<&Idle>| idle.map(|idle| idle.since);
            match (since(idle.first()), spare.first().map(|spare| spare.since)) {
                (Some(idle_since), Some(spare_since)) if idle_since < spare_since => {
                    dropped.push(*idle.remove(0).guest);
                }
                (_, Some(_)) => dropped.push(*spare.remove(0).guest),
                (Some(_), None) => dropped.push(*idle.remove(0).guest),
                (None, None) => {}
            }
        }
        drop(lists);
        !dropped.is_empty()
    }

    /// Drops the spent instances, spare ones that nobody wanted, and those that are idle since
    /// before `limit`.
    pub(crate) fn drop_expired(&self, now: Instant, limit: Option<Instant>) {
        let dropped = {
            let mut lists = self.lists.lock();
            let Lists { idle, spare, spent } = &mut *lists;
            let old = limit.map_or(0, |limit| idle.partition_point(|idle| idle.since < limit));
            let unwanted = spare.partition_point(|spare| SPARE < now.duration_since(spare.since));
            let idle: Vec<Idle> = idle.drain(..old).collect();
            let spare: Vec<Spare> = spare.drain(..unwanted).collect();
            (idle, spare, std::mem::take(spent))
        };
        drop(dropped);
    }

    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.lists.lock());
        drop(dropped);
    }
}
