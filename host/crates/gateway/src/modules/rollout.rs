//! How new versions roll out, in the contract's messages and back.

use std::time::Duration;

use roadstead_domain::{Fault, ModuleName, Namespace, Span};
use roadstead_proto::v1 as pb;
use roadstead_registry::{
    PlanEdit, Registry, Rollout, RolloutAction, RolloutCondition, RolloutEdit,
};
use tonic::Status;

use super::optional_version;
use crate::status::from_fault;

/// What a request asks for.
pub(super) fn edit(request: &pb::UpdateRolloutRequest) -> Result<RolloutEdit, Status> {
    use pb::RolloutAction as Action;
    let decide = |action| {
        optional_version(&request.version).map(|version| RolloutEdit::Decide(action, version))
    };
    match request.action() {
        Action::Set => plan(request.plan.clone().unwrap_or_default()).map(RolloutEdit::Set),
        Action::Unset => Ok(RolloutEdit::Unset),
        Action::Pause => Ok(RolloutEdit::Pause),
        Action::Resume => Ok(RolloutEdit::Resume),
        Action::Promote => decide(RolloutAction::Promote),
        Action::Abort => decide(RolloutAction::Abort),
        Action::Unspecified => Err(bad("action", "is none that this host knows")),
    }
}

fn plan(plan: pb::RolloutPlan) -> Result<PlanEdit, Status> {
    let pb::RolloutPlan { steps, interval_ms, minimum_calls, max_failure_ratio } = plan;
    // What is no percent at all is told with the other steps that are none.
    let percent = |step: u32| u8::try_from(step).unwrap_or(u8::MAX);
    let steps: Vec<u8> = steps.into_iter().map(percent).collect();
    let interval = interval_ms.map(span).transpose()?;
    let steps = (!steps.is_empty()).then_some(steps);
    let plan = PlanEdit { steps, interval, minimum_calls, max_failure_ratio };
    match plan.check() {
        Ok(()) => Ok(plan),
        Err((setting, why)) => Err(bad(&format!("plan.{setting}"), &why)),
    }
}

fn span(ms: u64) -> Result<Span, Status> {
    let text = format!("{ms}ms");
    text.parse().map_err(|error| bad("plan.interval_ms", &format!("{error}")))
}

fn bad(field: &str, why: &str) -> Status {
    from_fault(&Fault::bad_input(field, why), true)
}

/// What the catalog says of a module's rollouts, and what part of the calls its new version has.
pub(super) fn rollout(
    registry: &Registry,
    namespace: &Namespace,
    name: &ModuleName,
    found: Rollout,
) -> pb::Rollout {
    let Rollout { plan, paused, decision, progress, conditions } = found;
    let mut told = pb::Rollout {
        name: name.to_string(),
        plan: plan.map(told_plan),
        paused,
        conditions: conditions.into_iter().map(condition).collect(),
        ..pb::Rollout::default()
    };
    if let Some((action, version)) = decision {
        let action = match action {
            RolloutAction::Promote => pb::RolloutAction::Promote,
            RolloutAction::Abort => pb::RolloutAction::Abort,
        };
        (told.decision, told.decided) = (action.into(), version.to_string());
    }
    if let Some(progress) = progress {
        let serving = registry.get(namespace, name);
        told.percent = serving.map_or(0, |module| module.percent(&progress.to));
        told.step = progress.step.saturating_add(1);
        told.phase = progress.phase;
        told.since_unix_ms = progress.since_unix_ms;
        (told.from, told.to) = (progress.from.to_string(), progress.to.to_string());
    }
    told
}

fn told_plan(plan: PlanEdit) -> pb::RolloutPlan {
    let PlanEdit { steps, interval, minimum_calls, max_failure_ratio } = plan;
    let ms = |span: Span| millis(span.duration());
    let steps = steps.unwrap_or_default().into_iter().map(u32::from).collect();
    let interval_ms = interval.map(ms);
    pb::RolloutPlan { steps, interval_ms, minimum_calls, max_failure_ratio }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn condition(found: RolloutCondition) -> pb::RolloutCondition {
    let RolloutCondition { kind, status, reason, message } = found;
    pb::RolloutCondition { r#type: kind, status, reason, message }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn set(plan: pb::RolloutPlan) -> Result<RolloutEdit, Status> {
        let mut request = pb::UpdateRolloutRequest { plan: Some(plan), ..Default::default() };
        request.set_action(pb::RolloutAction::Set);
        edit(&request)
    }

    #[test]
    fn what_makes_no_sense_names_its_field() {
        let plan = pb::RolloutPlan::default;
        assert_eq!(set(plan()).unwrap(), RolloutEdit::Set(PlanEdit::default()));
        for (wrong, field) in [
            (pb::RolloutPlan { steps: vec![50, 5], ..plan() }, "plan.steps"),
            (pb::RolloutPlan { steps: vec![5, 356], ..plan() }, "plan.steps"),
            (pb::RolloutPlan { minimum_calls: Some(0), ..plan() }, "plan.minimum_calls"),
            (pb::RolloutPlan { max_failure_ratio: Some(2.0), ..plan() }, "plan.max_failure_ratio"),
        ] {
            let status = set(wrong).unwrap_err();
            let details = status.get_details_bad_request().unwrap();
            assert_eq!(details.field_violations[0].field, field);
        }
        assert!(edit(&pb::UpdateRolloutRequest::default()).is_err());
        let mut promote =
            pb::UpdateRolloutRequest { version: "x".to_owned(), ..Default::default() };
        promote.set_action(pb::RolloutAction::Promote);
        assert!(edit(&promote).is_err());
    }
}
