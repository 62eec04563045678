//! The seats of the guest threads, and who takes over from a thread that does not come back.
//!
//! A tick ends a slice only where wasm looks for it: a bulk instruction over a large memory, or a
//! host call that takes long, holds its thread until it is done. When a slice overstays, another
//! thread takes the seat, so that as many guests go on as before, and the one that overstays steps
//! back once more: what is left of its slice gets a third of a seat's time where cores are short. It
//! ends with its slice. So many may overstay at once and no more: then the others wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::{process::setpriority_process, thread::Pid};

/// A slice that lasts longer overstays. Five ticks: a thread that merely waited for a core is back
/// sooner, as a rule; one that is taken for an overstayer costs a new thread and nothing else.
const OVERSTAY: Duration = Duration::from_millis(5);

/// How far a thread that overstays steps back: each nice value is worth a quarter of the time, and a
/// long conversion of a module that means well must come to its end too.
const STEP: i32 = 5;

/// The largest nice value.
const LAST: i32 = 19;

/// Nobody has begun a slice.
const IDLE: u64 = 0;

/// The place of one guest thread.
#[derive(Debug)]
pub(super) struct Seat {
    thread: Pid,
    /// When its slice began, in nanoseconds on the scheduler's clock.
    began: AtomicU64,
    lost: AtomicBool,
    overstaying: Arc<AtomicUsize>,
}

/// All seats that are taken.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<Vec<Arc<Seat>>>,
    overstaying: Arc<AtomicUsize>,
    /// How many threads may overstay at once.
    most: usize,
    /// The nice value of those that do.
    nice: i32,
}

impl Seats {
    /// `most` threads may overstay at once; those with a seat have the value `nice`.
    pub(super) fn new(most: usize, nice: i32) -> Self {
        Self { most, nice: (nice + STEP).min(LAST), ..Self::default() }
    }

    /// Seats the thread that calls this.
    pub(super) fn take(&self) -> Arc<Seat> {
        let seat = Arc::new(Seat {
            thread: rustix::thread::gettid(),
            began: AtomicU64::new(IDLE),
            lost: AtomicBool::new(false),
            overstaying: Arc::clone(&self.overstaying),
        });
        self.taken.lock().push(Arc::clone(&seat));
        seat
    }

    /// How many seats were lost since the last look; a thread has to be started for each.
    pub(super) fn look(&self, now: u64) -> usize {
        let mut taken = self.taken.lock();
        let before = taken.len();
        taken.retain(|seat| {
            let keeps = !seat.overstays(now) || self.most <= self.overstaying();
            if !keeps {
                seat.lose(self.nice);
            }
            keeps
        });
        before - taken.len()
    }

    /// Threads that run on without a seat.
    pub(super) fn overstaying(&self) -> usize {
        self.overstaying.load(Ordering::Relaxed)
    }
}

impl Seat {
    pub(super) fn begin_slice(&self, now: u64) {
        self.began.store(now.max(IDLE + 1), Ordering::Relaxed);
    }

    /// Whether the thread still has its seat.
    pub(super) fn end_slice(&self) -> bool {
        self.began.store(IDLE, Ordering::Relaxed);
        !self.lost.load(Ordering::Acquire)
    }

    fn overstays(&self, now: u64) -> bool {
        let began = self.began.load(Ordering::Relaxed);
        began != IDLE && OVERSTAY < Duration::from_nanos(now.saturating_sub(began))
    }

    fn lose(&self, nice: i32) {
        self.overstaying.fetch_add(1, Ordering::Relaxed);
        self.lost.store(true, Ordering::Release);
        if let Err(error) = setpriority_process(Some(self.thread), nice) {
            tracing::debug!(%error, "let a guest thread that overstays step back");
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.lost.load(Ordering::Acquire) {
            self.overstaying.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: u64 = 6_000_000;

    #[test]
    fn a_slice_that_overstays_loses_its_seat_and_so_many_do_at_once() {
        let seats = Seats::new(1, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (first, second) = (seats.take(), seats.take());
                assert_eq!(seats.look(LONG), 0, "nobody runs");
                first.begin_slice(1);
                second.begin_slice(1);
                assert_eq!(seats.look(2), 0, "not for long");
                assert_eq!((seats.look(LONG + 2), seats.overstaying()), (1, 1));
                assert_eq!(seats.look(LONG + 2), 0, "one at once");
                assert!(!first.end_slice());
                drop(first);
                assert_eq!((seats.look(LONG + 2), seats.overstaying()), (1, 1));
                assert!(!second.end_slice());
                drop(second);
                assert_eq!(seats.overstaying(), 0);
            });
        });
    }

    #[test]
    fn a_slice_that_ends_in_time_keeps_its_seat() {
        let seats = Seats::new(1, 0);
        let seat = seats.take();
        for start in [1, LONG, 2 * LONG] {
            seat.begin_slice(start);
            assert!(seat.end_slice());
            assert_eq!(seats.look(start + LONG), 0);
        }
    }
}
