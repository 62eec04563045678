//! The thread that starts every server: the kernel ends a server with the *thread* that started it,
//! and those of a runtime come and go.

use std::{io, sync::mpsc, thread};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

struct Job {
    command: Command,
    runtime: Handle,
    done: oneshot::Sender<io::Result<Child>>,
}

/// Starts processes from one thread, which lives as long as this.
#[derive(Debug)]
pub(crate) struct Spawner(mpsc::Sender<Job>);

impl Spawner {
    pub(crate) fn new() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new().name("native servers".to_owned()).spawn(move || {
            for Job { mut command, runtime, done } in queue {
                let _runtime = runtime.enter();
                // Where nobody waits any more, the child is dropped, and ends.
                drop(done.send(command.spawn()));
            }
        })?;
        Ok(Self(jobs))
    }

    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts servers is gone");
        let (done, child) = oneshot::channel();
        let job = Job { command, runtime: Handle::current(), done };
        self.0.send(job).map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }
}
