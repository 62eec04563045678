//! Limits on what host calls may spend, counted per call or per instance.
//!
//! A limit is *hard* where going on would make no sense (random bytes, bytes sent, handles): the
//! host call traps and the call ends with the limit's fault. It is *soft* where the guest gets an
//! error that it can handle (no more files, no more sockets); then only a trap that follows is
//! put down to the limit.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use roadstead_domain::{LimitKind, LimitReached, Limits};

/// What the handles of an instance may hold on the host, all together.
const HELD: usize = 32 << 20;

/// What a single one may hold, however few there are.
const HELD_BY_ONE: usize = 32 << 10;

/// What one of so many handles may hold on the host: headers, a path, a body that is not sent yet.
pub(crate) fn held_by_each(handles: u64) -> usize {
    let handles = usize::try_from(handles).unwrap_or(usize::MAX).max(1);
    (HELD / handles).min(HELD_BY_ONE)
}

/// The cause of a trap: a hard limit.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the limit `{}` of {} was reached", .0.limit.spec_field(), .0.allowed)]
pub(crate) struct LimitTrap(pub(crate) LimitReached);

/// The accounts of one instance, shared with its streams and tasks.
#[derive(Debug)]
pub(crate) struct Account {
    random: Counter,
    egress: Counter,
    reached: Mutex<Reached>,
}

#[derive(Debug, Default)]
struct Reached {
    hard: Option<LimitReached>,
    soft: Option<LimitReached>,
}

/// What one call may use up.
#[derive(Debug)]
struct Counter {
    limit: LimitKind,
    allowed: u64,
    used: AtomicU64,
}

impl Counter {
    fn new(limit: LimitKind, allowed: u64) -> Self {
        Self { limit, allowed, used: AtomicU64::new(0) }
    }

    fn spend(&self, amount: u64) -> Result<(), LimitReached> {
        let before = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                Some(used.saturating_add(amount))
            })
            .unwrap_or_default();
        let used = before.saturating_add(amount);
        if used > self.allowed {
            let Self { limit, allowed, .. } = *self;
            return Err(LimitReached { limit, allowed, used: Some(used) });
        }
        Ok(())
    }
}

impl Account {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            random: Counter::new(LimitKind::Random, limits.random.0),
            egress: Counter::new(LimitKind::Egress, limits.egress.0),
            reached: Mutex::default(),
        })
    }

    /// Another call begins: everything that is counted per call starts anew.
    pub(crate) fn begin_call(&self) {
        self.random.used.store(0, Ordering::Relaxed);
        self.egress.used.store(0, Ordering::Relaxed);
        *self.reached.lock() = Reached::default();
    }

    /// Random bytes that the guest asked for.
    pub(crate) fn draw(&self, bytes: u64) -> Result<(), LimitTrap> {
        self.random.spend(bytes).map_err(|reached| self.hard(reached))
    }

    /// Bytes that are about to leave for the network.
    pub(crate) fn send(&self, bytes: usize) -> Result<(), LimitTrap> {
        self.egress
            .spend(u64::try_from(bytes).unwrap_or(u64::MAX))
            .map_err(|reached| self.hard(reached))
    }

    /// Records a limit that ends the call, and makes its trap.
    pub(crate) fn hard(&self, reached: LimitReached) -> LimitTrap {
        self.reached.lock().hard.get_or_insert(reached);
        LimitTrap(reached)
    }

    /// Records a limit that the guest was told of.
    pub(crate) fn soft(&self, reached: LimitReached) {
        self.reached.lock().soft.get_or_insert(reached);
    }

    /// The limit that ends this call, whatever the guest answers.
    pub(crate) fn hard_limit(&self) -> Option<LimitReached> {
        self.reached.lock().hard
    }

    /// The limit that a trap of this call is put down to.
    pub(crate) fn any_limit(&self) -> Option<LimitReached> {
        let reached = self.reached.lock();
        reached.hard.or(reached.soft)
    }
}

/// Places that are taken while something lives: sockets of an instance, descriptors of the host.
#[derive(Debug)]
pub(crate) struct Places {
    allowed: u64,
    taken: Arc<AtomicU64>,
    /// Whoever takes a place here takes one there, too.
    around: Option<Arc<Places>>,
}

/// One place of an instance and one of the host; both are given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    of: Vec<Arc<Places>>,
}

impl Places {
    pub(crate) fn new(allowed: u64) -> Arc<Self> {
        Self::sharing(allowed, Arc::default())
    }

    /// Places that are counted together with others, which may allow another number.
    pub(crate) fn sharing(allowed: u64, taken: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { allowed, taken, around: None })
    }

    /// Places that are a part of others.
    pub(crate) fn within(allowed: u64, around: Arc<Places>) -> Arc<Self> {
        Arc::new(Self { allowed, taken: Arc::default(), around: Some(around) })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.allowed <= self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn allowed(&self) -> u64 {
        self.allowed
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn enter(&self) -> bool {
        if !self.enter_here() {
            return false;
        }
        let entered = self.around.as_ref().is_none_or(|around| around.enter());
        if !entered {
            self.leave_here();
        }
        entered
    }

    fn leave(&self) {
        self.leave_here();
        if let Some(around) = &self.around {
            around.leave();
        }
    }

    fn enter_here(&self) -> bool {
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.allowed).then(|| taken.saturating_add(1))
            })
            .is_ok()
    }

    fn leave_here(&self) {
        // Never below nothing: every one follows an `enter_here`.
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    /// Takes a place in each, or in none.
    pub(crate) fn take(of: &[&Arc<Places>]) -> Option<Self> {
        let mut place = Self { of: Vec::with_capacity(of.len()) };
        for places in of {
            if !places.enter() {
                return None;
            }
            place.of.push(Arc::clone(places));
        }
        Some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.iter().for_each(|places| places.leave());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_domain::ByteSize;

    fn account(random: u64, egress: u64) -> Arc<Account> {
        Account::new(&Limits {
            random: ByteSize(random),
            egress: ByteSize(egress),
            ..Limits::default()
        })
    }

    #[test]
    fn counters_allow_what_the_spec_says_and_start_anew_with_a_call() {
        let account = account(10, 0);
        account.draw(4).unwrap();
        account.draw(6).unwrap();
        assert_eq!(account.hard_limit(), None);
        assert_eq!(account.draw(1).unwrap_err().0.used, Some(11));
        assert_eq!(account.hard_limit().unwrap().limit, LimitKind::Random);
        account.begin_call();
        assert_eq!(account.any_limit(), None);
        account.draw(10).unwrap();
        assert!(account.send(1).is_err());
    }

    #[test]
    fn more_handles_hold_less_each() {
        for handles in [0, 1, 1_000, 8_192, u64::MAX] {
            let all = u64::try_from(held_by_each(handles)).unwrap().saturating_mul(handles);
            assert!(all <= 32 << 20, "{handles}: {all}");
        }
        assert_eq!((held_by_each(1_000), held_by_each(8_192)), (32 << 10, 4 << 10));
    }

    #[test]
    fn a_huge_request_does_not_wrap_around() {
        let account = account(10, 10);
        assert!(account.draw(u64::MAX).is_err());
        assert!(account.draw(u64::MAX).is_err());
        assert!(account.draw(0).is_err());
    }

    #[test]
    fn a_soft_limit_explains_a_trap_but_does_not_end_a_call() {
        let account = account(10, 10);
        let files = LimitReached { limit: LimitKind::OpenFiles, allowed: 1, used: None };
        account.soft(files);
        assert_eq!((account.hard_limit(), account.any_limit()), (None, Some(files)));
        assert!(account.draw(11).is_err());
        assert_eq!(account.any_limit().unwrap().limit, LimitKind::Random);
    }

    #[test]
    fn places_are_given_back_and_taken_in_all_or_none() {
        let (instance, host) = (Places::new(2), Places::new(1));
        let first = Place::take(&[&instance, &host]).unwrap();
        assert!(Place::take(&[&instance, &host]).is_none());
        assert_eq!((instance.taken(), host.taken()), (1, 1));
        drop(first);
        assert_eq!((instance.taken(), host.taken()), (0, 0));
        assert!(Place::take(&[&instance, &host]).is_some());
    }

    #[test]
    fn a_part_takes_of_the_whole_and_no_more_than_its_own() {
        let host = Places::new(3);
        let (one, other) =
            (Places::within(2, Arc::clone(&host)), Places::within(2, Arc::clone(&host)));
        let held = [Place::take(&[&one]).unwrap(), Place::take(&[&one]).unwrap()];
        assert!(Place::take(&[&one]).is_none());
        let last = Place::take(&[&other]).unwrap();
        assert!(Place::take(&[&other]).is_none());
        assert_eq!((one.taken(), other.taken(), host.taken()), (2, 1, 3));
        drop((held, last));
        assert_eq!((one.taken(), other.taken(), host.taken()), (0, 0, 0));
    }
}
