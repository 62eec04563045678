//! What the servers of a native module should be made of, and what is said of them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use roadstead_domain::{Digest, Version};
use roadstead_k8s_api::{Reason, ServingVersion};
use serde::Serialize;

use super::{Known, Memory, Published, Wait, conditions::Says};
use crate::{
    native::{
        Rules,
        rules::Refused,
        standing::{Seen, Standing, State, Use, pods, standing, version_label},
        workload::{Ground, Manifest, Runs},
    },
    objects::{Kind, ModuleObject, VersionObject},
    world::ModuleKey,
};

/// Seconds after which the Secret of servers is looked at again.
const LOOK: i64 = 600;

/// What the controller keeps of a native module's servers between plans.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NativeMemory {
    /// Since when each version is to run.
    pub since: BTreeMap<Version, Timestamp>,
    /// What was applied of each object, and its mark then.
    pub applied: BTreeMap<(Kind, String), (Digest, u64)>,
    /// Tells the certificate that servers show, and when that was looked at.
    pub certificate: Option<(String, Timestamp)>,
    /// Why the cluster did not take what was applied last.
    pub problem: Option<String>,
}

/// What should be done about a native module's servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NativePlan {
    /// Whether the Secret of its servers is to be looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apply: Vec<Manifest>,
    /// Objects by kind, name and uid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<(Kind, String, String)>,
    /// Servers that are ready, of those that are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<String>,
    /// How each version stands that is to run, for hosts.
    #[serde(skip)]
    pub standings: BTreeMap<Version, Standing>,
}

impl NativePlan {
    pub fn writes(&self) -> bool {
        self.secret || !self.apply.is_empty() || !self.delete.is_empty()
    }
}

/// How each published version stands, as if it were to run.
pub(super) fn look(
    known: &Known<'_>,
    key: &ModuleKey,
    published: &Published<'_>,
    memory: &NativeMemory,
) -> BTreeMap<Version, Standing> {
    let used = known.hosts.used(key);
    let none = Use::default();
    let mut all = BTreeMap::new();
    for (version, object) in published {
        let spec = object.says.as_ref().ok().and_then(|said| said.native.as_ref());
        let (spec, unread) = match spec {
            Some(Ok(spec)) => (spec.clone(), None),
            Some(Err(why)) => (std::sync::Arc::default(), Some(why.clone())),
            None => continue,
        };
        let refused = match (known.native, unread) {
            (_, Some(why)) => Some(Refused { reason: Reason::Malformed, message: why }),
            (None, None) => Some(Refused {
                reason: Reason::NotAllowed,
                message: "Native modules are not enabled: set native.enabled.".to_owned(),
            }),
            (Some(rules), None) => rules.allows(&key.namespace, &key.module, &spec).err(),
        };
        let seen = Seen {
            spec: &spec,
            refused,
            pods: pods(known.world.workloads(key), version),
            used: used.get(version).unwrap_or(&none),
            since: since(known, object, memory.since.get(version)),
            now: known.now,
        };
        let mut found = standing(&seen);
        if let (State::Starting, Some(problem)) = (&found.state, &memory.problem) {
            found.state = State::BackingOff(problem.clone());
        }
        all.insert(version.clone(), found);
    }
    all
}

/// Since when a version is to run. One that was idle when another controller led stays so.
fn since(known: &Known<'_>, object: &VersionObject, remembered: Option<&Timestamp>) -> Timestamp {
    let idle = object.conditions.iter().any(|one| one.reason == Reason::Idle);
    remembered.copied().unwrap_or(if idle { Timestamp::UNIX_EPOCH } else { known.now })
}

/// The versions that are to run: those that answer, and the one that a rollout waits for.
pub(super) fn runs(
    all: &BTreeMap<Version, Standing>,
    module: &ModuleObject,
    serving: &[ServingVersion],
    refused: impl Fn(&Version) -> bool,
) -> BTreeSet<Version> {
    let there = |version: &Version| all.contains_key(version);
    let mut runs: BTreeSet<Version> =
        serving.iter().map(|share| share.version.clone()).filter(there).collect();
    let stateful = |version: &Version| all.get(version).is_some_and(|one| one.spec.stateful);
    let rolls = module.spec.as_ref().is_ok_and(|spec| spec.rollout.is_some());
    let newest = all.keys().rfind(|version| !version.is_prerelease());
    if let Some(newest) = newest.filter(|newest| rolls && !refused(newest)) {
        runs.insert(newest.clone());
    }
    if runs.iter().any(stateful) {
        // State is of one server at a time: of the version that has most of the calls.
        let most = serving.iter().max_by_key(|share| (share.percent, share.version.clone()));
        runs.retain(|version| most.is_some_and(|most| most.version == *version));
    }
    runs
}

/// The labels of versions that nothing forbids to run.
pub(super) fn may_run(all: &BTreeMap<Version, Standing>) -> BTreeSet<String> {
    let allowed = all.iter().filter(|(_, one)| !matches!(one.state, State::Refused(_)));
    allowed.map(|(version, _)| version_label(version)).collect()
}

/// What is to be written so that these versions run and no others; but of the others that may run,
/// those that do until one of these is ready.
pub(super) fn plan(
    known: &Known<'_>,
    key: &ModuleKey,
    module: &ModuleObject,
    running: BTreeMap<Version, Standing>,
    others: &BTreeSet<String>,
    memory: &mut Memory,
) -> (NativePlan, Vec<Wait>) {
    let mut plan = NativePlan { standings: running, ..NativePlan::default() };
    let since = &mut memory.native.since;
    *since = plan.standings.iter().map(|(version, one)| (version.clone(), one.since)).collect();
    let Some(rules) = known.native else { return (plan, Vec::new()) };
    let (ready, all) = plan.standings.values().fold((0_u32, 0_u32), |(ready, all), one| {
        (ready.saturating_add(one.ready), all.saturating_add(one.wanted))
    });
    plan.servers = Some(format!("{ready}/{all}"));
    let stay = stay(known, key, &plan.standings, others);
    let allowed = !may_run(&plan.standings).is_empty() || !stay.is_empty();
    let mut waits: Vec<Wait> = plan
        .standings
        .iter()
        .filter_map(|(version, one)| Some(Wait::until(format!("{version} to be idle"), one.until?)))
        .collect();
    let looked = memory.native.certificate.as_ref();
    let fresh = looked.filter(|(_, at)| known.now.as_second() - at.as_second() < LOOK);
    plan.secret = allowed && fresh.is_none();
    if let Some((_, at)) = fresh.filter(|_| allowed) {
        let again = at.as_second().saturating_add(LOOK);
        if let Ok(until) = Timestamp::from_second(again) {
            let what = "the certificate of its servers to be looked at".to_owned();
            waits.push(Wait { what, until: Some(Time(until)) });
        }
    }
    let Some((certificate, _)) = looked.filter(|_| allowed) else {
        if !allowed {
            plan.delete = excess(known, key, &[], &stay);
        }
        return (plan, waits);
    };
    let ground = Ground { key, uid: &module.id.uid, rules, certificate };
    let wanted = wanted(&ground, rules, key, &plan.standings);
    for manifest in &wanted {
        if !stands(known, key, manifest, memory) {
            plan.apply.push(manifest.clone());
        }
    }
    plan.delete = excess(known, key, &wanted, &stay);
    plan.delete.extend(stuck(known, key));
    (plan, waits)
}

/// Pods whose servers do not get on, as all hosts say: Kubernetes makes others in their place.
fn stuck(known: &Known<'_>, key: &ModuleKey) -> Vec<(Kind, String, String)> {
    let used = known.hosts.used(key);
    let is_stuck = |uid: &String| used.values().any(|used| used.stuck.contains_key(uid));
    let pods = known.world.workloads(key).filter(|one| one.kind == Kind::Pod && !one.leaving);
    let pods = pods.filter(|one| is_stuck(&one.id.uid));
    pods.map(|one| (one.kind, one.id.name.clone(), one.id.uid.clone())).collect()
}

fn wanted(
    ground: &Ground<'_>,
    rules: &Rules,
    key: &ModuleKey,
    standings: &BTreeMap<Version, Standing>,
) -> Vec<Manifest> {
    let runs = standings.iter().filter_map(|(version, standing)| {
        let image = rules.allows(&key.namespace, &key.module, &standing.spec).ok()?;
        let (spec, replicas) = (&*standing.spec, standing.wanted);
        Some(Runs { version, spec, image, replicas })
    });
    ground.manifests(&runs.collect::<Vec<_>>())
}

/// The digest by which what was applied is known again.
pub fn digest(manifest: &Manifest) -> Digest {
    Digest::of(manifest.body.to_string().as_bytes())
}

/// Whether an object is there as it was applied last.
fn stands(known: &Known<'_>, key: &ModuleKey, manifest: &Manifest, memory: &Memory) -> bool {
    let Manifest { kind, name, .. } = manifest;
    let mut found = known.world.workloads(key).filter(|one| one.kind == *kind);
    let Some(found) = found.find(|one| one.id.name == *name) else { return false };
    // A claim is made once: what it asks for cannot change.
    *kind == Kind::Claim
        || memory.native.applied.get(&(*kind, name.clone()))
            == Some(&(digest(manifest), found.mark))
}

/// The labels of versions that answer until those that are to answer are ready.
fn stay(
    known: &Known<'_>,
    key: &ModuleKey,
    standings: &BTreeMap<Version, Standing>,
    others: &BTreeSet<String>,
) -> BTreeSet<String> {
    let waits = standings.values().any(|one| !matches!(one.state, State::Idle | State::Ready));
    let run = known.world.workloads(key).filter(|one| waits && one.kind == Kind::Deployment);
    run.map(|one| one.version.clone()).filter(|version| others.contains(version)).collect()
}

/// Objects of the module that are wanted no more. State stays while the module does.
fn excess(
    known: &Known<'_>,
    key: &ModuleKey,
    wanted: &[Manifest],
    stay: &BTreeSet<String>,
) -> Vec<(Kind, String, String)> {
    let gone = known.world.workloads(key).filter(|one| {
        let named = wanted.iter().any(|other| other.kind == one.kind && other.name == one.id.name);
        let made = matches!(one.kind, Kind::Pod | Kind::Claim);
        let answers_on = match one.kind {
            Kind::Deployment => stay.contains(&one.version),
            Kind::Service | Kind::NetworkPolicy => !stay.is_empty(),
            _ => false,
        };
        !named && !made && !one.leaving && !answers_on
    });
    gone.map(|one| (one.kind, one.id.name.clone(), one.id.uid.clone())).collect()
}

/// What a condition says of a version that is to run, or is not.
pub(super) fn says(standing: Option<&Standing>) -> Says {
    match standing {
        Some(standing) => {
            let (status, reason, message) = standing.says();
            Says::new(status, reason, message)
        }
        None => Says::no(Reason::Superseded, "Another version answers: its servers do not run."),
    }
}
