//! When a call ran on the guests' threads, and the processor time that it took there: measured for
//! calls that ask for it, and for no others.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    scheduler::{Work, thread_time},
    store::Meter,
};

/// A call's time on the guests' threads, as of the last look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub began: Instant,
    pub ended: Instant,
    /// Processor time, decoding and encoding included.
    pub cpu: Duration,
}

/// All in nanoseconds; written by the thread that has the call.
#[derive(Debug)]
pub(crate) struct Timing {
    since: Instant,
    /// After `since`; 0 if it has not begun.
    began: AtomicU64,
    seen: AtomicU64,
    /// Processor time of the slices before this one, and with it.
    before: AtomicU64,
    cpu: AtomicU64,
    /// The thread's processor time when this slice began.
    slice: AtomicU64,
}

impl Timing {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            since: Instant::now(),
            began: zero(),
            seen: zero(),
            before: zero(),
            cpu: zero(),
            slice: zero(),
        }
    }

    /// None if it has not begun.
    pub(crate) fn run(&self) -> Option<Run> {
        let at = |time: &AtomicU64| Duration::from_nanos(time.load(Ordering::Relaxed));
        let began = Some(at(&self.began)).filter(|began| !began.is_zero())?;
        let ended = at(&self.seen).max(began);
        Some(Run { began: self.since + began, ended: self.since + ended, cpu: at(&self.cpu) })
    }

    fn begin_slice(&self) {
        self.slice.store(nanos(thread_time()), Ordering::Relaxed);
        if self.began.load(Ordering::Relaxed) == 0 {
            self.began.store(nanos(self.since.elapsed()).max(1), Ordering::Relaxed);
        }
    }

    /// Looks at the call from within its slice.
    pub(crate) fn look(&self) {
        let slice = nanos(thread_time()).saturating_sub(self.slice.load(Ordering::Relaxed));
        let cpu = self.before.load(Ordering::Relaxed).saturating_add(slice);
        self.cpu.store(cpu, Ordering::Relaxed);
        self.seen.store(nanos(self.since.elapsed()), Ordering::Relaxed);
    }

    fn end_slice(&self) {
        self.look();
        self.before.store(self.cpu.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A call's work, with its slices measured where its meter asks for that.
pub(crate) fn timed(work: Work, meter: &Arc<Meter>) -> Work {
    match &meter.timing {
        Some(_) => Box::pin(Timed { work, meter: Arc::clone(meter) }),
        None => work,
    }
}

struct Timed {
    work: Work,
    meter: Arc<Meter>,
}

impl Future for Timed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { work, meter } = &mut *self;
        let Some(timing) = &meter.timing else { return work.as_mut().poll(context) };
        timing.begin_slice();
        let polled = work.as_mut().poll(context);
        timing.end_slice();
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_add_up_and_what_lies_between_does_not() {
        let timing = Timing::new();
        assert_eq!(timing.run(), None);
        for _ in 0..2 {
            timing.begin_slice();
            let since = thread_time();
            while thread_time() - since < Duration::from_millis(2) {}
            timing.look();
            timing.end_slice();
            let between = thread_time();
            while thread_time() - between < Duration::from_millis(20) {}
        }
        let run = timing.run().unwrap();
        assert!(run.began < run.ended);
        assert!(Duration::from_millis(4) <= run.cpu, "{run:?}");
        assert!(run.cpu < Duration::from_millis(20), "{run:?}");
    }
}
