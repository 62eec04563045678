//! What a module's spec says about its processor time, as the run queue reckons with it.

use roadstead_domain::{Millicores, Quota};

/// The weight of a module that asks for none.
const USUAL_WEIGHT: u64 = 100;

/// A module's claim on the guest threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Promised whatever others do; none: only what others leave.
    guaranteed: Option<Millicores>,
    /// Whether it may have more than that.
    borrow: bool,
    weight: u64,
}

impl Share {
    pub(crate) fn guaranteed(self) -> Option<Millicores> {
        self.guaranteed
    }

    /// Whether the guarantee is a ceiling too.
    pub(crate) fn capped(self) -> bool {
        self.guaranteed.is_some() && !self.borrow
    }

    /// How long the guarantee takes to grant `nanos` of processor time; none without a guarantee.
    pub(super) fn span_of(self, nanos: u64) -> Option<u64> {
        let granted = self.guaranteed?.0.max(1);
        Some(nanos.saturating_mul(1000) / granted)
    }

    /// Processor time as shared by weight: what twice the weight is charged half of.
    pub(super) fn weighted(self, nanos: u64) -> u64 {
        nanos.saturating_mul(USUAL_WEIGHT) / self.weight
    }
}

impl Default for Share {
    fn default() -> Self {
        Self { guaranteed: None, borrow: true, weight: USUAL_WEIGHT }
    }
}

impl From<&Quota> for Share {
    fn from(quota: &Quota) -> Self {
        Self { guaranteed: quota.cpu, borrow: quota.borrow, weight: quota.weight.max(1) }
    }
}
