//! The host's memory budget: what all instances together may have in memories and tables.
//!
//! An instance reserves what its module usually needs before it is made, so that calls are refused
//! at the door and not half-way; growth beyond that is drawn from the budget as it happens.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The budget and what is taken of it.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    allowed: u64,
    taken: AtomicU64,
}

/// A share of the budget; given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl MemoryBudget {
    pub(crate) fn new(allowed: u64) -> Arc<Self> {
        Arc::new(Self { allowed, taken: AtomicU64::new(0) })
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        self.take(bytes).then(|| Reservation { budget: Arc::clone(self), bytes })
    }

    fn take(&self, bytes: u64) -> bool {
        let add = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.allowed);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add).is_ok()
    }
}

impl Reservation {
    /// Makes the share hold `bytes` at the least.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let taken = self.budget.take(more);
        self.bytes += if taken { more } else { 0 };
        taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_add_up_to_more_than_the_budget() {
        let budget = MemoryBudget::new(100);
        let mut first = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        let second = budget.reserve(30).unwrap();
        assert!(!first.grow_to(71));
        assert!(first.grow_to(70) && first.grow_to(5));
        assert_eq!(budget.taken(), 100);
        drop(second);
        assert!(first.grow_to(100));
        drop(first);
        assert_eq!(budget.taken(), 0);
        assert!(budget.reserve(u64::MAX).is_none());
    }
}
