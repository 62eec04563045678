//! How much a module may write: a bucket that fills at the rate of its spec.

use std::time::{Duration, Instant};

use roadstead_domain::ByteRate;

/// Remarks about dropped lines come at most this often.
const BETWEEN_REMARKS: Duration = Duration::from_secs(1);

/// A token bucket of one second's worth.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: ByteRate,
    /// Bytes that may be written now.
    left: u64,
    filled: Instant,
    dropped: Dropped,
    remarked: Option<Instant>,
}

/// What was dropped since the last remark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dropped {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl Bucket {
    pub(super) fn new(rate: ByteRate, now: Instant) -> Self {
        Self { rate, left: rate.0, filled: now, dropped: Dropped::default(), remarked: None }
    }

    /// Whether a line of so many bytes may be kept; if not, it is counted.
    pub(super) fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        self.fill(now);
        // An empty line costs something too.
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(1);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.dropped(bytes);
                false
            }
        }
    }

    /// Counts so many bytes that are dropped whatever the rate.
    pub(super) fn refuse(&mut self, bytes: usize) {
        self.dropped(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    fn dropped(&mut self, bytes: u64) {
        self.dropped.lines = self.dropped.lines.saturating_add(1);
        self.dropped.bytes = self.dropped.bytes.saturating_add(bytes);
    }

    /// What to remark on, if something was dropped and it is time to say so.
    pub(super) fn remark(&mut self, now: Instant) -> Option<Dropped> {
        let recently =
            self.remarked.is_some_and(|at| now.saturating_duration_since(at) < BETWEEN_REMARKS);
        if self.dropped.lines == 0 || recently {
            return None;
        }
        self.remarked = Some(now);
        Some(std::mem::take(&mut self.dropped))
    }

    fn fill(&mut self, now: Instant) {
        let nanos = now.saturating_duration_since(self.filled).as_nanos();
        let gained = nanos.saturating_mul(u128::from(self.rate.0)) / 1_000_000_000;
        // What is too little for a byte stays in the clock, not in the bucket.
        if gained > 0 {
            let gained = u64::try_from(gained).unwrap_or(u64::MAX);
            self.left = self.left.saturating_add(gained).min(self.rate.0);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_rate_is_counted_and_remarked_on_once() {
        let start = Instant::now();
        let mut bucket = Bucket::new(ByteRate(100), start);
        assert!(bucket.admit(49, start));
        assert!(bucket.admit(49, start));
        assert!(!bucket.admit(9, start));
        assert!(!bucket.admit(19, start));
        assert_eq!(bucket.remark(start), Some(Dropped { lines: 2, bytes: 30 }));
        assert_eq!(bucket.remark(start), None);
        assert!(!bucket.admit(9, start));
        assert_eq!(bucket.remark(start + BETWEEN_REMARKS / 2), None);
        assert_eq!(bucket.remark(start + BETWEEN_REMARKS), Some(Dropped { lines: 1, bytes: 10 }));
    }

    #[test]
    fn the_bucket_fills_with_time_and_never_overflows() {
        let start = Instant::now();
        let mut bucket = Bucket::new(ByteRate(100), start);
        assert!(bucket.admit(99, start));
        assert!(!bucket.admit(0, start + Duration::from_millis(5)));
        assert!(bucket.admit(0, start + Duration::from_millis(10)));
        let later = start + Duration::from_secs(3600);
        assert!(bucket.admit(99, later));
        assert!(!bucket.admit(0, later));
        let mut nothing = Bucket::new(ByteRate(0), start);
        assert!(!nothing.admit(0, later));
    }
}
