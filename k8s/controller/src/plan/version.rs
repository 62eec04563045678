//! What is said of one version: whether it is accepted, compiled, and serving.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use roadstead_domain::Version;
use roadstead_k8s_api::{Condition, ConditionKind, ConditionStatus, ModuleVersionStatus, Reason};

use super::{
    Event, Known, VersionPlan,
    conditions::{Paper, Says, differ, hosts},
    native,
    readiness::Readiness,
    traffic::Traffic,
};
use crate::{
    hosts::Judged,
    native::standing::Standing,
    objects::{ModuleObject, VersionObject},
    world::ModuleKey,
};

/// Why a version is none.
pub(super) struct Verdict {
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

/// What a version's status is made from.
pub(super) struct Ground<'a> {
    pub(super) known: &'a Known<'a>,
    pub(super) key: &'a ModuleKey,
    pub(super) module: &'a ModuleObject,
    pub(super) object: &'a VersionObject,
    pub(super) readiness: &'a Readiness,
    /// Of a native module, how the versions stand that are to run.
    pub(super) standings: Option<&'a BTreeMap<Version, Standing>>,
}

/// Reasons that a host may give for a version that is not published.
const JUDGED: [Reason; 7] = [
    Reason::BreaksContract,
    Reason::LocksMoved,
    Reason::BlobMissing,
    Reason::Malformed,
    Reason::NeverFits,
    Reason::NotOffered,
    Reason::CompileFailed,
];

pub(super) fn without_module(key: &ModuleKey, object: &VersionObject) -> Verdict {
    let (status, reason) = (ConditionStatus::False, Reason::NoModule);
    match &object.says {
        Err(why) => Verdict { status, reason: Reason::Malformed, message: why.clone() },
        Ok(_) => {
            Verdict { status, reason, message: format!("There is no module `{}`.", key.module) }
        }
    }
}

/// A version of a module whose name another has.
pub(super) fn name_taken(message: &str) -> Verdict {
    verdict(Reason::NameTaken, message)
}

/// What stands between being accepted and answering: compiled code, or servers.
fn middle(object: &VersionObject) -> ConditionKind {
    if object.native { ConditionKind::Ready } else { ConditionKind::Compiled }
}

/// A version that nothing serves.
pub(super) fn refused(now: Timestamp, object: &VersionObject, verdict: &Verdict) -> VersionPlan {
    let paper = Paper { old: &object.conditions, generation: object.id.generation, now };
    let Verdict { status, reason, message } = verdict;
    let says = |status, message: &str| Says::new(status, *reason, message);
    let status = ModuleVersionStatus {
        conditions: vec![
            paper.write(ConditionKind::Accepted, says(*status, message)),
            paper.write(middle(object), says(*status, "It is not accepted.")),
            paper
                .write(ConditionKind::Serving, says(ConditionStatus::False, "It is not accepted.")),
        ],
    };
    let write = differ(&object.conditions, &status.conditions);
    VersionPlan { write, adopt: None, status }
}

pub(super) fn plan(
    ground: &Ground<'_>,
    published: bool,
    traffic: &Traffic,
    share: impl Fn(&Version) -> Option<u8>,
) -> (VersionPlan, Option<Event>) {
    let Ground { known, object, module, .. } = *ground;
    let said = match &object.says {
        Ok(said) if published => said,
        _ => return unpublished(ground),
    };
    let paper = Paper { old: &object.conditions, generation: object.id.generation, now: known.now };
    let accepted = Says::yes(Reason::Published, "Its locks are in the chains of its namespace.");
    let mut conditions = vec![paper.write(ConditionKind::Accepted, accepted)];
    let percent = share(&said.version);
    if let Some(standings) = ground.standings {
        let standing = standings.get(&said.version);
        conditions.push(paper.write(ConditionKind::Ready, native::says(standing)));
        let serving = match (percent, standing) {
            (Some(_), Some(standing)) if !standing.can_be_called() => {
                Says::no(native::says(Some(standing)).reason, "Its servers are not ready.")
            }
            (Some(percent), _) => answering(percent),
            (None, _) => idle(ground, &said.version, traffic),
        };
        conditions.push(paper.write(ConditionKind::Serving, serving));
    } else {
        let of_hosts = [
            (ConditionKind::Compiled, compiled(ground.readiness, &said.version)),
            (ConditionKind::Serving, serving(ground, &said.version, traffic, percent)),
        ];
        for (kind, says) in of_hosts {
            conditions.extend(by_hosts(&paper, known.unsettled, kind, says));
        }
    }
    let adopt = object.owner.is_none().then(|| module.id.uid.clone());
    let write = differ(&object.conditions, &conditions);
    (VersionPlan { write, adopt, status: ModuleVersionStatus { conditions } }, None)
}

/// What hosts say, once they had time to say it; until then what stood there before.
pub(super) fn by_hosts(
    paper: &Paper<'_>,
    unsettled: Option<Timestamp>,
    kind: ConditionKind,
    says: Says,
) -> Option<Condition> {
    match unsettled {
        Some(_) => paper.old(kind).cloned(),
        None => Some(paper.write(kind, says)),
    }
}

/// A version that exists and is not published, or belongs to an earlier module.
fn unpublished(ground: &Ground<'_>) -> (VersionPlan, Option<Event>) {
    let Ground { known, key, module, object, readiness, .. } = ground;
    let own = object.owner.as_deref().is_none_or(|owner| owner == module.id.uid);
    let verdict = match &object.says {
        Err(why) => verdict(Reason::Malformed, why),
        Ok(said) if module.deleted.holds(&said.version) => {
            verdict(Reason::NoModule, "It is deleted; its object goes next.")
        }
        Ok(_) if !own => {
            verdict(Reason::NoModule, "It belongs to an earlier module of the same name.")
        }
        Ok(_) => judged(known, key, object, readiness),
    };
    let broke = |reason| {
        object
            .conditions
            .iter()
            .any(|one| one.kind == ConditionKind::Accepted && one.reason == reason)
    };
    let event =
        (verdict.reason == Reason::BreaksContract && !broke(Reason::BreaksContract)).then(|| {
            Event {
                version: Some(object.id.name.clone()),
                warning: true,
                reason: Reason::BreaksContract.as_str(),
                action: "Judge".to_owned(),
                note: verdict.message.clone(),
            }
        });
    let mut plan = refused(known.now, object, &verdict);
    let exists = object.says.as_ref().is_ok_and(|said| !module.deleted.holds(&said.version));
    plan.adopt = (exists && object.owner.is_none()).then(|| module.id.uid.clone());
    (plan, event)
}

fn verdict(reason: Reason, message: &str) -> Verdict {
    Verdict { status: ConditionStatus::False, reason, message: message.to_owned() }
}

/// What hosts say about its locks. While no host is heard, the last word stands.
fn judged(
    known: &Known<'_>,
    key: &ModuleKey,
    object: &VersionObject,
    readiness: &Readiness,
) -> Verdict {
    let place = (key.namespace.clone(), object.id.uid.clone());
    let heard = known.hosts.serving(&key.namespace).filter(|(_, host)| host.live);
    let mut words = heard.filter_map(|(_, host)| host.judgements.get(&place));
    if let Some((reason, Judged { message, .. })) =
        words.find_map(|judged| Some((reason(&judged.reason)?, judged)))
    {
        return verdict(reason, message);
    }
    let old = object.conditions.iter().find(|one| one.kind == ConditionKind::Accepted);
    let stands = old.filter(|old| {
        JUDGED.contains(&old.reason) && (known.unsettled.is_some() || readiness.live == 0)
    });
    match stands {
        Some(old) => verdict(old.reason, &old.message),
        None => Verdict {
            status: ConditionStatus::Unknown,
            reason: Reason::Pending,
            message: "No host has judged its locks yet.".to_owned(),
        },
    }
}

fn reason(word: &str) -> Option<Reason> {
    JUDGED.into_iter().find(|reason| reason.as_str() == word)
}

fn compiled(readiness: &Readiness, version: &Version) -> Says {
    if let Some(nobody) = nobody(readiness) {
        return nobody;
    }
    let on = readiness.of(version);
    if !on.failing.is_empty() {
        return Says::no(Reason::FailsOnHosts, format!("It fails on {}.", on.problems()));
    }
    let (all, ready) = (readiness.live, on.ready.len());
    if ready == all {
        let message = format!("On {}.", hosts(all));
        return Says::yes(Reason::CompiledEverywhere, message);
    }
    let message = format!("On {ready} of {}; not yet on {}.", hosts(all), on.missing());
    Says::no(Reason::Compiling, message)
}

fn serving(ground: &Ground<'_>, version: &Version, traffic: &Traffic, percent: Option<u8>) -> Says {
    let readiness = ground.readiness;
    let Some(percent) = percent else {
        return idle(ground, version, traffic);
    };
    if let Some(nobody) = nobody(readiness) {
        return nobody;
    }
    let on = readiness.of(version);
    let ready = on.ready.len();
    if ready == 0 && on.failing.is_empty() {
        return Says::no(Reason::Compiling, "No host has its code yet.");
    }
    if ready == 0 {
        return Says::no(Reason::FailsOnHosts, format!("It fails on {}.", on.problems()));
    }
    answering(percent)
}

fn answering(percent: u8) -> Says {
    let message = format!("It gets {percent} % of the calls that name no version.");
    Says::yes(Reason::Answering, message)
}

/// A version that gets no calls unless they name it.
fn idle(ground: &Ground<'_>, version: &Version, traffic: &Traffic) -> Says {
    let old = ground.object.conditions.iter().find(|one| one.kind == ConditionKind::Serving);
    let before = old.map(|old| old.reason);
    let before = before.filter(|reason| matches!(reason, Reason::RolledBack | Reason::Aborted));
    let about = traffic.decided.rollout.as_ref().is_some_and(|rollout| rollout.to == *version);
    let refused = traffic.refused(version).or(before.filter(|_| !about));
    match refused {
        Some(reason) => Says::no(reason, "It is not tried again until it is promoted."),
        None => {
            let message = "It gets only calls that name it; other versions answer the others.";
            Says::no(Reason::Superseded, message)
        }
    }
}

/// What is said where no host is heard.
pub(super) fn nobody(readiness: &Readiness) -> Option<Says> {
    if readiness.live > 0 {
        return None;
    }
    if readiness.silent.is_empty() {
        return Some(Says::unknown(Reason::NoHosts, "No host serves its namespace."));
    }
    let names = super::conditions::names(readiness.silent.iter().map(String::as_str));
    let message = format!("Nothing is heard of {names}.");
    Some(Says::unknown(Reason::HostsSilent, message))
}
