//! The processor time of one module, all its versions together: what it is promised, what it has
//! had, and its tasks that wait for a thread.
//!
//! The guarantee is kept as one instant, by which it has granted all that was used of it (the
//! theoretical arrival time of the generic cell rate algorithm, which is a token bucket without
//! tokens to refill). Before now, the module is below its guarantee; after now, it has to wait, to
//! borrow, or, where the guarantee is a ceiling, to be throttled.

use std::{collections::VecDeque, time::Duration};

use parking_lot::{Mutex, MutexGuard};

use super::{share::Share, window::Window};

/// A guarantee that is not used is kept for so long.
pub(super) const BURST: u64 = 100_000_000;

/// How far time that the shared tier did not hand out may put a module behind the others there, and
/// how far slices at its callers may lag behind its turns.
pub(super) const LEAD: u64 = 10_000_000;

/// On whose part a slice ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The module's guarantee.
    Guaranteed,
    /// What is left, by weight.
    Shared,
    /// Nobody waited for a thread.
    Spare,
}

/// The account of one module, with tasks `T`.
pub(crate) struct Account<T>(Mutex<State<T>>);

/// Times are nanoseconds on the scheduler's clock.
pub(super) struct State<T> {
    pub(super) share: Share,
    total: u64,
    /// By when the guarantee has granted all that was used of it, on the clock of guarantees.
    pub(super) due: u64,
    /// Weighted time that was used; set forward when the module comes back after a pause.
    pub(super) virtual_time: u64,
    /// The shared tier's virtual time when it last saw the module.
    pub(super) level: u64,
    pub(super) tasks: VecDeque<T>,
    /// The entries of the queue that stand for the module now.
    pub(super) guaranteed_entry: Option<u64>,
    pub(super) shared_entry: Option<u64>,
    throttled: u64,
    /// Since when tasks wait that the ceiling keeps from running.
    throttled_since: Option<u64>,
    window: Window,
}

/// Processor time of a module as people look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuUsage {
    /// Since the host started.
    pub total: Duration,
    /// Thousandths of a processor over about the last 2, 10 and 60 seconds.
    pub millicores_2s: u64,
    pub millicores_10s: u64,
    pub millicores_60s: u64,
    /// How long calls stood still because the module had used up its ceiling.
    pub throttled: Duration,
}

impl<T> Account<T> {
    pub(crate) fn new(share: Share) -> Self {
        Self(Mutex::new(State {
            share,
            total: 0,
            due: 0,
            virtual_time: 0,
            level: 0,
            tasks: VecDeque::new(),
            guaranteed_entry: None,
            shared_entry: None,
            throttled: 0,
            throttled_since: None,
            window: Window::default(),
        }))
    }

    /// Locked for a moment only, after the queue where both are locked.
    pub(super) fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock()
    }

    /// Thread time charged so far.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.state().total)
    }

    pub(super) fn usage(&self, now: u64) -> CpuUsage {
        let state = self.state();
        let waiting = state.throttled_since.map_or(0, |since| now.saturating_sub(since));
        CpuUsage {
            total: Duration::from_nanos(state.total),
            millicores_2s: state.window.millicores(now, 2),
            millicores_10s: state.window.millicores(now, 10),
            millicores_60s: state.window.millicores(now, 60),
            throttled: Duration::from_nanos(state.throttled.saturating_add(waiting)),
        }
    }
}

impl<T> Default for Account<T> {
    fn default() -> Self {
        Self::new(Share::default())
    }
}

impl<T> State<T> {
    /// Whether the ceiling forbids to run now; `granted` is now on the clock of guarantees.
    pub(super) fn over_ceiling(&self, granted: u64) -> bool {
        self.share.capped() && granted < self.due
    }

    /// Puts down a slice that took `nanos` and ended now.
    pub(super) fn charge(&mut self, claim: Claim, nanos: u64, now: u64, granted: u64) {
        self.total = self.total.saturating_add(nanos);
        self.window.add(now, nanos);
        let weighted = self.virtual_time.saturating_add(self.share.weighted(nanos));
        self.virtual_time = match claim {
            Claim::Shared => weighted,
            Claim::Guaranteed | Claim::Spare => {
                self.virtual_time.max(weighted.min(self.level.saturating_add(LEAD)))
            }
        };
        if let Some(span) = self.share.span_of(nanos)
            && (claim == Claim::Guaranteed || self.share.capped())
        {
            if claim == Claim::Spare {
                self.forget_unused(granted);
            }
            self.due = self.due.saturating_add(span);
        }
        self.note_throttling(now, granted);
    }

    /// What a module did not use while it had nothing to do is kept for [`BURST`] alone.
    pub(super) fn forget_unused(&mut self, granted: u64) {
        self.due = self.due.max(granted.saturating_sub(BURST));
    }

    /// Begins or ends the time that is counted as throttled.
    pub(super) fn note_throttling(&mut self, now: u64, granted: u64) {
        if !self.tasks.is_empty() && self.over_ceiling(granted) {
            self.throttled_since.get_or_insert(now);
        } else if let Some(since) = self.throttled_since.take() {
            self.throttled = self.throttled.saturating_add(now.saturating_sub(since));
        }
    }
}
