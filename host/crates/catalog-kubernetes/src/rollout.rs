//! How calls move to new versions: what a module's object says of it, and what people change of it.
//! Pure.

use roadstead_catalog::{
    CatalogError, ModuleRecord, PlanEdit, Rollout, RolloutAction, RolloutCondition, RolloutEdit,
    RolloutProgress,
};
use roadstead_domain::{ModuleName, Version};
use roadstead_k8s_api::{self as k8s, Decision, DecisionAction, RolloutStatus};
use serde_json::Value;

use crate::objects::ModuleObject;

/// The plan as it is written.
///
/// # Errors
/// [`CatalogError::RolloutRefused`] where a newer release wrote it, or nobody that knows how.
fn written(module: &ModuleObject) -> Result<Option<k8s::Rollout>, CatalogError> {
    let read = |written: &Value| {
        serde_json::from_value(written.clone()).map_err(|error| {
            let name = &module.name;
            CatalogError::RolloutRefused(format!("the rollout of Module {name}: {error}"))
        })
    };
    module.rollout.as_ref().map(read).transpose()
}

/// What a module's object says of its rollouts; of its status, what reads.
pub(crate) fn of(module: &ModuleObject) -> Result<Rollout, CatalogError> {
    let progress = progress(module);
    let conditions = module.progress.as_ref().and_then(|said| said.get("conditions")?.as_array());
    let conditions = conditions.into_iter().flatten().map(condition).collect();
    let Some(written) = written(module)? else {
        return Ok(Rollout { progress, conditions, ..Rollout::default() });
    };
    let k8s::Rollout { steps, interval, minimum_calls, max_failure_ratio, paused, decision } =
        written;
    let plan = PlanEdit {
        steps: Some(steps),
        interval: Some(interval),
        minimum_calls: Some(minimum_calls),
        max_failure_ratio: Some(max_failure_ratio),
    };
    let decision = decision.map(|Decision { version, action }| {
        let action = match action {
            DecisionAction::Promote => RolloutAction::Promote,
            DecisionAction::Abort => RolloutAction::Abort,
        };
        (action, version)
    });
    Ok(Rollout { plan: Some(plan), paused, decision, progress, conditions })
}

fn progress(module: &ModuleObject) -> Option<RolloutProgress> {
    let said = module.progress.as_ref()?.get("rollout")?.clone();
    let RolloutStatus { from, to, phase, step, since } = serde_json::from_value(said).ok()?;
    let since_unix_ms = since.0.as_millisecond();
    Some(RolloutProgress { phase: format!("{phase:?}"), step, since_unix_ms, from, to })
}

fn condition(said: &Value) -> RolloutCondition {
    let text = |key: &str| said.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    RolloutCondition {
        kind: text("type"),
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
    }
}

/// What is to be written after an edit; none where it changes nothing.
pub(crate) fn edited(
    module: &ModuleObject,
    record: &ModuleRecord,
    edit: RolloutEdit,
) -> Result<Option<Option<k8s::Rollout>>, CatalogError> {
    let before = written(module)?;
    let planned = || {
        let name = &module.name;
        let why = format!("`{name}` has no rollout: `roadstead rollout set {name}` makes one");
        before.clone().ok_or(CatalogError::RolloutRefused(why))
    };
    let after = match edit {
        RolloutEdit::Unset => None,
        RolloutEdit::Set(plan) => Some(set(before.clone().unwrap_or_default(), plan)?),
        RolloutEdit::Pause => Some(k8s::Rollout { paused: true, ..planned()? }),
        RolloutEdit::Resume => Some(k8s::Rollout { paused: false, ..planned()? }),
        RolloutEdit::Decide(action, version) => {
            let planned = planned()?;
            let version = meant(module, record, version)?;
            let action = match action {
                RolloutAction::Promote => DecisionAction::Promote,
                RolloutAction::Abort => DecisionAction::Abort,
            };
            Some(k8s::Rollout { decision: Some(Decision { version, action }), ..planned })
        }
    };
    Ok((after != before).then_some(after))
}

fn set(rollout: k8s::Rollout, plan: PlanEdit) -> Result<k8s::Rollout, CatalogError> {
    plan.check()
        .map_err(|(setting, why)| CatalogError::RolloutRefused(format!("{setting}: {why}")))?;
    let PlanEdit { steps, interval, minimum_calls, max_failure_ratio } = plan;
    Ok(k8s::Rollout {
        steps: steps.unwrap_or(rollout.steps),
        interval: interval.unwrap_or(rollout.interval),
        minimum_calls: minimum_calls.unwrap_or(rollout.minimum_calls),
        max_failure_ratio: max_failure_ratio.unwrap_or(rollout.max_failure_ratio),
        ..rollout
    })
}

/// The version that a decision is about.
fn meant(
    module: &ModuleObject,
    record: &ModuleRecord,
    version: Option<Version>,
) -> Result<Version, CatalogError> {
    let name: &ModuleName = &module.name;
    let version = match version {
        Some(version) => version,
        None => {
            let under_way = progress(module).filter(RolloutProgress::is_under_way);
            let none = || format!("no version of `{name}` is rolling out: say which one you mean");
            under_way.ok_or_else(|| CatalogError::RolloutRefused(none()))?.to
        }
    };
    if !record.versions.contains_key(&version) {
        return Err(CatalogError::NoSuchVersion { name: name.clone(), version });
    }
    let tried = progress(module).is_some_and(|progress| progress.to == version);
    let newer = record
        .versions
        .keys()
        .any(|other| (!other.is_prerelease(), other) > (!version.is_prerelease(), &version));
    if newer && !tried {
        return Err(CatalogError::RolloutRefused(format!(
            "{version} is neither the newest version of `{name}` nor the one that was rolled out \
             last: `roadstead pin {name}@{version}` lets it answer"
        )));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use roadstead_k8s_api::rules::Deleted;
    use serde_json::json;

    use super::*;

    fn module(rollout: Value, progress: Value) -> ModuleObject {
        ModuleObject {
            uid: "u".to_owned(),
            native: false,
            created: 0,
            name: "m".parse().unwrap(),
            pinned: None,
            highest: None,
            deleted: Deleted::default(),
            traffic: None,
            rollout: (!rollout.is_null()).then_some(rollout),
            progress: Some(progress),
            leaving: false,
        }
    }

    fn record() -> ModuleRecord {
        let record = Arc::new(crate::convert::tests::full());
        let versions = ["0.1.0", "0.2.0"].map(|text| (text.parse().unwrap(), Arc::clone(&record)));
        let versions: BTreeMap<_, _> = versions.into_iter().collect();
        let highest = "0.2.0".parse().unwrap();
        ModuleRecord { versions, pinned: None, traffic: None, highest }
    }

    fn under_way(phase: &str) -> Value {
        let since = "2026-01-02T03:04:05Z";
        json!({
            "rollout": {"from": "0.1.0", "to": "0.2.0", "phase": phase, "step": 1, "since": since},
            "conditions": [
                {"type": "Progressing", "status": "True", "reason": "WaitsForCalls",
                 "message": "12 of 100 calls", "newer": 1},
                {"type": 7},
            ],
        })
    }

    #[test]
    fn the_status_is_told_as_far_as_it_reads() {
        let rollout = of(&module(json!({"steps": [5, 100]}), under_way("Progressing"))).unwrap();
        let progress = rollout.progress.unwrap();
        assert_eq!((progress.phase.as_str(), progress.step), ("Progressing", 1));
        assert_eq!(progress.since_unix_ms, 1_767_323_045_000);
        assert!(progress.is_under_way());
        assert_eq!(rollout.conditions[0].message, "12 of 100 calls");
        assert_eq!(rollout.conditions[1], RolloutCondition::default());
        assert_eq!(rollout.plan.unwrap().steps, Some(vec![5, 100]));
        for strange in [json!(null), json!({"rollout": 7}), under_way("Newer")] {
            assert_eq!(of(&module(json!(null), strange)).unwrap().progress, None);
        }
        // What a newer release asks for is not overwritten by halves.
        let newer = module(json!({"steps": [5], "newer": 1}), json!(null));
        assert!(matches!(of(&newer), Err(CatalogError::RolloutRefused(_))));
        let error = edited(&newer, &record(), RolloutEdit::Pause).unwrap_err();
        assert!(error.to_string().contains("newer"), "{error}");
    }

    #[test]
    fn a_decision_is_about_the_version_that_is_rolling_out() {
        let decide = |phase: &str, version: Option<&str>| {
            let version = version.map(|version| version.parse().unwrap());
            let edit = RolloutEdit::Decide(RolloutAction::Abort, version);
            let after = edited(&module(json!({}), under_way(phase)), &record(), edit)?;
            Ok::<_, CatalogError>(after.unwrap().unwrap().decision.unwrap().version.to_string())
        };
        assert_eq!(decide("Progressing", None).unwrap(), "0.2.0");
        assert_eq!(decide("Paused", None).unwrap(), "0.2.0");
        assert_eq!(decide("Completed", Some("0.2.0")).unwrap(), "0.2.0");
        assert!(decide("Paused", Some("0.1.0")).is_err(), "it would do nothing");
        assert!(decide("Completed", None).is_err());
        assert!(decide("Progressing", Some("0.3.0")).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_not_written() {
        let plan = PlanEdit { steps: Some(vec![50, 5]), ..PlanEdit::default() };
        let error = edited(&module(json!(null), json!(null)), &record(), RolloutEdit::Set(plan));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("steps") && error.contains("50,5"), "{error}");
    }
}
