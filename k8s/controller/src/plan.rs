//! What should be, from what is known: pure, one module with its versions at a time.
//!
//! Nothing here reads a clock or talks to anyone. The plan says which statuses should stand in the
//! cluster, which events tell of it, and what it waits for; what differs from the cluster is
//! written by [`crate::apply`].

mod conditions;
mod judge;
mod module;
mod native;
mod readiness;
mod traffic;
mod version;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use roadstead_domain::Version;
use roadstead_k8s_api::{
    Condition, ModuleStatus, ModuleVersionStatus, Reason, RolloutStatus, ServingVersion, rules,
};
use serde::Serialize;

use crate::{
    hosts::Hosts,
    native::Rules,
    objects::{ModuleObject, VersionObject},
    world::{ModuleKey, World},
};
pub use native::{NativeMemory, NativePlan, digest};
use readiness::Readiness;
use traffic::{Ground, Traffic};
pub use window::Window;

/// All that a plan is made from.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub world: &'a World,
    pub hosts: &'a Hosts,
    pub now: Timestamp,
    /// Until when hosts may not have found this controller yet; none once they should have.
    pub unsettled: Option<Timestamp>,
    /// What operators allow native modules; none where there are to be none.
    pub native: Option<&'a Rules>,
}

/// What the controller keeps of a module between plans.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// How calls are shared by its own last word. Who else writes that down changes nothing.
    pub decided: Option<Decided>,
    /// Calls of the step that is judged.
    pub window: Option<Window>,
    pub native: NativeMemory,
}

/// How calls are shared, and how it came to that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decided {
    pub serving: Vec<ServingVersion>,
    pub rollout: Option<RolloutStatus>,
    /// Why the last rollout ended as it did, with its figures.
    pub why: Option<String>,
}

/// What should be of one module.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// None where there is no module that could have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<ModulePlan>,
    /// By the objects' names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, VersionPlan>,
    /// Of a native module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<NativePlan>,
    /// Whether a module of the other kind keeps its name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub name_taken: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Wait>,
    #[serde(skip)]
    pub memory: Memory,
}

/// A module's status.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModulePlan {
    /// Whether it differs from what stands in the cluster.
    pub write: bool,
    pub status: ModuleStatus,
    /// Servers that are ready, of those that are wanted; of a native module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<String>,
}

/// A version's status.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionPlan {
    pub write: bool,
    /// The uid of the module that it should belong to, and does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,
    pub status: ModuleVersionStatus,
}

/// Something that happened, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The version's object that it is about; none for the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub warning: bool,
    pub reason: &'static str,
    /// Tells events of one reason apart.
    pub action: String,
    pub note: String,
}

/// What has to happen before the plan changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wait {
    pub what: String,
    /// When it happens by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

impl Wait {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), until: None }
    }

    fn until(what: impl Into<String>, until: Timestamp) -> Self {
        Self { what: what.into(), until: Some(Time(until)) }
    }
}

impl Plan {
    /// Whether anything is to be written.
    pub fn writes(&self) -> bool {
        self.module.as_ref().is_some_and(|module| module.write)
            || self.versions.values().any(|version| version.write || version.adopt.is_some())
            || self.native.as_ref().is_some_and(NativePlan::writes)
    }
}

/// A version that is published.
type Published<'a> = BTreeMap<Version, &'a VersionObject>;

/// What should be of the module.
pub fn plan(known: &Known<'_>, key: &ModuleKey, memory: &Memory) -> Plan {
    let module = known.world.module(key).filter(|module| module.deleted != rules::Deleted::All);
    let objects = known.world.versions(key);
    let chains = known.world.chains(&key.namespace);
    let Some(module) = module else {
        let accepted = |object: &VersionObject| version::without_module(key, object);
        return versions_only(known, &objects, accepted);
    };
    if known.world.rival(key).is_some() {
        return name_taken(known, key, module, &objects);
    }
    let exist = |object: &VersionObject, version: &Version| {
        !object.leaving
            && rules::exists(&module.id.uid, &module.deleted, object.owner.as_deref(), version)
    };
    let published: Published<'_> = objects
        .iter()
        .filter_map(|object| {
            let said = object.says.as_ref().ok()?;
            let shown = exist(object, &said.version) && rules::published(&said.locks, chains);
            shown.then(|| (said.version.clone(), *object))
        })
        .collect();
    let standings = key.native.then(|| native::look(known, key, &published, &memory.native));
    let readiness = match &standings {
        Some(standings) => Readiness::of_servers(known.hosts, key, standings),
        None => Readiness::look(known.hosts, key, published.keys()),
    };
    let current = memory.decided.clone().unwrap_or_else(|| decided(module));
    let window = window::follow(memory.window.as_ref(), current.rollout.as_ref(), known, key);
    let ground = Ground {
        module,
        published: &published,
        readiness: &readiness,
        current: &current,
        tally: window.as_ref().map(Window::tally),
        now: known.now,
        unsettled: known.unsettled,
    };
    let mut traffic = traffic::decide(&ground);
    let mut plan = Plan { memory: memory.clone(), ..Plan::default() };
    let standings = standings.map(|all| {
        let refused = |version: &Version| traffic.refused(version).is_some();
        let runs = native::runs(&all, module, &traffic.decided.serving, refused);
        all.into_iter().partition::<BTreeMap<_, _>, _>(|(version, _)| runs.contains(version))
    });
    if let Some((standings, others)) = &standings {
        let (standings, others) = (standings.clone(), native::may_run(others));
        let (native, waits) =
            native::plan(known, key, module, standings, &others, &mut plan.memory);
        traffic.waits.extend(waits);
        plan.native = Some(native);
    }
    let standings = standings.as_ref().map(|(standings, _)| standings);
    let share = |version: &Version| percent(&traffic.decided.serving, version);
    for object in objects.iter().filter(|object| !object.leaving) {
        let ground =
            version::Ground { known, key, module, object, readiness: &readiness, standings };
        let is_published = object
            .says
            .as_ref()
            .is_ok_and(|said| published.get(&said.version).is_some_and(|one| one.id == object.id));
        let (version, event) = version::plan(&ground, is_published, &traffic, share);
        plan.events.extend(event);
        plan.versions.insert(object.id.name.clone(), version);
    }
    let status = module::status(known, module, &traffic, &readiness, standings);
    let servers = plan.native.as_ref().and_then(|native| native.servers.clone());
    let write = differs(module, &status) || module.servers != servers;
    plan.module = Some(ModulePlan { write, status, servers });
    let Traffic { decided, events, waits, .. } = traffic;
    // A step begins to count when it stands in the cluster.
    let window = window.filter(|window| window.counts(decided.rollout.as_ref()));
    plan.memory.decided = Some(decided);
    plan.memory.window = window;
    plan.events.splice(0..0, events);
    plan.waits = waits;
    plan
}

/// A module whose name an older one of the other kind has: nothing of it runs.
fn name_taken(
    known: &Known<'_>,
    key: &ModuleKey,
    module: &ModuleObject,
    objects: &[&VersionObject],
) -> Plan {
    let other = if key.native { "Module" } else { "NativeModule" };
    let message = format!("An older {other} is called {}.", key.module);
    let verdict = |_: &VersionObject| version::name_taken(&message);
    let mut plan = versions_only(known, objects, verdict);
    let status = module::name_taken(known, module, &message);
    let write = differs(module, &status) || module.servers.is_some();
    plan.module = Some(ModulePlan { write, status, servers: None });
    plan.name_taken = true;
    if key.native {
        let mut memory = Memory::default();
        let (native, _) =
            native::plan(known, key, module, BTreeMap::new(), &BTreeSet::new(), &mut memory);
        plan.native = Some(NativePlan { servers: None, ..native });
    }
    plan
}

/// How calls are shared by what stands in the cluster.
fn decided(module: &ModuleObject) -> Decided {
    let ended = |condition: &&Condition| {
        matches!(condition.reason, Reason::RolledBack | Reason::Aborted)
            && condition.kind == roadstead_k8s_api::ConditionKind::Progressing
    };
    let why = module.status.conditions.iter().find(ended);
    Decided {
        serving: module.status.serving.clone(),
        rollout: module.status.rollout.clone(),
        why: why.map(|condition| condition.message.clone()),
    }
}

fn percent(serving: &[ServingVersion], version: &Version) -> Option<u8> {
    serving.iter().find(|share| share.version == *version).map(|share| share.percent)
}

fn versions_only(
    known: &Known<'_>,
    objects: &[&VersionObject],
    accepted: impl Fn(&VersionObject) -> version::Verdict,
) -> Plan {
    let versions = objects.iter().filter(|object| !object.leaving).map(|object| {
        (object.id.name.clone(), version::refused(known.now, object, &accepted(object)))
    });
    Plan { versions: versions.collect(), ..Plan::default() }
}

/// Whether the cluster says something else. What others add there is theirs.
fn differs(module: &ModuleObject, status: &ModuleStatus) -> bool {
    let seen = &module.status;
    seen.observed_generation != status.observed_generation
        || seen.serving != status.serving
        || seen.rollout != status.rollout
        || conditions::differ(&seen.conditions, &status.conditions)
}

/// Cuts off what Kubernetes does not keep of a time.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
