//! Which modules may run the first slice of a call on the caller's thread.
//!
//! Handing a call over to a guest thread and back costs more than a short call itself. A module
//! whose calls have been short time after time may therefore start where the caller is: one slice,
//! two ticks at the most, and at its first yield it moves to the guests' threads. The caller's
//! thread also serves others, so the right is lost for good after few slices that take long:
//! a module that turns on its host keeps a thread waiting that often and never again. Only the
//! processor time of a call counts: how long it stood in the way of others is not its fault.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Short calls in a row that earn the right.
const EARNED: u32 = 32;

/// A call that takes no longer is short.
const SHORT: Duration = Duration::from_micros(250);

/// A slice that takes longer is a strike.
const LONG: Duration = Duration::from_millis(1);

/// A slice that takes longer is all strikes at once.
const TOO_LONG: Duration = Duration::from_millis(5);

const STRIKES: u32 = 3;

/// Requests beyond this are not read on the caller's thread: through dynamic values, and by the
/// compiled codec.
const REQUEST: usize = 4 << 10;
const COMPILED_REQUEST: usize = 64 << 10;

/// What is known of a module's calls.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    streak: AtomicU32,
    strikes: AtomicU32,
}

impl Standing {
    pub(crate) fn may_start_here(&self, request: usize, compiled: bool) -> bool {
        let most = if compiled { COMPILED_REQUEST } else { REQUEST };
        request <= most
            && EARNED <= self.streak.load(Ordering::Relaxed)
            && self.strikes.load(Ordering::Relaxed) < STRIKES
    }

    /// A call ended after `time` on guest threads, from decoding to answer.
    pub(crate) fn ended(&self, time: Duration) {
        let streak = self.streak.load(Ordering::Relaxed);
        let longer = if time <= SHORT { streak.saturating_add(1).min(EARNED) } else { 0 };
        if longer != streak {
            self.streak.store(longer, Ordering::Relaxed);
        }
    }

    /// A call's first slice took `time` of the caller's thread, and was its last if it `ended`.
    pub(crate) fn took_here(&self, time: Duration, ended: bool) {
        if time <= SHORT && ended {
            return;
        }
        if time <= LONG {
            self.streak.store(0, Ordering::Relaxed);
            return;
        }
        self.streak.store(0, Ordering::Relaxed);
        let strikes = if time <= TOO_LONG { 1 } else { STRIKES };
        self.strikes.fetch_add(strikes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_is_earned_by_short_calls_and_lost_for_good() {
        let standing = Standing::default();
        let earn = || (0..EARNED).for_each(|_| standing.ended(SHORT));
        assert!(!standing.may_start_here(0, false));
        earn();
        assert!(
            standing.may_start_here(REQUEST, false) && !standing.may_start_here(REQUEST + 1, false)
        );
        assert!(standing.may_start_here(COMPILED_REQUEST, true));
        assert!(!standing.may_start_here(COMPILED_REQUEST + 1, true));
        standing.ended(LONG);
        assert!(!standing.may_start_here(0, false));
        for strike in 1..=STRIKES {
            earn();
            assert!(standing.may_start_here(0, false));
            standing.took_here(SHORT, true);
            assert!(standing.may_start_here(0, false));
            standing.took_here(LONG * 2, true);
            assert!(!standing.may_start_here(0, false), "{strike}");
        }
        earn();
        assert!(!standing.may_start_here(0, false), "it had its chances");
    }

    #[test]
    fn what_is_not_short_must_be_earned_again() {
        let standing = Standing::default();
        for (time, ended) in [(SHORT * 2, true), (Duration::ZERO, false)] {
            (0..EARNED).for_each(|_| standing.ended(SHORT));
            assert!(standing.may_start_here(0, false));
            standing.took_here(time, ended);
            assert!(!standing.may_start_here(0, false));
        }
    }

    #[test]
    fn one_very_long_slice_is_enough() {
        let standing = Standing::default();
        (0..EARNED).for_each(|_| standing.ended(SHORT));
        standing.took_here(TOO_LONG * 2, true);
        (0..EARNED).for_each(|_| standing.ended(SHORT));
        assert!(!standing.may_start_here(0, false));
    }
}
