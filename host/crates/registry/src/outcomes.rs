//! How the calls of a version ended.

use std::sync::atomic::{AtomicU64, Ordering};

use roadstead_domain::Fault;

/// Counted since the process began, also while the version is loaded anew.
#[derive(Debug, Default)]
pub struct Outcomes {
    calls: AtomicU64,
    failures: AtomicU64,
}

impl Outcomes {
    /// Counts a call that ended. One that its caller cancelled is none.
    pub fn count(&self, fault: Option<&Fault>) {
        if fault == Some(&Fault::Cancelled) {
            return;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if fault.is_some_and(Fault::blames_version) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Calls that ended, and those of them that ended in a fault of the version or its host.
    pub fn read(&self) -> (u64, u64) {
        // Failures first: there are never more of them than calls.
        let failures = self.failures.load(Ordering::Acquire);
        (self.calls.load(Ordering::Acquire), failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_count_unless_cancelled_and_failures_where_the_version_is_to_blame() {
        let outcomes = Outcomes::default();
        let limit = Fault::limit(roadstead_domain::LimitKind::Fuel, 1, None);
        for fault in [None, Some(Fault::Cancelled), Some(Fault::NoSuchHandle), Some(limit)] {
            outcomes.count(fault.as_ref());
        }
        assert_eq!(outcomes.read(), (3, 1));
    }
}
