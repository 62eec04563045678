//! Thread time: what a thread itself took, without what it waited for a core.

use std::{
    cell::Cell,
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Processor time that this thread has used so far.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Work that lasted no longer is put down as processor time of its own.
const GLANCE: Duration = Duration::from_micros(50);

/// How old a thread's mark may be.
const FRESH: Duration = Duration::from_micros(150);

/// When this thread last asked for its processor time, and how much it had used.
type Mark = Option<(Instant, Duration)>;

thread_local! {
    static MARK: Cell<Mark> = const { Cell::new(None) };
}

thread_local! {
    /// Thread time of work within the one under way that is charged apart.
    static WITHIN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Parts the thread time of a piece of work from that of pieces within it, which other modules are
/// charged for: a guest's call of another one begins on its thread.
pub(super) struct Own {
    before: Duration,
}

impl Own {
    /// Work begins on this thread.
    pub(super) fn begin() -> Self {
        Self { before: WITHIN.replace(Duration::ZERO) }
    }

    /// It ended after so much thread time; how much of that was its own.
    pub(super) fn of(self, took: Duration) -> Duration {
        let within = WITHIN.replace(self.before.saturating_add(took));
        took.saturating_sub(within)
    }
}

/// Measures the processor time of short pieces of a thread's work without a system call for each.
///
/// What was short on the wall's clock counts as it is; of what was longer, no more than the thread
/// has used since a mark shortly before. So work that stood in the way of others is charged at
/// most [`FRESH`] too much, and never more than it lasted.
pub(super) struct Glance(Instant);

impl Glance {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        let marked = MARK.get().is_some_and(|(at, _)| now.saturating_duration_since(at) < FRESH);
        if !marked {
            MARK.set(Some((now, thread_time())));
        }
        Self(now)
    }

    /// Call it on the thread that began.
    pub(super) fn took(&self) -> Duration {
        let lasted = self.0.elapsed();
        let (false, Some((_, before))) = (lasted <= GLANCE, MARK.get()) else { return lasted };
        thread_time().saturating_sub(before).min(lasted)
    }
}

/// Measures the processor time of work that should end where it began.
pub(crate) struct Stopwatch {
    thread: ThreadId,
    since: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { thread: thread::current().id(), since: thread_time() }
    }

    /// Since the start, other work in between included; [`Duration::MAX`] on another thread.
    pub(crate) fn elapsed(&self) -> Duration {
        if self.thread == thread::current().id() {
            thread_time().saturating_sub(self.since)
        } else {
            Duration::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_is_not_its_own() {
        let millis = Duration::from_millis;
        let outer = Own::begin();
        let first = Own::begin();
        let inner = Own::begin();
        assert_eq!(inner.of(millis(1)), millis(1));
        assert_eq!(first.of(millis(3)), millis(2));
        assert_eq!(Own::begin().of(millis(4)), millis(4));
        assert_eq!(outer.of(millis(10)), millis(3));
        assert_eq!(Own::begin().of(millis(1)), millis(1));
    }

    #[test]
    fn who_was_kept_from_running_is_not_charged_for_it() {
        let glance = Glance::begin();
        thread::sleep(Duration::from_millis(50));
        assert!(glance.took() < Duration::from_millis(25), "{:?}", glance.took());
        let glance = Glance::begin();
        let since = thread_time();
        while thread_time() - since < Duration::from_millis(5) {}
        assert!(Duration::from_millis(5) <= glance.took());
    }
}
