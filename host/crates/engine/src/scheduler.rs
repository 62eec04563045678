//! Runs guests on threads of their own, and no faster than is fair.
//!
//! - Each guest thread runs one guest at a time, for one tick (1 ms) at the most: at the tick the
//!   guest yields, its module is charged the thread time it took, and the module that has had the
//!   least goes next.
//! - A call that its caller gave up or whose deadline passed is dropped at the next tick.
//! - Guest threads step back (a raised nice value), so that the threads which answer callers get a
//!   core at once while every guest spins. Timers and sockets of guests are driven by a thread of
//!   their own.
//! - A panic in a slice ends that task and nothing else.
//!
//! A tick cannot cut a bulk instruction or a host call short: the memory limit and the copy limit
//! bound those. While no guest runs, nothing here uses the processor.

mod clock;
mod queue;
mod task;
#[cfg(test)]
mod tests;
mod ticker;
mod worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{EngineConfig, EngineError};
use queue::RunQueue;
use task::Task;
use ticker::Ticker;

pub(crate) use queue::Account;
pub(crate) use task::{Ended, TaskHandle, Work};

/// Threads that may wait for files and loading at once.
const BLOCKING_THREADS: usize = 32;

/// How long the end waits for slices that are under way, and then for file operations and loads.
const PATIENCE: Duration = Duration::from_secs(2);

/// The guests' threads. Dropping it ends them.
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    runtime: Mutex<Option<Runtime>>,
    handle: Handle,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

/// What guest threads, tasks and callers share.
struct Shared {
    queue: Mutex<RunQueue>,
    work: Condvar,
    /// Tasks in the queue, to be looked at without its lock.
    queued: AtomicUsize,
    closing: AtomicBool,
    ticker: Arc<Ticker>,
    /// Tasks that wait for something other than a thread.
    parked: Mutex<task::Parked>,
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
        let (ticker, ticking) = Ticker::start(engine.weak()).map_err(EngineError::Thread)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            queued: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            ticker,
            parked: Mutex::default(),
        });
        let handle = runtime.handle().clone();
        let threads = Mutex::new(vec![ticking]);
        let scheduler = Self { shared, runtime: Mutex::new(Some(runtime)), handle, threads };
        for index in 0..config.guest_threads {
            let thread = worker::start(
                index,
                Arc::clone(&scheduler.shared),
                scheduler.handle().clone(),
                config.nice,
            )
            .map_err(EngineError::Thread)?;
            scheduler.threads.lock().push(thread);
        }
        Ok(scheduler)
    }

    /// The runtime behind guests' timers, sockets and files, and for what must not block a caller.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
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
        self.shared.push(Arc::clone(&task));
        if self.shared.closing() {
            self.shared.drain();
        }
        TaskHandle::new(task)
    }

    /// Runs the first slice of a task here and now, and queues what is left of it. With it comes
    /// the thread time that took; none where guest threads have a backlog: then the task waits for
    /// its turn like the others.
    pub(crate) fn start_here(
        &self,
        account: &Arc<Account>,
        deadline: Instant,
        work: Work,
    ) -> (TaskHandle, Option<Duration>) {
        if self.shared.backlog() {
            return (self.spawn(account, deadline, work), None);
        }
        let task = Task::new(Arc::clone(&self.shared), Arc::clone(account), deadline, work);
        let before = clock::thread_time();
        {
            let _entered = self.handle.enter();
            self.shared.ticker.begin_slice();
            Arc::clone(&task).run();
            self.shared.ticker.end_slice();
        }
        let took = clock::thread_time().saturating_sub(before);
        account.charge(took);
        (TaskHandle::new(task), Some(took))
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
        let threads = std::mem::take(&mut *self.threads.lock());
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
    /// Whether tasks wait for a guest thread.
    fn backlog(&self) -> bool {
        0 < self.queued.load(Ordering::Relaxed)
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Queues a task and wakes a thread if one sleeps.
    fn push(&self, task: Arc<Task>) {
        let mut queue = self.queue.lock();
        queue.push(task);
        self.queued.fetch_add(1, Ordering::Relaxed);
        let wake = queue.claim_sleeper();
        drop(queue);
        if wake {
            self.work.notify_one();
        }
    }

    /// Lets go of what is queued: the threads that would do it may have ended before it came.
    fn drain(&self) {
        loop {
            let Some(task) = self.queue.lock().pop() else { return };
            self.queued.fetch_sub(1, Ordering::Relaxed);
            task.run();
        }
    }
}
