//! Pauses between attempts.

use std::time::{Duration, Instant};

/// Twice as long each time, up to some seconds, within which a controller that begins to lead waits for all, and not in step with other hosts. They begin anew
/// after a stream that lasted.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);
const LASTED: Duration = Duration::from_secs(30);

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Pauses {
    /// The pause after a stream that began then, and has ended now.
    pub(crate) fn after(&mut self, began: Instant) -> Duration {
        self.pause(LASTED <= began.elapsed()).mul_f64(rand::random_range(0.5..1.0))
    }

    fn pause(&mut self, lasted: bool) -> Duration {
        if lasted {
            self.next = FIRST;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_after_a_stream_that_lasted() {
        let mut pauses = Pauses::default();
        let grown: Vec<u128> = (0..9).map(|_| pauses.pause(false).as_millis()).collect();
        assert_eq!(grown, [500, 1000, 2000, 4000, 8000, 8000, 8000, 8000, 8000]);
        assert_eq!(pauses.pause(true), FIRST);
        assert_eq!(pauses.pause(false), FIRST * 2);
        let jittered = Pauses::default().after(Instant::now());
        assert!((FIRST / 2..FIRST).contains(&jittered));
    }
}
