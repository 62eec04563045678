//! Which modules are planned when: those that something changed for, and not while they are
//! written or have to wait after a failure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::world::ModuleKey;

/// Pauses after failures: twice as long each time, and not in step with others.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// Where nothing is to be done by itself.
const IDLE: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Schedule {
    dirty: BTreeSet<ModuleKey>,
    writing: BTreeSet<ModuleKey>,
    /// When something happens by itself.
    timers: BTreeMap<ModuleKey, Instant>,
    /// How often in a row it failed, and when it is tried again.
    failed: BTreeMap<ModuleKey, (u32, Instant)>,
}

impl Schedule {
    pub(super) fn dirty(&mut self, keys: BTreeSet<ModuleKey>) {
        self.dirty.extend(keys);
    }

    /// Sets or takes away the timer of a module.
    pub(super) fn at(&mut self, key: &ModuleKey, at: Option<Instant>) {
        match at {
            Some(at) => drop(self.timers.insert(key.clone(), at)),
            None => drop(self.timers.remove(key)),
        }
    }

    pub(super) fn writing(&mut self, key: &ModuleKey) {
        self.writing.insert(key.clone());
    }

    pub(super) fn written(&mut self, key: &ModuleKey) {
        self.writing.remove(key);
    }

    pub(super) fn all_written(&mut self) {
        self.writing.clear();
    }

    pub(super) fn fine(&mut self, key: &ModuleKey) {
        self.failed.remove(key);
    }

    pub(super) fn back_off(&mut self, key: &ModuleKey, now: Instant) {
        let times = self.failed.get(key).map_or(0, |(times, _)| times.saturating_add(1));
        let pause = FIRST.saturating_mul(1 << times.min(16)).min(LONGEST);
        let at = now + pause.mul_f64(rand::random_range(0.5..1.0));
        self.failed.insert(key.clone(), (times, at));
    }

    /// The next module to plan.
    pub(super) fn take(
        &mut self,
        now: Instant,
        wanted: impl Fn(&ModuleKey) -> bool,
    ) -> Option<ModuleKey> {
        let due: Vec<ModuleKey> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.timers.remove(&key);
            self.dirty.insert(key);
        }
        let key = self.dirty.iter().find(|key| self.may(key, now) && wanted(key))?.clone();
        self.dirty.remove(&key);
        Some(key)
    }

    fn may(&self, key: &ModuleKey, now: Instant) -> bool {
        !self.writing.contains(key) && self.failed.get(key).is_none_or(|(_, at)| *at <= now)
    }

    /// Whether each module was planned at least once.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        self.dirty.iter().all(|key| !self.may(key, now))
    }

    /// When to look again.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let again = self.failed.iter().filter(|(key, _)| self.dirty.contains(*key));
        let again = again.map(|(_, (_, at))| *at).min();
        let timer = self.timers.values().min().copied();
        again.into_iter().chain(timer).min().unwrap_or(now + IDLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(module: &str) -> ModuleKey {
        ModuleKey { namespace: "n".to_owned(), module: module.to_owned(), native: false }
    }

    #[test]
    fn a_module_is_planned_once_for_all_that_changed_and_not_while_it_is_written() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.dirty([key("a"), key("b")].into());
        schedule.dirty([key("a")].into());
        assert_eq!(schedule.take(now, |_| true), Some(key("a")));
        schedule.writing(&key("a"));
        schedule.dirty([key("a")].into());
        assert_eq!(schedule.take(now, |one| *one != key("b")), None);
        assert_eq!(schedule.take(now, |_| true), Some(key("b")));
        assert_eq!(schedule.take(now, |_| true), None);
        assert!(schedule.is_quiet(now));
        schedule.written(&key("a"));
        assert_eq!(schedule.take(now, |_| true), Some(key("a")));
    }

    #[test]
    fn what_failed_waits_longer_each_time_and_timers_come() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for _ in 0..20 {
            schedule.back_off(&key("a"), now);
        }
        schedule.dirty([key("a")].into());
        assert_eq!(schedule.take(now, |_| true), None);
        let next = schedule.next(now);
        assert!((now + LONGEST / 2..=now + LONGEST).contains(&next));
        assert_eq!(schedule.take(next, |_| true), Some(key("a")));
        schedule.fine(&key("a"));
        schedule.at(&key("b"), Some(now + FIRST));
        assert_eq!(schedule.next(now), now + FIRST);
        assert_eq!(schedule.take(now, |_| true), None);
        assert_eq!(schedule.take(now + FIRST, |_| true), Some(key("b")));
        assert_eq!(schedule.next(now), now + IDLE);
    }
}
