//! Room on the host for the values of one call, between protobuf and the guest.
//!
//! `limits.host_copy` says what one call may have; the host's budget for values bounds all calls
//! together. A call may always have a little. What is more is reserved before each of its two
//! steps (decoding the request, lifting the results): all that the spec allows if that is half of
//! what is left to the module, else that half. So many calls at once get less each, none is made to
//! wait for another, and who needs more than it got is told to try again.

use std::sync::Arc;

use roadstead_domain::{Fault, LimitKind, LimitReached, Limits};
use roadstead_transcode::CopyBudget;

use crate::{
    budget::{MemoryBudget, Reservation},
    overload,
};

/// What every call may have: about what short texts and small records take.
const LITTLE: u64 = 1 << 20;

/// The values of one call and what is reserved for them.
pub(crate) struct Room {
    budget: Arc<MemoryBudget>,
    reserved: Option<Reservation>,
    /// What the call may have where no other runs.
    most: u64,
    /// What the spec says.
    host_copy: u64,
    granted: u64,
}

impl Room {
    /// `budget` is the module's part.
    pub(crate) fn new(budget: &Arc<MemoryBudget>, limits: &Limits) -> Self {
        let host_copy = limits.host_copy.0;
        let most = host_copy.min((budget.allowed() / 2).max(LITTLE));
        Self { budget: Arc::clone(budget), reserved: None, most, host_copy, granted: 0 }
    }

    /// Room for the next step of a call that has used so much until now.
    pub(crate) fn open(&mut self, used: u64) -> CopyBudget {
        let least = used.saturating_add(LITTLE).min(self.most);
        if let Some(reserved) = &mut self.reserved {
            reserved.shrink_to(used);
        }
        let step = self.most.saturating_sub(used).min(self.budget.left() / 2);
        let wanted = used.saturating_add(step);
        self.granted = if least < wanted && self.reserve(wanted) { wanted } else { least };
        let mut open = CopyBudget::new(self.granted);
        // What is used already was granted before.
        open.take(usize::try_from(used).unwrap_or(usize::MAX)).ok();
        open
    }

    fn reserve(&mut self, bytes: u64) -> bool {
        if let Some(reserved) = &mut self.reserved {
            return reserved.grow_to(bytes);
        }
        self.reserved = self.budget.reserve(bytes).ok();
        self.reserved.is_some()
    }

    /// The fault of running into the end of the room: the spec's, or that of the calls beside.
    pub(crate) fn exceeded(&self, reached: LimitReached) -> Fault {
        if reached.limit != LimitKind::HostCopy {
            return Fault::Limit(reached);
        }
        if self.granted < self.most {
            return overload::values();
        }
        // Callers know the limits of the spec, not what an earlier step left of them.
        Fault::Limit(LimitReached { allowed: self.host_copy.min(self.most), ..reached })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_domain::ByteSize;

    const COPY: u64 = 100 << 20;

    fn limits() -> Limits {
        Limits { host_copy: ByteSize(COPY), ..Limits::default() }
    }

    fn reached() -> LimitReached {
        LimitReached { limit: LimitKind::HostCopy, allowed: 1, used: None }
    }

    #[test]
    fn a_call_alone_gets_what_its_spec_says() {
        let whole = MemoryBudget::new(1 << 30);
        let part = whole.part();
        let mut room = Room::new(&part, &limits());
        assert_eq!(room.open(0).remaining(), COPY);
        assert_eq!(room.open(COPY / 2).remaining(), COPY / 2);
        assert!(matches!(
            room.exceeded(reached()),
            Fault::Limit(LimitReached { allowed: COPY, .. })
        ));
        drop(room);
        assert_eq!(whole.taken(), 0);
    }

    #[test]
    fn many_calls_share_the_budget_and_each_gets_a_little() {
        let whole = MemoryBudget::new(1 << 30);
        let part = whole.part();
        let mut rooms: Vec<Room> = (0..1000).map(|_| Room::new(&part, &limits())).collect();
        for room in &mut rooms {
            assert!(LITTLE <= room.open(0).remaining());
        }
        assert!(part.taken() <= part.allowed());
        let last = rooms.last_mut().unwrap();
        assert!(matches!(last.exceeded(reached()), Fault::Overloaded { .. }));
        // Another module still gets its own.
        assert_eq!(Room::new(&whole.part(), &limits()).open(0).remaining(), COPY);
    }

    #[test]
    fn a_small_host_lowers_the_limit_instead_of_asking_to_try_again() {
        let part = MemoryBudget::new(16 << 20).part();
        let mut room = Room::new(&part, &limits());
        assert_eq!(room.open(0).remaining(), 4 << 20);
        assert!(matches!(room.exceeded(reached()), Fault::Limit(_)));
    }
}
