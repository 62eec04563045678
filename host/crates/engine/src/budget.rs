//! Budgets of the host's memory, and the parts of them that single modules may take.
//!
//! There are two: for memories and tables of instances, and for values on their way between
//! protobuf and guests. What is needed is reserved before it is used, so that calls are refused at
//! the door and not half-way; growth beyond that is drawn from the budget as it happens.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{Notify, futures::Notified};

/// A budget and what is taken of it.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    allowed: u64,
    taken: AtomicU64,
    /// The budget that this one is a part of.
    whole: Option<Arc<MemoryBudget>>,
    /// Told, of a whole, when something was given back.
    freed: Notify,
}

/// A share of the budget; given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// One module's part.
    Part,
    Whole,
}

/// No module can take all of the host's memory, whatever its spec asks for.
pub(crate) fn part_of(whole: u64) -> u64 {
    whole / 2
}

impl MemoryBudget {
    pub(crate) fn new(allowed: u64) -> Arc<Self> {
        Arc::new(Self { allowed, taken: AtomicU64::new(0), whole: None, freed: Notify::new() })
    }

    /// One module's part: what is taken of it is taken of the whole too.
    pub(crate) fn part(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            allowed: part_of(self.allowed),
            taken: AtomicU64::new(0),
            whole: Some(Arc::clone(self)),
            freed: Notify::new(),
        })
    }

    pub(crate) fn allowed(&self) -> u64 {
        self.allowed
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// What can still be taken, here and of the whole.
    pub(crate) fn left(&self) -> u64 {
        let left = self.allowed.saturating_sub(self.taken());
        self.whole.as_ref().map_or(left, |whole| left.min(whole.left()))
    }

    /// Ready when something was given back after this was called, here or by another part.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.whole.as_ref().map_or_else(|| self.freed.notified(), |whole| whole.freed())
    }

    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, Exhausted> {
        self.take(bytes)?;
        Ok(Reservation { budget: Arc::clone(self), bytes })
    }

    fn take(&self, bytes: u64) -> Result<(), Exhausted> {
        let add = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.allowed);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add);
        let Some(whole) = &self.whole else {
            return taken.map(|_| ()).map_err(|_| Exhausted::Whole);
        };
        taken.map_err(|_| Exhausted::Part)?;
        whole.take(bytes).inspect_err(|_| self.sub(bytes))
    }

    fn give_back(&self, bytes: u64) {
        self.sub(bytes);
        match &self.whole {
            Some(whole) => whole.give_back(bytes),
            None => self.freed.notify_waiters(),
        }
    }

    fn sub(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Reservation {
    /// Makes the share hold `bytes` at the least.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let taken = self.budget.take(more).is_ok();
        self.bytes += if taken { more } else { 0 };
        taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_add_up_to_more_than_the_budget() {
        let budget = MemoryBudget::new(100);
        let mut first = budget.reserve(60).unwrap();
        assert_eq!(budget.reserve(41).unwrap_err(), Exhausted::Whole);
        let second = budget.reserve(30).unwrap();
        assert!(!first.grow_to(71));
        assert!(first.grow_to(70) && first.grow_to(5));
        assert_eq!(budget.taken(), 100);
        drop(second);
        assert!(first.grow_to(100));
        drop(first);
        assert_eq!(budget.taken(), 0);
        assert!(budget.reserve(u64::MAX).is_err());
    }

    #[test]
    fn a_part_takes_of_the_whole_and_is_bounded_itself() {
        let whole = MemoryBudget::new(100);
        let (one, other) = (whole.part(), whole.part());
        let held = one.reserve(50).unwrap();
        assert_eq!(one.reserve(1).unwrap_err(), Exhausted::Part);
        assert_eq!((whole.taken(), other.left()), (50, 50));
        let rest = whole.reserve(30).unwrap();
        assert_eq!(other.left(), 20);
        assert_eq!(other.reserve(21).unwrap_err(), Exhausted::Whole);
        assert_eq!(other.taken(), 0, "what the whole refused is not kept");
        drop((held, rest));
        assert_eq!((whole.taken(), one.taken()), (0, 0));
    }
}
