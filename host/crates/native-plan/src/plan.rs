//! What to do now, and when to look again.

use std::collections::BTreeMap;

use roadstead_domain::Version;
use serde::Serialize;

use crate::{
    Attempt, Contract, Demand, Module, Moment, Standing, State, Wanted,
    judge::{Verdict, judge},
    restarts::{Next, next},
    target,
};

/// What should become of a module's servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In the order in which they are to be done; where one fails, those behind it wait for the next
    /// plan.
    pub actions: Vec<Action>,
    /// When to look again, if nothing happens before.
    pub again: Option<Moment>,
    /// Of the versions that are to run, and of those that have servers.
    pub versions: BTreeMap<Version, Standing>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Makes durable that epochs up to this one are taken.
    Claim {
        epoch: u64,
    },
    Start {
        version: Version,
        epoch: u64,
    },
    /// Gives it no more calls, and asks it to end when those that run have ended.
    Drain {
        epoch: u64,
    },
    /// Ends it now.
    End {
        epoch: u64,
        why: Why,
    },
}

/// Why a server is ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Why {
    /// It did not end by itself within its grace.
    Grace,
    Failed(String),
    Mismatch(String),
}

/// What should become of a module's servers.
pub fn plan(module: &Module, now: Moment) -> Plan {
    let mut planning = Planning { module, now, plan: Plan::default(), taken: module.epoch };
    planning.judge();
    for (version, wanted) in &module.versions {
        planning.version(version, wanted);
    }
    planning.others();
    let starts = |action: &Action| matches!(action, Action::Start { .. });
    let first = planning.plan.actions.iter().position(starts);
    if let Some(first) = first {
        planning.plan.actions.insert(first, Action::Claim { epoch: planning.taken });
    }
    planning.plan
}

struct Planning<'a> {
    module: &'a Module,
    now: Moment,
    plan: Plan,
    /// The highest epoch, those of this plan included.
    taken: u64,
}

impl Planning<'_> {
    fn act(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    fn look_again(&mut self, at: Option<Moment>) {
        let at = at.filter(|at| *at > self.now);
        self.plan.again = [self.plan.again, at].into_iter().flatten().min();
    }

    /// Ends the servers that may not live on.
    fn judge(&mut self) {
        for attempt in self.module.attempts.iter().filter(|one| one.lives()) {
            match judge(attempt, self.now) {
                Verdict::Fine(again) => self.look_again(again),
                Verdict::End(why) => self.act(Action::End { epoch: attempt.epoch, why }),
            }
        }
    }

    /// How many servers there should be. One that has only just come to be ready was not idle yet.
    fn target(&self, version: &Version, wanted: &Wanted) -> (u32, Option<Moment>) {
        let own = self.module.attempts.iter().filter(|one| one.version == *version && one.stays());
        let ready = own.filter_map(|one| one.ready).max();
        let last = ready.map_or(wanted.demand.last, |ready| ready.max(wanted.demand.last));
        target(&wanted.spec, Demand { last, ..wanted.demand }, self.now)
    }

    fn version(&mut self, version: &Version, wanted: &Wanted) {
        let module = self.module;
        let own = || module.attempts.iter().filter(|one| one.version == *version);
        let (count, until) = self.target(version, wanted);
        self.look_again(until);
        let mut staying: Vec<_> = own().filter(|one| one.stays()).collect();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count < staying.len() {
            // Those that are not ready yet first, then the youngest; the idle one that has not been
            // ready is still to show whether it can be.
            staying.sort_by_key(|one| (one.ready.is_some(), std::cmp::Reverse(one.epoch)));
            let excess = staying.len() - count;
            let spared = |one: &&&Attempt| count > 0 || one.ready.is_some();
            let excess: Vec<_> =
                staying.iter().filter(spared).take(excess).map(|one| one.epoch).collect();
            for epoch in excess {
                self.drain(epoch);
            }
        }
        let next = next(&module.restarts, own(), self.now);
        let missing = count.saturating_sub(staying.len());
        match &next {
            Next::Now(_) if missing > 0 => self.start(version, wanted, missing),
            Next::At(at, _) if missing > 0 => self.look_again(Some(*at)),
            _ => {}
        }
        let standing = wanted_standing(own().collect(), &next, count);
        self.plan.versions.insert(version.clone(), standing);
    }

    fn start(&mut self, version: &Version, wanted: &Wanted, missing: usize) {
        let mut lives = self.module.attempts.iter().filter(|one| one.lives());
        let alone = wanted.spec.stateful;
        if lives.any(|one| alone || one.spec.stateful) {
            return;
        }
        for _ in 0..missing {
            self.taken = self.taken.saturating_add(1);
            let epoch = self.taken;
            self.act(Action::Start { version: version.clone(), epoch });
        }
    }

    /// Servers of versions that are not to run: they answer on until those that are to run do, but
    /// for state, of which there is one.
    fn others(&mut self) {
        let module = self.module;
        let others = || {
            let other = |one: &&Attempt| !module.versions.contains_key(&one.version);
            module.attempts.iter().filter(other)
        };
        let waits = !module.versions.is_empty() && !self.is_settled();
        let alone = module.versions.values().any(|wanted| wanted.spec.stateful);
        for attempt in others().filter(|one| one.stays()) {
            let answers_on = waits && !alone && !attempt.spec.stateful && attempt.ready.is_some();
            if !answers_on {
                self.drain(attempt.epoch);
            }
        }
        for attempt in others() {
            let of_version = others().filter(|one| one.version == attempt.version);
            let standing = Standing { state: other_state(of_version), retry: None };
            self.plan.versions.insert(attempt.version.clone(), standing);
        }
    }

    /// Whether all versions that are to run have the servers that they need.
    fn is_settled(&self) -> bool {
        self.module.versions.iter().all(|(version, wanted)| {
            let (count, _) = self.target(version, wanted);
            let answering = self.module.attempts.iter();
            let answering = answering.filter(|one| one.version == *version && one.answers());
            answering.count() >= usize::try_from(count).unwrap_or(usize::MAX)
        })
    }

    fn drain(&mut self, epoch: u64) {
        let ends =
            |action: &Action| matches!(action, Action::End { epoch: other, .. } if *other == epoch);
        if !self.plan.actions.iter().any(ends) {
            self.act(Action::Drain { epoch });
        }
    }
}

fn wanted_standing(own: Vec<&Attempt>, next: &Next, count: usize) -> Standing {
    let broken = own.iter().find_map(|one| match &one.contract {
        Contract::Broken(how) if one.lives() => Some(how.clone()),
        _ => None,
    });
    let mut retry = None;
    let state = if own.iter().any(|one| one.answers()) {
        State::Ready
    } else if let Some(how) = broken {
        State::Failed(how)
    } else if own.iter().any(|one| one.stays()) {
        State::Starting
    } else {
        match next {
            Next::Never(why) => State::Failed(why.clone()),
            Next::At(at, why) => {
                retry = Some(*at);
                State::BackingOff(why.clone())
            }
            Next::Now(Some(why)) if count == 0 => State::BackingOff(why.clone()),
            Next::Now(_) if own.iter().any(|one| one.lives()) => State::Draining,
            Next::Now(_) if count == 0 => State::Idle,
            Next::Now(_) => State::Starting,
        }
    };
    Standing { state, retry }
}

fn other_state<'a>(mut own: impl Iterator<Item = &'a Attempt> + Clone) -> State {
    if own.clone().any(Attempt::answers) {
        State::Ready
    } else if own.any(Attempt::lives) {
        State::Draining
    } else {
        State::Off
    }
}
