//! Calls that were answered since a step began, over all hosts and their restarts.
//!
//! Each host counts since its process began. The window keeps where a host stood when it was first
//! seen in the step, and what its earlier processes had counted.

use std::collections::BTreeMap;

use roadstead_domain::Version;
use roadstead_k8s_api::{RolloutPhase, RolloutStatus};

use super::Known;
use crate::{
    hosts::{Host, HostKey},
    world::ModuleKey,
};

/// Calls of one version in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    of: (Version, u32, i64),
    hosts: BTreeMap<HostKey, Count>,
}

/// Calls, and those of them that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub calls: u64,
    pub failures: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Count {
    process: i64,
    base: Tally,
    last: Tally,
    /// Of processes before this one.
    carried: Tally,
}

/// The window of the step that stands in the cluster, with what the hosts say by now; a new one if
/// it is another step than before. None where no step is judged.
pub(super) fn follow(
    before: Option<&Window>,
    rollout: Option<&RolloutStatus>,
    known: &Known<'_>,
    key: &ModuleKey,
) -> Option<Window> {
    let rollout = rollout.filter(|rollout| rollout.phase == RolloutPhase::Progressing)?;
    let of = step(rollout);
    let mut window = before
        .filter(|window| window.of == of)
        .cloned()
        .unwrap_or_else(|| Window { of, hosts: BTreeMap::new() });
    for (host, state) in known.hosts.iter().filter(|(_, state)| state.complete) {
        window.count(host, state, key, &rollout.to);
    }
    Some(window)
}

fn step(rollout: &RolloutStatus) -> (Version, u32, i64) {
    (rollout.to.clone(), rollout.step, rollout.since.0.as_second())
}

impl Window {
    fn count(&mut self, host: &HostKey, state: &Host, key: &ModuleKey, version: &Version) {
        let seen = state.seen(key, version);
        let seen = seen
            .map_or(Tally::default(), |seen| Tally { calls: seen.calls, failures: seen.failures });
        let count = self.hosts.entry(host.clone()).or_insert_with(|| Count {
            process: state.started,
            base: seen,
            last: seen,
            carried: Tally::default(),
        });
        let again = seen.calls < count.last.calls || seen.failures < count.last.failures;
        if count.process != state.started || again {
            count.carried = count.tally();
            (count.process, count.base) = (state.started, Tally::default());
        }
        count.last = seen;
    }

    /// All calls of the step.
    pub fn tally(&self) -> Tally {
        self.hosts.values().map(Count::tally).fold(Tally::default(), Tally::plus)
    }

    /// Whether it is the window of this step.
    pub(super) fn counts(&self, rollout: Option<&RolloutStatus>) -> bool {
        rollout.is_some_and(|rollout| {
            rollout.phase == RolloutPhase::Progressing && step(rollout) == self.of
        })
    }
}

impl Count {
    fn tally(&self) -> Tally {
        let here = Tally {
            calls: self.last.calls.saturating_sub(self.base.calls),
            failures: self.last.failures.saturating_sub(self.base.failures),
        };
        self.carried.plus(here)
    }
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            failures: self.failures.saturating_add(other.failures),
        }
    }
}
