//! Counts what one call makes the host copy.

use roadstead_domain::{LimitKind, LimitReached};

/// The bytes of host memory that one call may still fill with its values and messages.
///
/// Whoever is about to allocate for a call takes from the budget first, so a refusal comes before
/// the memory is used, whatever a message claims about itself.
#[derive(Debug)]
pub struct CopyBudget {
    allowed: u64,
    used: u64,
}

impl CopyBudget {
    pub fn new(allowed: u64) -> Self {
        Self { allowed, used: 0 }
    }

    pub fn used(&self) -> u64 {
        self.used
    }

    pub fn remaining(&self) -> u64 {
        self.allowed.saturating_sub(self.used)
    }

    /// Takes `bytes`, or says what the sum would have been.
    pub fn take(&mut self, bytes: usize) -> Result<(), LimitReached> {
        let used = self.used.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.allowed < used {
            return Err(LimitReached {
                limit: LimitKind::HostCopy,
                allowed: self.allowed,
                used: Some(used),
            });
        }
        self.used = used;
        Ok(())
    }

    /// Takes room for `count` values of type `T`.
    pub(super) fn take_many<T>(&mut self, count: usize) -> Result<(), LimitReached> {
        self.take(count.saturating_mul(size_of::<T>()))
    }

    /// Makes room in `list` for one more value; `expected` says how many are likely to come.
    pub(super) fn room_for_one<T>(
        &mut self,
        list: &mut Vec<T>,
        expected: impl FnOnce() -> usize,
    ) -> Result<(), LimitReached> {
        if list.len() < list.capacity() {
            return Ok(());
        }
        self.room_for(list, expected().max(1))
    }

    /// Makes room in `list` for `count` more values.
    ///
    /// The first time that is the room they need; a list that grows again at least doubles, so that
    /// many small additions stay linear.
    pub(super) fn room_for<T>(
        &mut self,
        list: &mut Vec<T>,
        count: usize,
    ) -> Result<(), LimitReached> {
        let free = list.capacity() - list.len();
        if count <= free {
            return Ok(());
        }
        let more = count.max(list.len());
        self.take_many::<T>(more - free)?;
        list.reserve_exact(more);
        Ok(())
    }
}
