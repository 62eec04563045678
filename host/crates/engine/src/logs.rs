//! The latest output of every module: bounded per module and in total, for everybody who asks.
//!
//! A line costs the guest's thread one lock of its module's ring. Readers never hold writers up:
//! who follows a module and is slow is told how many lines were missed. Guest text is made
//! readable before it is kept (see [`LogLine`]), so that no reader has to think of it.

mod line;
mod rate;
mod ring;
mod server;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use futures::Stream;
use parking_lot::{Mutex, RwLock};
use roadstead_domain::{ByteRate, ByteSize, CallId, ModuleId, ModuleName, Namespace, Version};
use tokio::sync::Notify;

use ring::Ring;

pub use line::{LogLine, Source};
pub use server::{ServerLog, ServerOutput};
pub(crate) use writer::{GuestLog, VersionLog};

/// The most that the lines of one module cost.
const PER_MODULE: usize = 1 << 20;

/// Lines that a follower takes out at once.
const BATCH: usize = 256;

/// The latest output of every module.
#[derive(Debug, Clone)]
pub struct LogStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    modules: RwLock<HashMap<(Namespace, ModuleName), Arc<ModuleLog>>>,
    /// What the lines of all modules may cost, and what they do cost.
    most: usize,
    used: AtomicUsize,
}

/// The log of one module, of all its versions.
#[derive(Debug)]
pub(crate) struct ModuleLog {
    ring: Mutex<Ring>,
    written: Notify,
    /// Counts how often the module was deleted.
    life: AtomicU64,
    store: Weak<Shared>,
}

/// What a follower gets next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    Line(Arc<LogLine>),
    /// So many lines came and went before this reader took them.
    Missed(u64),
}

/// Reads a module's log as it is written.
#[derive(Debug)]
pub struct LogFollower {
    log: Arc<ModuleLog>,
    life: u64,
    next: u64,
    taken: std::collections::VecDeque<Arc<LogLine>>,
}

impl LogStore {
    pub(crate) fn new(budget: ByteSize) -> Self {
        Self(Arc::new(Shared {
            modules: RwLock::default(),
            most: budget.as_usize(),
            used: AtomicUsize::new(0),
        }))
    }

    /// The log of a module; made if it is not there.
    pub(crate) fn module(&self, namespace: &Namespace, name: &ModuleName) -> Arc<ModuleLog> {
        let key = (namespace.clone(), name.clone());
        if let Some(log) = self.0.modules.read().get(&key) {
            return Arc::clone(log);
        }
        let mut modules = self.0.modules.write();
        // Whoever may name modules may name ever new ones.
        modules.retain(|_, log| Arc::strong_count(log) > 1 || log.ring.lock().cost() > 0);
        Arc::clone(modules.entry(key).or_insert_with(|| {
            Arc::new(ModuleLog {
                ring: Mutex::default(),
                written: Notify::new(),
                life: AtomicU64::new(0),
                store: Arc::downgrade(&self.0),
            })
        }))
    }

    /// Where a version of a module writes, at this rate.
    pub(crate) fn version(&self, id: &ModuleId, rate: ByteRate) -> VersionLog {
        VersionLog::new(self.module(&id.namespace, &id.name), id.version.clone(), rate)
    }

    /// The last `count` lines of a module, the oldest first.
    pub fn tail(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        count: usize,
    ) -> Vec<Arc<LogLine>> {
        let key = (namespace.clone(), name.clone());
        let log = self.0.modules.read().get(&key).cloned();
        log.map_or_else(Vec::new, |log| log.ring.lock().tail(count))
    }

    /// The last `count` lines of a module, and then every line as it is written.
    pub fn follow(&self, namespace: &Namespace, name: &ModuleName, count: usize) -> LogFollower {
        let log = self.module(namespace, name);
        let (taken, next) = {
            let ring = log.ring.lock();
            (ring.tail(count).into(), ring.next())
        };
        let life = log.life.load(Ordering::Acquire);
        LogFollower { log, life, next, taken }
    }

    /// Drops a deleted module's lines; who follows it comes to the end.
    pub fn forget(&self, namespace: &Namespace, name: &ModuleName) {
        let log = self.0.modules.read().get(&(namespace.clone(), name.clone())).cloned();
        if let Some(log) = log {
            log.close(&self.0);
        }
    }
}

impl Shared {
    fn account(&self, before: usize, after: usize) {
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Keeps the total within its bound, at the expense of the module that has the most.
    fn balance(&self) {
        while self.used.load(Ordering::Relaxed) > self.most {
            let modules = self.modules.read();
            let largest = modules
                .values()
                .map(|log| (log.ring.lock().cost(), log))
                .max_by_key(|(cost, _)| *cost);
            match largest {
                Some((cost, log)) if cost > 0 => log.shrink(self, cost / 2),
                _ => return,
            }
        }
    }
}

impl ModuleLog {
    fn push(&self, version: &Version, call: CallId, source: Source, text: String) {
        let Some(store) = self.store.upgrade() else { return };
        {
            let mut ring = self.ring.lock();
            let before = ring.cost();
            let line = LogLine {
                sequence: ring.next(),
                time: SystemTime::now(),
                version: version.clone(),
                call,
                source,
                text,
            };
            ring.push(line, PER_MODULE);
            store.account(before, ring.cost());
        }
        store.balance();
        self.written.notify_waiters();
    }

    fn shrink(&self, store: &Shared, most: usize) {
        let mut ring = self.ring.lock();
        let before = ring.cost();
        ring.shrink(most);
        store.account(before, ring.cost());
    }

    /// Drops all lines and ends who follows. A version that is published under the name later may
    /// hold this log already, so it stays of use.
    fn close(&self, store: &Shared) {
        self.life.fetch_add(1, Ordering::AcqRel);
        self.shrink(store, 0);
        self.written.notify_waiters();
    }
}

impl LogFollower {
    /// Takes the lines that were kept when following began, unless they were taken already.
    pub fn kept(&mut self) -> Vec<Arc<LogLine>> {
        std::mem::take(&mut self.taken).into()
    }

    /// The next line, or how many were missed; waits for one to be written. None if the module is
    /// gone. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<LogEvent> {
        loop {
            if let Some(line) = self.taken.pop_front() {
                return Some(LogEvent::Line(line));
            }
            let log = Arc::clone(&self.log);
            let written = log.written.notified();
            tokio::pin!(written);
            // Registered before looking, so that no line falls between looking and waiting.
            written.as_mut().enable();
            if let Some(missed) = self.refill() {
                return Some(LogEvent::Missed(missed));
            }
            if !self.taken.is_empty() {
                continue;
            }
            if log.life.load(Ordering::Acquire) != self.life {
                return None;
            }
            written.await;
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = LogEvent> + Send {
        futures::stream::unfold(self, |mut follower| async move {
            follower.next().await.map(|event| (event, follower))
        })
    }

    /// Takes the next lines; says how many are no longer there.
    fn refill(&mut self) -> Option<u64> {
        let ring = self.log.ring.lock();
        let lines = ring.since(self.next, BATCH);
        let first = lines.first().map_or(ring.next(), |line| line.sequence);
        let missed = first.saturating_sub(self.next);
        self.next = lines.last().map_or(ring.next(), |line| line.sequence.saturating_add(1));
        self.taken = lines.into();
        (missed > 0).then_some(missed)
    }
}
