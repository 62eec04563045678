//! How native modules stand, in the contract's messages.

use std::cmp::Reverse;

use roadstead_domain::{Fault, ModuleId, ModuleSpec};
use roadstead_engine::{Attempt, Isolation, NativeStanding, NativeState};
use roadstead_proto::v1 as pb;
use roadstead_registry::{LiveModule, LiveVersion, Registry, VersionRecord};

use crate::steps::OwnPermit;

/// What answers calls of a version.
pub(super) fn kind(record: &VersionRecord) -> &'static str {
    if record.spec.native.is_some() { "native" } else { "component" }
}

/// How a native version stands on this host.
pub(super) fn of(
    registry: &Registry,
    id: &ModuleId,
    record: &VersionRecord,
) -> Option<NativeStanding> {
    record.spec.native.as_ref()?;
    registry.native(id)
}

/// How a version is kept apart; of a native one that nobody runs here, how its spec would have it.
pub(super) fn isolation(
    registry: &Registry,
    id: &ModuleId,
    record: &VersionRecord,
) -> &'static str {
    let Some(native) = &record.spec.native else { return "sandbox" };
    match of(registry, id, record).map(|standing| standing.isolation) {
        Some(Isolation::Process) => "process",
        Some(Isolation::Container) => "container",
        None if native.command.is_empty() => "container",
        None => "process",
    }
}

pub(super) fn standing(standing: NativeStanding) -> pb::NativeStanding {
    let NativeStanding { confinement, state, attempts, .. } = standing;
    let (state, reason) = in_words(state);
    let mut attempts = attempts;
    attempts.sort_by_key(|attempt| Reverse(attempt.epoch));
    let attempts = attempts.into_iter().map(|Attempt { epoch, state }| {
        let (state, reason) = in_words(state);
        pb::NativeAttempt { epoch, state: state.to_owned(), reason }
    });
    pb::NativeStanding {
        confinement,
        state: state.to_owned(),
        reason,
        attempts: attempts.collect(),
    }
}

/// How the version that answers for a module stands, where it is native.
pub(super) fn state_of(registry: &Registry, module: &LiveModule) -> String {
    let standing = module.current().and_then(|live| of(registry, live.id(), live.record()));
    standing.map_or_else(String::new, |standing| in_words(standing.state).0.to_owned())
}

/// Why the servers of a native version do not come up, if they do not.
pub(super) fn problem(registry: &Registry, live: &LiveVersion) -> Option<String> {
    match of(registry, live.id(), live.record())?.state {
        NativeState::BackingOff(why) | NativeState::Failed(why) => Some(why),
        _ => None,
    }
}

fn in_words(state: NativeState) -> (&'static str, String) {
    match state {
        NativeState::Off => ("off", String::new()),
        NativeState::Idle => ("idle", String::new()),
        NativeState::Starting => ("starting", String::new()),
        NativeState::Ready => ("ready", String::new()),
        NativeState::Draining => ("draining", String::new()),
        NativeState::BackingOff(why) => ("backing-off", why),
        NativeState::Failed(why) => ("failed", why),
    }
}

/// Whether who pushes may push that: what runs outside of the sandbox takes an admin.
///
/// # Errors
/// [`Fault::NotGranted`].
pub(super) fn authorize(permit: &OwnPermit, spec: &ModuleSpec) -> Result<(), Fault> {
    if spec.native.is_none() { Ok(()) } else { permit.for_native() }
}
