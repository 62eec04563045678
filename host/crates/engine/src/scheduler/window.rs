//! Processor time by second, for the rates that people look at. Costs one addition a slice.

const SECOND: u64 = 1_000_000_000;

/// Seconds that are kept.
const KEPT: usize = 64;

/// Nanoseconds used in each of the last seconds, on the scheduler's clock.
pub(super) struct Window {
    used: [u64; KEPT],
    /// The second that was written last.
    last: u64,
    began: Option<u64>,
}

impl Default for Window {
    fn default() -> Self {
        Self { used: [0; KEPT], last: 0, began: None }
    }
}

impl Window {
    pub(super) fn add(&mut self, now: u64, nanos: u64) {
        self.began.get_or_insert(now.saturating_sub(nanos));
        let second = (now / SECOND).max(self.last);
        for passed in (self.last + 1..=second).rev().take(KEPT) {
            self.of(passed, |used| *used = 0);
        }
        self.last = second;
        self.of(second, |used| *used = used.saturating_add(nanos));
    }

    /// Thousandths of a processor used over about the last `seconds`: whole seconds before this
    /// one, and what has passed of this one.
    pub(super) fn millicores(&self, now: u64, seconds: u64) -> u64 {
        let Some(began) = self.began else { return 0 };
        let seconds = seconds.min(KEPT as u64 - 1);
        let this = now / SECOND;
        let first = this.saturating_sub(seconds);
        let kept = self.last.saturating_sub(KEPT as u64 - 1);
        let used: u64 = (first.max(kept)..=this.min(self.last))
            .filter_map(|second| self.used.get(slot(second)))
            .fold(0, |sum, used| sum.saturating_add(*used));
        let since = (first * SECOND).max(began);
        used.saturating_mul(1000) / now.saturating_sub(since).max(SECOND)
    }

    fn of(&mut self, second: u64, change: impl FnOnce(&mut u64)) {
        if let Some(used) = self.used.get_mut(slot(second)) {
            change(used);
        }
    }
}

fn slot(second: u64) -> usize {
    usize::try_from(second % KEPT as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds_alone() {
        let mut window = Window::default();
        assert_eq!(window.millicores(5 * SECOND, 10), 0);
        for tenth in 0..200 {
            window.add(100 * SECOND + tenth * SECOND / 10, SECOND / 20);
        }
        let end = 120 * SECOND - 1;
        assert!(window.millicores(end, 10).abs_diff(500) <= 5);
        assert!(window.millicores(end, 60).abs_diff(500) <= 5, "it is no older than 20 s");
        let later = 125 * SECOND;
        assert_eq!(window.millicores(later, 2), 0);
        assert!(window.millicores(later, 10).abs_diff(250) <= 5);
        assert_eq!(window.millicores(500 * SECOND, 60), 0);
        window.add(500 * SECOND, SECOND / 2);
        assert_eq!(window.millicores(501 * SECOND, 1), 500);
    }
}
