//! Pauses between attempts while an API server does not answer.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);
const WHILE: Duration = Duration::from_secs(30);

/// Twice as long each time, up to five seconds, and not in step with others, who all list anew. They begin anew where
/// the last one is a while ago, not at a success, for a watch that only begins to list is one.
pub(crate) struct Pauses {
    next: Duration,
    last: Option<Instant>,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST, last: None }
    }
}

impl Pauses {
    pub(crate) fn next(&mut self) -> Duration {
        let now = Instant::now();
        if self.last.is_some_and(|last| WHILE < now.saturating_duration_since(last)) {
            self.next = FIRST;
        }
        self.last = Some(now);
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause.mul_f64(rand::random_range(0.1..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_while_went_by() {
        let mut pauses = Pauses::default();
        for _ in 0..10 {
            pauses.next();
        }
        assert_eq!(pauses.next, LONGEST);
        assert!((LONGEST / 10..LONGEST).contains(&pauses.next()));
        pauses.last = Instant::now().checked_sub(WHILE + FIRST);
        assert!(pauses.next() < FIRST);
        assert_eq!(pauses.next, FIRST * 2);
    }
}
