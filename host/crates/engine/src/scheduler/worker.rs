//! A guest thread: takes the next task, runs one slice of it, charges what that took, and ends if
//! another thread took its seat meanwhile.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread::Builder,
    time::Duration,
};

use parking_lot::MutexGuard;

use super::{
    RunQueue, Shared, Sleepers, Task,
    clock::{Slice, thread_time},
    queue::Pick,
};

/// Starts a guest thread with a seat of its own. Call it from a thread that has not stepped back.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let running = Arc::clone(shared);
    let thread = Builder::new().name("roadstead-wasm".to_owned()).spawn(move || {
        step_back(running.nice);
        wasmtime::Engine::tls_eager_initialize();
        let _entered = running.handle.enter();
        running.run();
    })?;
    shared.started(thread);
    Ok(())
}

/// Raises the nice value of this thread alone (Linux keeps one for each thread).
fn step_back(nice: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::warn!(%error, nice, "guest threads keep the priority of the others");
    }
}

impl Shared {
    /// Runs one slice after another until the scheduler closes or the seat is lost.
    fn run(&self) {
        let seat = self.seats.take();
        let mut before = thread_time();
        while let Some((pick, slept)) = self.next() {
            if slept {
                before = thread_time();
            }
            seat.begin_slice(self.now());
            self.ticker.begin_slice();
            let slice = Slice::begin();
            pick.task.run();
            self.ticker.end_slice();
            let keeps = seat.end_slice();
            let after = thread_time();
            let took = slice.end(after.saturating_sub(before));
            self.charge(&pick.account, pick.claim, took);
            before = after;
            if !keeps {
                return;
            }
        }
    }

    /// The next task, and whether the thread slept for it; none when the scheduler closes.
    fn next(&self) -> Option<(Pick<Arc<Task>>, bool)> {
        let mut slept = false;
        let mut queue = self.queue.lock();
        loop {
            if let Some(pick) = queue.pop(self.now()) {
                self.queued.fetch_sub(1, Ordering::Relaxed);
                if self.unwatched(queue.next_due()).is_some() {
                    self.wake_one(queue);
                }
                return Some((pick, slept));
            }
            if self.closing() {
                return None;
            }
            self.sleep(&mut queue);
            slept = true;
        }
    }

    /// Sleeps until there is work, or until the next module may go on, unless another thread sees
    /// to that.
    fn sleep(&self, queue: &mut MutexGuard<'_, RunQueue<Arc<Task>>>) {
        let Sleepers { count, watch } = &self.sleepers;
        count.fetch_add(1, Ordering::Relaxed);
        let Some(due) = self.unwatched(queue.next_due()) else {
            self.work.wait(queue);
            return;
        };
        watch.store(due, Ordering::Relaxed);
        let until = self.began + Duration::from_nanos(due);
        if self.work.wait_until(queue, until).timed_out() {
            // Nobody woke this thread; whoever undertook to finds it awake.
            self.sleepers.claim();
        }
        if watch.load(Ordering::Relaxed) == due {
            watch.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// When the next module may go on, if no sleeping thread wakes by then.
    fn unwatched(&self, due: Option<u64>) -> Option<u64> {
        due.filter(|due| *due < self.sleepers.watch.load(Ordering::Relaxed))
    }
}
