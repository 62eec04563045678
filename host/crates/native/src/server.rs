//! One attempt: what is seen of a server, and the way to it.
//!
//! Calls that run one at a time have turns. A call that nobody waits for any more, or that failed,
//! keeps its turn while the server says that more calls run there than the host knows of, for as long
//! as calls have to finish when the server ends.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use roadstead_native_plan::{Attempt, Contract, End, Ended, Moment};
use roadstead_proto::v1::{GetProgressRequest, GetProgressResponse};
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use crate::{
    link::{Link, Unanswered},
    process::Process,
    sign::CallKey,
    version::Version,
};

/// How often a server is asked whether a call that was given up has ended there.
const SETTLING: Duration = Duration::from_millis(50);
/// Bytes of its answer.
const ANSWER: usize = 64 << 10;

/// A server, from its start to its end.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) version: Arc<Version>,
    pub(crate) key: CallKey,
    seen: Mutex<Attempt>,
    link: Mutex<Option<Link>>,
    process: Mutex<Option<Arc<Process>>>,
    /// How it will have ended, where that is decided.
    verdict: Mutex<Option<End>>,
    /// Calls that run on it, or wait for their turn.
    running: AtomicU64,
    /// Of those, the ones that wait.
    waiting: AtomicU64,
    quiet: Notify,
    turn: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn new(version: Arc<Version>, key: CallKey, seen: Attempt) -> Self {
        Self {
            version,
            key,
            seen: Mutex::new(seen),
            link: Mutex::default(),
            process: Mutex::default(),
            verdict: Mutex::default(),
            running: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            quiet: Notify::new(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    pub(crate) fn seen(&self) -> Attempt {
        self.seen.lock().clone()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.seen.lock().epoch
    }

    /// Whether it may be given calls.
    pub(crate) fn answers(&self) -> bool {
        self.seen.lock().answers()
    }

    /// Changes what is seen of it; whether it may be given calls before and after.
    pub(crate) fn see(&self, change: impl FnOnce(&mut Attempt)) -> (bool, bool) {
        let mut seen = self.seen.lock();
        let before = seen.answers();
        change(&mut seen);
        self.tidy(&mut seen);
        (before, seen.answers())
    }

    /// What comes of the server's own words is passed on as any of them.
    fn tidy(&self, seen: &mut Attempt) {
        if let Some(trouble) = &mut seen.trouble {
            *trouble = self.version.log.said(trouble);
        }
        if let Contract::Broken(how) = &mut seen.contract {
            *how = self.version.log.said(how);
        }
    }

    pub(crate) fn connect(&self, link: Link) {
        *self.link.lock() = Some(link);
    }

    pub(crate) fn link(&self) -> Option<Link> {
        self.link.lock().clone().filter(|link| !link.is_closed())
    }

    pub(crate) fn run(&self, process: Arc<Process>) {
        *self.process.lock() = Some(process);
    }

    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        self.process.lock().clone()
    }

    /// It could not be started.
    pub(crate) fn failed(&self, why: String, at: Moment) {
        self.seen.lock().ended = Some(Ended { at, how: End::Failed(why) });
    }

    /// It is no more.
    pub(crate) fn ended(&self, why: String, at: Moment) -> End {
        *self.link.lock() = None;
        *self.process.lock() = None;
        let mut seen = self.seen.lock();
        let verdict = self.verdict.lock().take();
        let how = verdict.unwrap_or_else(|| {
            if seen.draining.is_some() { End::Drained } else { End::Failed(why) }
        });
        seen.serving = false;
        seen.ended = Some(Ended { at, how: how.clone() });
        how
    }

    /// Ends it now, and remembers why.
    pub(crate) fn kill(&self, verdict: End) {
        self.verdict.lock().get_or_insert(verdict);
        if let Some(process) = self.process() {
            process.kill(None);
        }
    }

    /// Asks it to end, as soon as nothing runs on it or half of its grace has passed.
    pub(crate) async fn drain(self: Arc<Self>) {
        let grace = self.version.native.grace.duration();
        timeout(grace / 2, self.is_quiet()).await.ok();
        if let Some(process) = self.process() {
            process.terminate();
        }
    }

    async fn is_quiet(&self) {
        loop {
            let quiet = self.quiet.notified();
            if self.running() == 0 {
                return;
            }
            quiet.await;
        }
    }

    pub(crate) fn running(&self) -> u64 {
        self.running.load(Ordering::Acquire)
    }

    /// Counts a call until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        Running { server: Arc::clone(self), turn: None, answered: false }
    }

    /// Waits until the server runs no more calls than the host knows of, where it says so.
    async fn settles(&self) {
        let path = "/roadstead.v1.NativeService/GetProgress";
        while let Some(link) = self.link() {
            let question = GetProgressRequest {};
            let asked =
                link.ask::<_, GetProgressResponse>(path, &question, self.patience(), ANSWER);
            match asked.await {
                Ok(progress) if progress.calls <= self.sent() => return,
                Ok(_) | Err(Unanswered::Late) => sleep(SETTLING).await,
                Err(_) => return,
            }
        }
    }

    /// Calls that run on it, as far as the host knows.
    fn sent(&self) -> u64 {
        self.running().saturating_sub(self.waiting.load(Ordering::Acquire))
    }

    /// How long one probe may take.
    pub(crate) fn patience(&self) -> Duration {
        self.version.native.probes.period.duration()
    }
}

/// A call on a server.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) server: Arc<Server>,
    turn: Option<OwnedSemaphorePermit>,
    answered: bool,
}

/// Counts a call as waiting for as long as it lives.
struct Waits<'a>(&'a Server);

impl Running {
    /// Waits for its turn among the calls that run one at a time.
    pub(crate) async fn turn(&mut self) -> io::Result<()> {
        let waits = Waits::new(&self.server);
        let turn = Arc::clone(&self.server.turn).acquire_owned().await;
        drop(waits);
        self.turn = Some(turn.map_err(io::Error::other)?);
        Ok(())
    }

    /// The server has ended the call by itself, and well.
    pub(crate) fn answered(&mut self) {
        self.answered = true;
    }

    /// Gives the turn back, once the call has surely ended.
    fn give_turn(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.answered {
            let server = Arc::clone(&self.server);
            runtime.spawn(async move {
                let grace = server.version.native.grace.duration();
                timeout(grace, server.settles()).await.ok();
                drop(turn);
            });
        }
    }
}

impl<'a> Waits<'a> {
    fn new(server: &'a Server) -> Self {
        server.waiting.fetch_add(1, Ordering::AcqRel);
        Self(server)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.server.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.server.quiet.notify_waiters();
        }
        self.give_turn();
    }
}
