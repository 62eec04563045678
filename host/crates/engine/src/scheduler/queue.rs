//! The run queue: who gets a guest thread next. Pure, on a clock that the caller reads.
//!
//! - Modules that are below their guarantee go first, the one whose guarantee is due longest ahead
//!   of the others.
//! - What is left is shared by weight: the module that has had the least weighted time goes next.
//!   Time on a guarantee counts there too, so that a guarantee is a floor and nothing on top.
//!   A module that comes back after a pause starts level with those that run: nobody saves time up.
//! - A module that has used up its ceiling stands in the first tier only, with the instant at which
//!   it may go on: waiting costs nothing.
//! - Where the threads cannot keep what is promised, because the machine gives them less than it
//!   has or more was promised than there is, the clock of guarantees is set back: all get
//!   proportionally less, and nobody's arrears starve the others afterwards.
//!
//! A module has one entry in each tier at most. An entry's key may be out of date, never too late:
//! that is found out when it comes up.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use super::{
    account::{Account, BURST, Claim, LEAD, State},
    share::Share,
};

pub(super) struct RunQueue<T> {
    /// By the instant at which the guarantee is due.
    guaranteed: BinaryHeap<Reverse<Entry<T>>>,
    /// By virtual time.
    shared: BinaryHeap<Reverse<Entry<T>>>,
    /// Tasks that nobody waits for: they end at once.
    released: VecDeque<(Arc<Account<T>>, T)>,
    /// The virtual time of the module that ran last in the shared tier.
    level: u64,
    /// How far the clock of guarantees is behind.
    lag: u64,
    /// Breaks ties, first listed, first served, and tells entries that are out of date.
    listings: u64,
}

/// A task that is to run now.
pub(super) struct Pick<T> {
    pub(super) task: T,
    pub(super) account: Arc<Account<T>>,
    pub(super) claim: Claim,
}

struct Entry<T> {
    key: u64,
    listing: u64,
    account: Arc<Account<T>>,
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        Self {
            guaranteed: BinaryHeap::new(),
            shared: BinaryHeap::new(),
            released: VecDeque::new(),
            level: 0,
            lag: 0,
            listings: 0,
        }
    }
}

impl<T> RunQueue<T> {
    pub(super) fn push(&mut self, account: &Arc<Account<T>>, task: T, now: u64) {
        let granted = self.granted(now);
        let mut state = account.state();
        if state.tasks.is_empty() {
            state.virtual_time = state.virtual_time.max(self.level);
            state.level = self.level;
            state.forget_unused(granted);
        }
        state.tasks.push_back(task);
        state.note_throttling(now, granted);
        self.list(account, &mut state);
    }

    /// Queues a task that nobody waits for: it goes first, whatever its module may have.
    pub(super) fn release(&mut self, account: Arc<Account<T>>, task: T) {
        self.released.push_back((account, task));
    }

    /// Releases a task that waits here; false if it does not.
    pub(super) fn withdraw(
        &mut self,
        account: &Arc<Account<T>>,
        now: u64,
        is: impl Fn(&T) -> bool,
    ) -> bool {
        let mut state = account.state();
        let place = state.tasks.iter().position(is);
        let Some(task) = place.and_then(|place| state.tasks.remove(place)) else { return false };
        state.note_throttling(now, self.granted(now));
        drop(state);
        self.release(Arc::clone(account), task);
        true
    }

    pub(super) fn pop(&mut self, now: u64) -> Option<Pick<T>> {
        if let Some((account, task)) = self.released.pop_front() {
            return Some(Pick { task, account, claim: Claim::Spare });
        }
        self.pop_guaranteed(now).or_else(|| self.pop_shared(now))
    }

    fn pop_guaranteed(&mut self, now: u64) -> Option<Pick<T>> {
        loop {
            let Reverse(entry) = self.guaranteed.peek()?;
            let granted = self.granted(now);
            if granted < entry.key {
                return None;
            }
            let Reverse(entry) = self.guaranteed.pop()?;
            let account = entry.account;
            let mut state = account.state();
            if state.guaranteed_entry != Some(entry.listing) {
                continue;
            }
            state.guaranteed_entry = None;
            if entry.key < state.due {
                self.list(&account, &mut state);
                continue;
            }
            let late = granted.saturating_sub(2 * BURST).saturating_sub(entry.key);
            self.lag = self.lag.saturating_add(late);
            if let Some(task) = self.take(&account, &mut state, now) {
                drop(state);
                return Some(Pick { task, account, claim: Claim::Guaranteed });
            }
        }
    }

    fn pop_shared(&mut self, now: u64) -> Option<Pick<T>> {
        loop {
            let Reverse(entry) = self.shared.pop()?;
            let account = entry.account;
            let mut state = account.state();
            if state.shared_entry != Some(entry.listing) {
                continue;
            }
            state.shared_entry = None;
            if entry.key < state.virtual_time {
                self.list(&account, &mut state);
                continue;
            }
            if let Some(task) = self.take(&account, &mut state, now) {
                self.level = self.level.max(entry.key);
                state.level = self.level;
                drop(state);
                return Some(Pick { task, account, claim: Claim::Shared });
            }
        }
    }

    /// The module's next task; lists it again for those after it.
    fn take(&mut self, account: &Arc<Account<T>>, state: &mut State<T>, now: u64) -> Option<T> {
        let task = state.tasks.pop_front();
        state.level = self.level;
        state.note_throttling(now, self.granted(now));
        self.list(account, state);
        task
    }

    /// When the next module may go on that waits for nothing but time.
    pub(super) fn next_due(&mut self) -> Option<u64> {
        loop {
            let Reverse(entry) = self.guaranteed.peek()?;
            let mut state = entry.account.state();
            let current = state.guaranteed_entry == Some(entry.listing);
            if current && !state.tasks.is_empty() {
                // Others need no time: they are in the shared tier too.
                return state.share.capped().then_some(entry.key.saturating_add(self.lag));
            }
            if current {
                state.guaranteed_entry = None;
            }
            drop(state);
            self.guaranteed.pop();
        }
    }

    /// Puts down a slice of a module that ended now.
    pub(super) fn charge(&self, account: &Account<T>, claim: Claim, nanos: u64, now: u64) {
        account.state().charge(claim, nanos, now, self.granted(now));
    }

    /// On whose part a module may run a slice now though nobody picked it: on nobody's where no
    /// task is kept `waiting`, else on its own if it is the next that would be picked.
    pub(super) fn claim_now(
        &mut self,
        account: &Arc<Account<T>>,
        waiting: bool,
        now: u64,
    ) -> Option<Claim> {
        let granted = self.granted(now);
        let mut state = account.state();
        if state.over_ceiling(granted) {
            return None;
        }
        if !waiting {
            return Some(Claim::Spare);
        }
        let promised = self.guaranteed.peek().is_some_and(|Reverse(first)| first.key <= granted);
        if promised || state.share.capped() {
            return None;
        }
        if state.tasks.is_empty() {
            // Slices at the callers are short, and come between those of others that are long.
            state.virtual_time = state.virtual_time.max(self.level.saturating_sub(LEAD));
            state.level = self.level;
            state.forget_unused(granted);
        }
        self.is_next(account, &mut state).then_some(Claim::Shared)
    }

    /// Whether no module stands before this one in the shared tier.
    fn is_next(&mut self, account: &Arc<Account<T>>, state: &mut State<T>) -> bool {
        while let Some(Reverse(first)) = self.shared.peek() {
            if !Arc::ptr_eq(&first.account, account) {
                return state.virtual_time <= first.key;
            }
            let current = state.shared_entry == Some(first.listing);
            if current && state.virtual_time <= first.key {
                return true;
            }
            self.shared.pop();
            if current {
                state.shared_entry = None;
                self.list(account, state);
            }
        }
        true
    }

    /// Changes what a module may have.
    pub(super) fn set_share(&mut self, account: &Arc<Account<T>>, share: Share, now: u64) {
        let granted = self.granted(now);
        let mut state = account.state();
        if state.share == share {
            return;
        }
        state.share = share;
        state.due = granted;
        state.note_throttling(now, granted);
        state.guaranteed_entry = None;
        state.shared_entry = None;
        self.list(account, &mut state);
    }

    /// Everything that waits.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let mut all: Vec<T> = self.released.drain(..).map(|(_, task)| task).collect();
        for Reverse(entry) in self.guaranteed.drain().chain(self.shared.drain()) {
            let mut state = entry.account.state();
            state.guaranteed_entry = None;
            state.shared_entry = None;
            all.extend(state.tasks.drain(..));
        }
        all
    }

    /// Now, on the clock of guarantees.
    fn granted(&self, now: u64) -> u64 {
        now.saturating_sub(self.lag)
    }

    fn list(&mut self, account: &Arc<Account<T>>, state: &mut State<T>) {
        if state.tasks.is_empty() {
            return;
        }
        if state.share.guaranteed().is_some() && state.guaranteed_entry.is_none() {
            let entry = self.entry(state.due, account);
            state.guaranteed_entry = Some(entry.listing);
            self.guaranteed.push(Reverse(entry));
        }
        if !state.share.capped() && state.shared_entry.is_none() {
            let entry = self.entry(state.virtual_time, account);
            state.shared_entry = Some(entry.listing);
            self.shared.push(Reverse(entry));
        }
    }

    fn entry(&mut self, key: u64, account: &Arc<Account<T>>) -> Entry<T> {
        self.listings += 1;
        Entry { key, listing: self.listings, account: Arc::clone(account) }
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (u64, u64) {
        (self.key, self.listing)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
