//! When a version that failed is tried again: at once where it had been well, then ever later, and
//! after too many times in a row only after a long pause.

use std::time::Duration;

use crate::{Attempt, End, Moment};

/// Attempts of a version that ended and should still be observed: those before count no more.
pub const KEPT: usize = 16;

/// How often servers that fail are begun again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// The wait after the first failure in a row; each further one doubles it.
    pub first: Duration,
    /// The longest of these waits.
    pub most: Duration,
    /// Failures in a row after which `pause` is waited each time; less than [`KEPT`].
    pub tries: u32,
    pub pause: Duration,
    /// A server that was ready for so long fails for the first time again.
    pub steady: Duration,
}

impl Default for Restarts {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            most: Duration::from_secs(30),
            tries: 8,
            pause: Duration::from_secs(600),
            steady: Duration::from_secs(60),
        }
    }
}

/// Whether a version may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Why it ended the last time, where it failed.
    Now(Option<String>),
    At(Moment, String),
    Never(String),
}

/// Looks at the attempts of one version that ended.
pub(crate) fn next<'a>(
    restarts: &Restarts,
    attempts: impl Iterator<Item = &'a Attempt>,
    now: Moment,
) -> Next {
    let mut ended: Vec<_> =
        attempts.filter_map(|one| one.ended.as_ref().map(|ended| (one, ended))).collect();
    ended.sort_by_key(|(one, ended)| std::cmp::Reverse((ended.at, one.epoch)));
    let why = match ended.first() {
        None => return Next::Now(None),
        Some((_, ended)) => match &ended.how {
            End::Drained => return Next::Now(None),
            End::Mismatch(why) => return Next::Never(why.clone()),
            End::Failed(why) => why.clone(),
        },
    };
    let mut row = 0_u32;
    for (one, ended) in &ended {
        if !matches!(ended.how, End::Failed(_)) {
            break;
        }
        row += 1;
        if one.ready.is_some_and(|ready| ended.at.since(ready) >= restarts.steady) {
            break;
        }
    }
    let had_been_well = ended.first().is_some_and(|(one, _)| one.ready.is_some());
    let wait = restarts.wait(row, had_been_well);
    let last = ended.first().map_or(now, |(_, ended)| ended.at);
    let at = last.after(wait);
    if at <= now { Next::Now(Some(why)) } else { Next::At(at, why) }
}

impl Restarts {
    /// How long to wait after so many failures in a row.
    fn wait(&self, row: u32, had_been_well: bool) -> Duration {
        match row {
            0 => Duration::ZERO,
            1 if had_been_well => Duration::ZERO,
            row if row > self.tries => self.pause,
            row => {
                let factor = 1_u32.checked_shl(row - 1).unwrap_or(u32::MAX);
                self.first.saturating_mul(factor).min(self.most)
            }
        }
    }
}
