//! Runs guests on threads of their own, and no faster than is fair.
//!
//! - Each guest thread runs one guest at a time, for one tick (1 ms) at the most: at the tick the
//!   guest yields, its module is charged the thread time it took, and the [`queue`] says who goes
//!   next: modules below their guarantee, then the others by weight.
//! - A module that has used up its ceiling waits in the queue until its time comes; the guest
//!   threads that sleep are the timer. A call that is given up meanwhile is dropped at once.
//! - A call that its caller gave up or whose deadline passed is dropped at the next tick.
//! - Guest threads step back (a raised nice value), so that the threads which answer callers get a
//!   core at once while every guest spins. Timers and sockets of guests are driven by a thread of
//!   their own.
//! - A panic in a slice ends that task and nothing else.
//!
//! A tick cannot cut a bulk instruction or a host call short: the memory limit and the copy limit
//! bound those, and another thread takes the seat of one that is held up ([`seat`]). Host calls that wait on threads of their own (files) are not charged. While no
//! guest runs, nothing here uses the processor.

mod account;
mod clock;
mod queue;
mod seat;
mod share;
#[cfg(test)]
mod simulation;
mod task;
#[cfg(test)]
mod tests;
mod ticker;
mod window;
mod worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{EngineConfig, EngineError};
use clock::Slice;
use queue::RunQueue;
use seat::Seats;
use task::Task;
use ticker::Ticker;

pub(crate) use account::Claim;
pub use account::CpuUsage;
pub(crate) use clock::{Stopwatch, thread_time};
pub(crate) use share::Share;
pub(crate) use task::{Ended, TaskHandle, Work};

/// The processor time of one module.
pub(crate) type Account = account::Account<Arc<Task>>;

/// Threads that may overstay at once, for each guest thread.
const OVERSTAYING: usize = 8;

/// Threads that may wait at once for files, loading and names of the network.
pub(crate) const BLOCKING_THREADS: usize = 32;

/// How long the end waits for slices that are under way, and then for file operations and loads.
const PATIENCE: Duration = Duration::from_secs(2);

/// The guests' threads. Dropping it ends them.
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    runtime: Mutex<Option<Runtime>>,
}

/// What guest threads, tasks and callers share.
struct Shared {
    queue: Mutex<RunQueue<Arc<Task>>>,
    work: Condvar,
    /// When the queue's clock began.
    began: Instant,
    sleepers: Sleepers,
    /// Tasks in the queue, to be looked at without its lock.
    queued: AtomicUsize,
    closing: AtomicBool,
    ticker: Ticker,
    /// Tasks that wait for something other than a thread.
    parked: Mutex<task::Parked>,
    seats: Seats,
    /// The threads of guests and of the tick.
    threads: Mutex<Vec<JoinHandle<()>>>,
    handle: Handle,
    nice: i32,
}

/// Guest threads without work. Changed under the queue's lock alone.
#[derive(Default)]
struct Sleepers {
    /// Those that nobody has undertaken to wake.
    count: AtomicUsize,
    /// When the first of those that set themselves a time wakes; `u64::MAX` if none did.
    watch: AtomicU64,
}

impl Scheduler {
    pub(crate) fn new(
        config: &EngineConfig,
        engine: &wasmtime::Engine,
    ) -> Result<Self, EngineError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("roadstead-io")
            .enable_all()
            .build()
            .map_err(EngineError::Thread)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            began: Instant::now(),
            sleepers: Sleepers { count: AtomicUsize::new(0), watch: AtomicU64::new(u64::MAX) },
            queued: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            ticker: Ticker::default(),
            parked: Mutex::default(),
            seats: Seats::new(config.guest_threads.saturating_mul(OVERSTAYING), config.nice),
            threads: Mutex::default(),
            handle: runtime.handle().clone(),
            nice: config.nice,
        });
        let scheduler = Self { shared, runtime: Mutex::new(Some(runtime)) };
        let shared = &scheduler.shared;
        for _ in 0..config.guest_threads {
            worker::start(shared).map_err(EngineError::Thread)?;
        }
        ticker::start(shared, engine.weak()).map_err(EngineError::Thread)?;
        Ok(scheduler)
    }

    /// The runtime behind guests' timers, sockets and files, and for what must not block a caller.
    pub(crate) fn handle(&self) -> &Handle {
        &self.shared.handle
    }

    /// Queues a task, whose CPU time is put down to `account`. It is dropped at the first tick
    /// after `deadline`, or after the handle is dropped.
    pub(crate) fn spawn(
        &self,
        account: &Arc<Account>,
        deadline: Instant,
        work: Work,
    ) -> TaskHandle {
        let task = Task::new(Arc::clone(&self.shared), Arc::clone(account), deadline, work);
        self.queue(Arc::clone(&task));
        TaskHandle::new(task)
    }

    /// Queues a task that nobody waits for; it is dropped like any other.
    pub(crate) fn spawn_detached(&self, account: &Arc<Account>, deadline: Instant, work: Work) {
        let task = Task::new(Arc::clone(&self.shared), Arc::clone(account), deadline, work);
        self.queue(task);
    }

    fn queue(&self, task: Arc<Task>) {
        self.shared.push(task);
        if self.shared.closing() {
            self.shared.drain();
        }
    }

    /// On whose part a task may start on its caller's thread: not where it would go before others
    /// whose turn comes first, nor where its module has used up its ceiling, nor late in the slice
    /// of a guest that calls.
    pub(crate) fn claim_here(&self, account: &Arc<Account>) -> Option<Claim> {
        if !Slice::may_begin() {
            return None;
        }
        let (waiting, now) = (self.shared.backlog(), self.shared.now());
        self.shared.queue.lock().claim_now(account, waiting, now)
    }

    /// Runs the first slice of a task here and now, and queues what is left of it. With it comes
    /// the thread time that took.
    pub(crate) fn start_here(
        &self,
        account: &Arc<Account>,
        claim: Claim,
        deadline: Instant,
        work: Work,
    ) -> (TaskHandle, Duration) {
        let task = Task::new(Arc::clone(&self.shared), Arc::clone(account), deadline, work);
        let (slice, glance) = (Slice::begin(), clock::Glance::begin());
        {
            let _entered = self.shared.handle.enter();
            self.shared.ticker.begin_slice();
            Arc::clone(&task).run();
            self.shared.ticker.end_slice();
        }
        let took = glance.took();
        self.shared.charge(account, claim, slice.end(took));
        (TaskHandle::new(task), took)
    }

    /// Changes what a module may have, from now on.
    pub(crate) fn set_share(&self, account: &Arc<Account>, share: Share) {
        let now = self.shared.now();
        let mut queue = self.shared.queue.lock();
        queue.set_share(account, share, now);
        self.shared.wake_one(queue);
    }

    pub(crate) fn usage(&self, account: &Account) -> CpuUsage {
        account.usage(self.shared.now())
    }

    pub(crate) fn closing(&self) -> bool {
        self.shared.closing()
    }

    /// Drops every task, and ends the threads without waiting for them.
    pub(crate) fn close(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for task in self.shared.parked.lock().all() {
            task.wake_up();
        }
        self.shared.work.notify_all();
        self.shared.drain();
        self.shared.ticker.close();
    }

    /// Waits for the threads to end, and leaves behind those that do not in a few seconds: a host
    /// function that hangs must not keep the process from ending.
    pub(crate) fn join(&self) {
        self.close();
        let threads = std::mem::take(&mut *self.shared.threads.lock());
        let (ended, all_ended) = mpsc::channel();
        let joining = std::thread::Builder::new().spawn(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a guest thread had panicked");
                }
            }
            ended.send(()).ok();
        });
        if let Err(error) = joining {
            tracing::error!(%error, "wait for the guest threads");
        } else if all_ended.recv_timeout(PATIENCE).is_err() {
            tracing::warn!("a guest thread does not end: it is left behind");
        }
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.close();
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    /// Nanoseconds on the queue's clock.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Keeps a thread's handle as long as it runs.
    fn started(&self, thread: JoinHandle<()>) {
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }

    /// Whether tasks wait for a guest thread and none is free.
    fn backlog(&self) -> bool {
        0 < self.queued.load(Ordering::Relaxed) && self.sleepers.count.load(Ordering::Relaxed) == 0
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    fn charge(&self, account: &Account, claim: Claim, took: Duration) {
        let now = self.now();
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.queue.lock().charge(account, claim, nanos, now);
    }

    /// Queues a task and wakes a thread if one sleeps.
    fn push(&self, task: Arc<Task>) {
        let now = self.now();
        let account = Arc::clone(task.account());
        let mut queue = self.queue.lock();
        if task.abandoned() {
            queue.release(account, task);
        } else {
            queue.push(&account, task, now);
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.wake_one(queue);
    }

    /// Lets a task go that nobody waits for, if it stands in the queue.
    fn withdraw(&self, task: &Arc<Task>) {
        let now = self.now();
        let same = |other: &Arc<Task>| Arc::ptr_eq(task, other);
        let mut queue = self.queue.lock();
        if queue.withdraw(task.account(), now, same) {
            self.wake_one(queue);
        }
    }

    /// Wakes a thread if one sleeps.
    fn wake_one(&self, queue: MutexGuard<'_, RunQueue<Arc<Task>>>) {
        let claimed = self.sleepers.claim();
        drop(queue);
        if claimed {
            self.work.notify_one();
        }
    }

    /// Lets go of what is queued: the threads that would do it may have ended before it came.
    fn drain(&self) {
        let all = self.queue.lock().take_all();
        self.queued.fetch_sub(all.len(), Ordering::Relaxed);
        for task in all {
            task.run();
        }
    }
}

impl Sleepers {
    /// Whether a sleeping thread must be woken, which the caller then does.
    fn claim(&self) -> bool {
        let one_less = |count: usize| count.checked_sub(1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}
