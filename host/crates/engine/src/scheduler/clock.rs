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

/// How old a slice may be where one begins within it: together they stay about as long as one.
const YOUNG: Duration = Duration::from_millis(1);

thread_local! {
    /// When the outermost slice on this thread began, while there is one.
    static SLICE: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Thread time of slices within the one under way, which are charged apart.
    static WITHIN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A slice on this thread. Its thread time is parted from that of slices within it, which other
/// modules are charged for: a guest's call of another module begins on its thread.
pub(super) struct Slice {
    is_outermost: bool,
    before: Duration,
}

impl Slice {
    pub(super) fn begin() -> Self {
        let is_outermost = SLICE.get().is_none();
        if is_outermost {
            SLICE.set(Some(Instant::now()));
        }
        Self { is_outermost, before: WITHIN.replace(Duration::ZERO) }
    }

    /// Whether one may begin within those under way on this thread, if there are any.
    pub(super) fn may_begin() -> bool {
        SLICE.get().is_none_or(|began| began.elapsed() < YOUNG)
    }

    /// It ended after so much thread time; how much of that was its own.
    pub(super) fn end(self, took: Duration) -> Duration {
        if self.is_outermost {
            SLICE.set(None);
        }
        let within = WITHIN.replace(self.before.saturating_add(took));
        took.saturating_sub(within)
    }
}

/// Measures the processor time of short pieces of a thread's work without a system call for each.
///
/// What was short on the wall's clock counts as it is; of what was longer, no more than the thread
/// has used since a mark shortly before. So work that stood in the way of others is charged at
/// most [`FRESH`] too much, and never more than it lasted.
pub(super) struct Glance {
    began: Instant,
    /// Of the thread at the mark.
    before: Duration,
}

impl Glance {
    pub(super) fn begin() -> Self {
        let began = Instant::now();
        let is_fresh = |at: &Instant| began.saturating_duration_since(*at) < FRESH;
        let before = match MARK.get().filter(|(at, _)| is_fresh(at)) {
            Some((_, before)) => before,
            None => {
                let before = thread_time();
                MARK.set(Some((began, before)));
                before
            }
        };
        Self { began, before }
    }

    /// Call it on the thread that began.
    pub(super) fn took(&self) -> Duration {
        let lasted = self.began.elapsed();
        if lasted <= GLANCE {
            return lasted;
        }
        thread_time().saturating_sub(self.before).min(lasted)
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

    fn busy(millis: u64) {
        let end = thread_time() + Duration::from_millis(millis);
        while thread_time() < end {}
    }

    #[test]
    fn what_is_within_is_not_its_own() {
        let millis = Duration::from_millis;
        let outer = Slice::begin();
        let first = Slice::begin();
        let inner = Slice::begin();
        assert_eq!(inner.end(millis(1)), millis(1));
        assert_eq!(first.end(millis(3)), millis(2));
        assert_eq!(Slice::begin().end(millis(4)), millis(4));
        assert_eq!(outer.end(millis(10)), millis(3));
        assert_eq!(Slice::begin().end(millis(1)), millis(1));
    }

    #[test]
    fn none_begins_within_one_that_is_not_young() {
        assert!(Slice::may_begin());
        let outer = Slice::begin();
        thread::sleep(2 * YOUNG);
        assert!(!Slice::may_begin());
        Slice::begin().end(Duration::ZERO);
        assert!(!Slice::may_begin());
        outer.end(Duration::ZERO);
        assert!(Slice::may_begin());
    }

    #[test]
    fn what_is_measured_within_changes_nothing() {
        let outer = Glance::begin();
        busy(5);
        assert!(Glance::begin().took() < Duration::from_millis(5));
        assert!(Duration::from_millis(5) <= outer.took());
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
