//! A guest thread: takes the next task, runs one slice of it, charges what that took.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread::{Builder, JoinHandle},
};

use tokio::runtime::Handle;

use super::{Shared, Task, clock::thread_time};

pub(super) fn start(
    index: usize,
    shared: Arc<Shared>,
    runtime: Handle,
    nice: i32,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(format!("roadstead-wasm{index}")).spawn(move || {
        step_back(nice);
        wasmtime::Engine::tls_eager_initialize();
        let _entered = runtime.enter();
        let mut before = thread_time();
        while let Some((task, slept)) = shared.next() {
            if slept {
                before = thread_time();
            }
            let account = Arc::clone(task.account());
            shared.ticker.begin_slice();
            task.run();
            shared.ticker.end_slice();
            let after = thread_time();
            account.charge(after.saturating_sub(before));
            before = after;
        }
    })
}

/// Raises the nice value of this thread alone (Linux keeps one for each thread).
fn step_back(nice: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::warn!(%error, nice, "guest threads keep the priority of the others");
    }
}

impl Shared {
    /// The next task, and whether the thread slept for it; none when the scheduler closes.
    fn next(&self) -> Option<(Arc<Task>, bool)> {
        let mut slept = false;
        let mut queue = self.queue.lock();
        loop {
            if let Some(task) = queue.pop() {
                self.queued.fetch_sub(1, Ordering::Relaxed);
                return Some((task, slept));
            }
            if self.closing() {
                return None;
            }
            queue.sleep();
            self.work.wait(&mut queue);
            slept = true;
        }
    }
}
