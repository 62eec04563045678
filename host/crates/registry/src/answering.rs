//! Who answers the calls of a service that name no version: one version, or several by their part.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use roadstead_domain::Turns;
use roadstead_engine::CodeState;

use crate::{LiveModule, LiveVersion, live::Weighted};

/// The turns that a module has given out. They go on while the table changes.
#[derive(Debug, Default)]
pub(crate) struct Given {
    calls: AtomicU64,
    /// Of calls that a handle may lead elsewhere: they take nothing from the others.
    led: AtomicU64,
}

/// Who answers for a service.
#[derive(Debug)]
pub(crate) enum Answering {
    One(Arc<LiveVersion>),
    Native(Takeover),
    Several(Split),
}

/// A native version, and those that it takes over from: while no server of it is ready, one of
/// another version that still runs answers.
#[derive(Debug)]
pub(crate) struct Takeover {
    live: Arc<LiveVersion>,
    /// The highest first.
    others: Vec<Arc<LiveVersion>>,
}

/// Versions that share the calls of a service.
#[derive(Debug)]
pub(crate) struct Split {
    first: Arc<LiveVersion>,
    versions: Vec<Arc<LiveVersion>>,
    turns: Turns,
    /// Whether methods of the service take handles.
    handles: bool,
    given: Arc<Given>,
}

impl Answering {
    /// None of no versions.
    pub(crate) fn new(
        module: &LiveModule,
        service: &str,
        serving: &[Weighted<'_>],
        given: &Arc<Given>,
    ) -> Option<Self> {
        let versions: Vec<_> = serving.iter().map(|(live, _)| Arc::clone(live)).collect();
        let turns = Turns::new(serving.iter().map(|(_, weight)| *weight));
        match (versions.as_slice(), turns) {
            ([], _) => None,
            ([only], _) | ([only, ..], None) => Some(Self::alone(module, service, only)),
            ([first, ..], Some(turns)) => {
                let takes = |live: &Arc<LiveVersion>| {
                    live.sessions().iter().any(|session| session == service)
                };
                let handles = versions.iter().any(takes);
                let (first, given) = (Arc::clone(first), Arc::clone(given));
                Some(Self::Several(Split { first, versions, turns, handles, given }))
            }
        }
    }

    fn alone(module: &LiveModule, service: &str, live: &Arc<LiveVersion>) -> Self {
        let is_stateless = |live: &LiveVersion| {
            live.record().spec.native.as_ref().is_some_and(|native| !native.stateful)
        };
        let others = module.versions.values().rev().filter(|other| {
            !Arc::ptr_eq(other, live) && is_stateless(other) && other.exports(service)
        });
        let others: Vec<_> = others.cloned().collect();
        let live = Arc::clone(live);
        if others.is_empty() || !is_stateless(&live) {
            return Self::One(live);
        }
        Self::Native(Takeover { live, others })
    }

    /// Who answers the next call of a method.
    pub(crate) fn next(&self, service: &str, method: &str) -> &Arc<LiveVersion> {
        match self {
            Self::One(live) => live,
            Self::Native(takeover) => takeover.next(|live| live.method(service, method).is_ok()),
            Self::Several(split) => split.next(service, method),
        }
    }

    /// Who answers the next call of any method without handles; `fits` says of whom it may be where
    /// another has no server that is ready.
    pub(crate) fn chosen(&self, fits: impl Fn(&Arc<LiveVersion>) -> bool) -> &Arc<LiveVersion> {
        match self {
            Self::One(live) => live,
            Self::Native(takeover) => takeover.next(fits),
            Self::Several(split) => split.turn(false),
        }
    }

    /// Everyone who answers calls.
    pub(crate) fn all(&self) -> &[Arc<LiveVersion>] {
        match self {
            Self::One(live) | Self::Native(Takeover { live, .. }) => std::slice::from_ref(live),
            Self::Several(split) => &split.versions,
        }
    }
}

impl Takeover {
    fn next(&self, fits: impl Fn(&Arc<LiveVersion>) -> bool) -> &Arc<LiveVersion> {
        let is_there =
            |live: &LiveVersion| live.module().is_ok_and(|one| one.code() == CodeState::There);
        if is_there(&self.live) {
            return &self.live;
        }
        let stands_in = |other: &&Arc<LiveVersion>| is_there(other) && fits(other);
        self.others.iter().find(stands_in).unwrap_or(&self.live)
    }
}

impl Split {
    fn next(&self, service: &str, method: &str) -> &Arc<LiveVersion> {
        let takes = |live: &Arc<LiveVersion>| {
            live.method(service, method).is_ok_and(|method| method.plan.takes_handles())
        };
        self.turn(self.handles && self.versions.iter().any(takes))
    }

    /// `led`: a handle may lead the call elsewhere.
    fn turn(&self, led: bool) -> &Arc<LiveVersion> {
        let given = if led { &self.given.led } else { &self.given.calls };
        let whose = self.turns.whose(given.fetch_add(1, Ordering::Relaxed));
        self.versions.get(whose).unwrap_or(&self.first)
    }
}
