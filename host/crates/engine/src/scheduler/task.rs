//! One task: a future, where it stands, and who still wants it.

use std::{
    collections::HashMap,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use parking_lot::Mutex;

use super::{Account, Shared};

pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

// Where a task stands. Only a thread that runs it leaves RUNNING or NOTIFIED.
/// Waits for its waker.
const PARKED: u8 = 0;
/// In the run queue.
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// Running, and woken meanwhile: goes back into the queue.
const NOTIFIED: u8 = 3;
const DONE: u8 = 4;

/// Why a task ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The engine shuts down.
    Closed,
    /// The deadline passed.
    Expired,
    /// Nothing else ends a task that somebody waits for. What it said is in the log.
    Panicked,
}

pub(crate) struct Task {
    shared: Arc<Shared>,
    account: Arc<Account>,
    deadline: Instant,
    state: AtomicU8,
    abandoned: AtomicBool,
    /// Whether it stands in the list of parked tasks.
    listed: AtomicBool,
    work: Mutex<Option<Work>>,
}

/// The caller's end of a task: dropping it drops the task at its next tick, or at once if it waits
/// for its turn.
pub(crate) struct TaskHandle(Arc<Task>);

/// Tasks that wait for something else than a thread, so that closing finds them.
#[derive(Default)]
pub(super) struct Parked(HashMap<usize, Arc<Task>>);

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        account: Arc<Account>,
        deadline: Instant,
        work: Work,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared,
            account,
            deadline,
            state: AtomicU8::new(QUEUED),
            abandoned: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            work: Mutex::new(Some(work)),
        })
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Runs one slice. The task is not in the queue and nobody else runs it.
    pub(super) fn run(self: Arc<Self>) {
        if self.listed.swap(false, Ordering::Relaxed) {
            self.shared.parked.lock().remove(&self);
        }
        self.state.store(RUNNING, Ordering::Release);
        let mut work = self.work.lock();
        let Some(future) = work.as_mut() else { return };
        if self.unwanted() {
            return self.end(work.take());
        }
        let waker = Waker::from(Arc::clone(&self));
        let mut context = Context::from_waker(&waker);
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Pending) => {
                drop(work);
                self.park_or_queue();
            }
            Ok(Poll::Ready(())) => self.end(work.take()),
            Err(panic) => {
                report(panic.as_ref());
                self.end(work.take());
            }
        }
    }

    /// RUNNING => PARKED, or NOTIFIED => QUEUED.
    fn park_or_queue(self: Arc<Self>) {
        if self.state.load(Ordering::Acquire) == RUNNING {
            self.listed.store(true, Ordering::Relaxed);
            self.shared.parked.lock().add(&self);
            let parked =
                self.state.compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Acquire);
            if parked.is_ok() {
                // Closing may have looked through the list just before.
                if self.shared.closing() {
                    self.wake_up();
                }
                return;
            }
        }
        self.state.store(QUEUED, Ordering::Release);
        let shared = Arc::clone(&self.shared);
        shared.push(self);
    }

    /// PARKED => QUEUED, RUNNING => NOTIFIED; otherwise it is on its way already.
    pub(super) fn wake_up(self: &Arc<Self>) {
        let step = |state| match state {
            PARKED => Some(QUEUED),
            RUNNING => Some(NOTIFIED),
            _ => None,
        };
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        if before == Ok(PARKED) {
            self.shared.push(Arc::clone(self));
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    fn unwanted(&self) -> bool {
        self.abandoned() || self.shared.closing() || self.deadline <= Instant::now()
    }

    fn end(&self, work: Option<Work>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(work))) {
            report(panic.as_ref());
        }
        self.state.store(DONE, Ordering::Release);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_up();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_up();
    }
}

impl TaskHandle {
    pub(super) fn new(task: Arc<Task>) -> Self {
        Self(task)
    }

    /// Whether nothing of the task is left.
    pub(crate) fn done(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == DONE
    }

    /// Why the task went away without its answer.
    pub(crate) fn ended(&self) -> Ended {
        if self.0.shared.closing() {
            Ended::Closed
        } else if self.0.deadline <= Instant::now() {
            Ended::Expired
        } else {
            Ended::Panicked
        }
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        if self.0.state.load(Ordering::Acquire) != DONE {
            self.0.abandoned.store(true, Ordering::Release);
            self.0.wake_up();
            if self.0.state.load(Ordering::Acquire) == QUEUED {
                self.0.shared.withdraw(&self.0);
            }
        }
    }
}

impl Parked {
    pub(super) fn all(&self) -> Vec<Arc<Task>> {
        self.0.values().cloned().collect()
    }

    fn add(&mut self, task: &Arc<Task>) {
        self.0.insert(Arc::as_ptr(task).addr(), Arc::clone(task));
    }

    fn remove(&mut self, task: &Arc<Task>) {
        self.0.remove(&Arc::as_ptr(task).addr());
    }
}

fn report(panic: &(dyn std::any::Any + Send)) {
    crate::panics::count_panic();
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    tracing::error!(panic = text, "a call panicked in the host");
}
