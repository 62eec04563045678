//! The run queue: the account that has used the least processor time goes first.
//!
//! An account is in the heap while it has tasks queued, once. Its place there may be out of date,
//! since time is charged while it waits; that is found out when it comes up. An account that comes
//! back after a pause starts level with the ones that are running: nobody saves time up.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::Task;

/// The processor time of one module.
#[derive(Default)]
pub(crate) struct Account {
    /// Nanoseconds in all.
    total: AtomicU64,
    /// Nanoseconds as the queue counts them; set forward when the account comes back.
    virtual_time: AtomicU64,
    /// Locked only by who holds the queue's lock.
    lane: Mutex<Lane>,
}

/// The queued tasks of an account, first come, first served.
#[derive(Default)]
struct Lane {
    tasks: VecDeque<Arc<Task>>,
    listed: bool,
}

#[derive(Default)]
pub(super) struct RunQueue {
    accounts: BinaryHeap<Reverse<Entry>>,
    /// The virtual time of the account that ran last.
    now: u64,
    /// Breaks ties: first listed, first served.
    listings: u64,
    /// Threads that sleep and that nobody has undertaken to wake.
    sleepers: usize,
}

struct Entry {
    virtual_time: u64,
    listing: u64,
    account: Arc<Account>,
}

impl Account {
    pub(super) fn charge(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.total.fetch_add(nanos, Ordering::Relaxed);
        self.virtual_time.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Thread time charged so far.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.total.load(Ordering::Relaxed))
    }
}

impl RunQueue {
    pub(super) fn push(&mut self, task: Arc<Task>) {
        let account = Arc::clone(task.account());
        let mut lane = account.lane.lock();
        lane.tasks.push_back(task);
        if lane.listed {
            return;
        }
        lane.listed = true;
        drop(lane);
        account.virtual_time.fetch_max(self.now, Ordering::Relaxed);
        self.list(account);
    }

    pub(super) fn pop(&mut self) -> Option<Arc<Task>> {
        loop {
            let Reverse(entry) = self.accounts.pop()?;
            let current = entry.account.virtual_time.load(Ordering::Relaxed);
            if entry.virtual_time < current {
                self.list(entry.account);
                continue;
            }
            self.now = self.now.max(current);
            let mut lane = entry.account.lane.lock();
            let task = lane.tasks.pop_front();
            lane.listed = !lane.tasks.is_empty();
            let more = lane.listed;
            drop(lane);
            if more {
                self.list(entry.account);
            }
            if task.is_some() {
                return task;
            }
        }
    }

    pub(super) fn sleep(&mut self) {
        self.sleepers += 1;
    }

    /// Whether a sleeping thread must be woken, which the caller then does.
    pub(super) fn claim_sleeper(&mut self) -> bool {
        let claimed = 0 < self.sleepers;
        self.sleepers -= usize::from(claimed);
        claimed
    }

    fn list(&mut self, account: Arc<Account>) {
        self.listings += 1;
        self.accounts.push(Reverse(Entry {
            virtual_time: account.virtual_time.load(Ordering::Relaxed),
            listing: self.listings,
            account,
        }));
    }
}

impl Entry {
    fn key(&self) -> (u64, u64) {
        (self.virtual_time, self.listing)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
