//! Bytes of requests that the gateway holds, of all connections together.
//!
//! Flow control bounds what one stream may send unasked; this bounds what all of them may have
//! buffered at once, so that many half-sent requests cannot take the host's memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use roadstead_domain::{ByteSize, Fault};

/// The bytes that may be held, and that are.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: u64,
    used: AtomicU64,
}

/// Some bytes of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(most: ByteSize) -> Self {
        Self(Arc::new(Inner { most: most.0, used: AtomicU64::new(0) }))
    }

    /// Nothing yet, to be grown.
    pub(crate) fn charge(&self) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }
}

impl Charge {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the host holds too much already.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Fault> {
        let Inner { most, used } = &*self.budget.0;
        let before = used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > *most {
            used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Fault::Overloaded {
                what: "host's memory for requests",
                retry_after: Duration::from_millis(100),
            });
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back() {
        let budget = Budget::new(ByteSize(100));
        let mut first = budget.charge();
        first.grow(60).unwrap();
        first.grow(40).unwrap();
        let mut second = budget.charge();
        assert!(matches!(second.grow(1), Err(Fault::Overloaded { .. })));
        drop(first);
        second.grow(100).unwrap();
        assert!(second.grow(u64::MAX).is_err());
    }
}
