//! How many panics on guests' threads were caught: each ended one call and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// Panics caught so far; for metrics.
pub fn panics_caught() -> u64 {
    CAUGHT.load(Ordering::Relaxed)
}

/// Counts a panic that was caught.
pub(crate) fn count_panic() {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
}
