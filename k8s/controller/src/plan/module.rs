//! What is said of a module: whether it is ready, progressing, or degraded.

use std::collections::BTreeMap;

use roadstead_domain::Version;
use roadstead_k8s_api::{ConditionKind, ConditionStatus, ModuleStatus, Reason, ServingVersion};

use super::{
    Known,
    conditions::{Paper, Says, names},
    native,
    readiness::Readiness,
    traffic::Traffic,
    version::{by_hosts, nobody},
};
use crate::{native::standing::Standing, objects::ModuleObject};

pub(super) fn status(
    known: &Known<'_>,
    module: &ModuleObject,
    traffic: &Traffic,
    readiness: &Readiness,
    standings: Option<&BTreeMap<Version, Standing>>,
) -> ModuleStatus {
    let generation = module.id.generation;
    let paper = Paper { old: &module.status.conditions, generation, now: known.now };
    let ready = standings
        .and_then(|standings| servers(traffic, standings))
        .unwrap_or_else(|| ready(traffic, readiness));
    let degraded = degraded(traffic, readiness, &ready);
    let mut conditions = Vec::new();
    let certain = traffic.obstacle.is_some() || traffic.decided.serving.is_empty();
    let unsettled = known.unsettled.filter(|_| !certain);
    conditions.extend(by_hosts(&paper, unsettled, ConditionKind::Ready, ready));
    conditions.push(paper.write(ConditionKind::Progressing, traffic.progress.clone()));
    conditions.extend(by_hosts(&paper, unsettled, ConditionKind::Degraded, degraded));
    ModuleStatus {
        observed_generation: generation,
        conditions,
        serving: traffic.decided.serving.clone(),
        rollout: traffic.decided.rollout.clone(),
    }
}

/// The status of a module whose name another has.
pub(super) fn name_taken(known: &Known<'_>, module: &ModuleObject, message: &str) -> ModuleStatus {
    let generation = module.id.generation;
    let paper = Paper { old: &module.status.conditions, generation, now: known.now };
    let no = || Says::no(Reason::NameTaken, message);
    let conditions = vec![
        paper.write(ConditionKind::Ready, no()),
        paper.write(ConditionKind::Progressing, no()),
        paper.write(ConditionKind::Degraded, Says::yes(Reason::NameTaken, message)),
    ];
    ModuleStatus { observed_generation: generation, conditions, ..ModuleStatus::default() }
}

/// What the servers of the version with most of the calls have to say, unless they are ready: then
/// it is the hosts' turn.
fn servers(traffic: &Traffic, standings: &BTreeMap<Version, Standing>) -> Option<Says> {
    let most = traffic.decided.serving.iter().max_by_key(|share| share.percent)?;
    let says = native::says(Some(standings.get(&most.version)?));
    (says.reason != Reason::Ready).then_some(says)
}

/// Whether calls that name no version are answered.
fn ready(traffic: &Traffic, readiness: &Readiness) -> Says {
    let serving = &traffic.decided.serving;
    if serving.is_empty() {
        let why = traffic.obstacle.as_ref().unwrap_or(&traffic.progress);
        return Says::no(why.reason, why.message.clone());
    }
    if let Some(nobody) = nobody(readiness) {
        let silent = nobody.reason == Reason::HostsSilent;
        let status = if silent { ConditionStatus::Unknown } else { ConditionStatus::False };
        return Says { status, ..nobody };
    }
    let most = serving.iter().max_by_key(|share| share.percent);
    if let Some(ServingVersion { version, .. }) = most {
        let on = readiness.of(version);
        if on.ready.is_empty() && !on.failing.is_empty() {
            let why = format!("{version} fails on {}.", on.problems());
            return Says::no(Reason::FailsOnHosts, why);
        }
        if on.ready.is_empty() {
            return Says::no(Reason::Compiling, format!("No host has the code of {version} yet."));
        }
    }
    let shares: Vec<String> =
        serving.iter().map(|share| format!("{} {} %", share.version, share.percent)).collect();
    let message = format!("Calls are answered by {}.", names(shares.iter().map(String::as_str)));
    Says::yes(Reason::Answering, message)
}

/// Whether someone should look at it.
fn degraded(traffic: &Traffic, readiness: &Readiness, ready: &Says) -> Says {
    if let Some(obstacle) = &traffic.obstacle {
        return obstacle.clone();
    }
    let wrong = [
        Reason::FailsOnHosts,
        Reason::NoHosts,
        Reason::HostsSilent,
        Reason::NotAllowed,
        Reason::ImageNotAllowed,
        Reason::ContractMismatch,
        Reason::BackingOff,
    ];
    if wrong.contains(&ready.reason) {
        return Says::yes(ready.reason, ready.message.clone());
    }
    for share in &traffic.decided.serving {
        let on = readiness.of(&share.version);
        if !on.failing.is_empty() {
            let why = format!("{} fails on {}.", share.version, on.problems());
            return Says::yes(Reason::FailsOnHosts, why);
        }
    }
    if traffic.progress.reason == Reason::RolledBack {
        return Says::yes(Reason::RolledBack, traffic.progress.message.clone());
    }
    Says::no(ready.reason, "Nothing is known to be wrong.")
}
