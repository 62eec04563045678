//! How new versions of a module roll out, as text for people.

use std::time::Duration;

use roadstead_proto::v1 as api;

use super::{line, utc};

/// The plan, how far the last rollout got, and why it waits.
pub(crate) fn rollout(rollout: &api::Rollout) -> String {
    let mut text = String::new();
    let api::Rollout { name, plan, paused, phase, from, to, .. } = rollout;
    match plan {
        None => line(&mut text, format_args!("{name}: new versions get all calls at once")),
        Some(plan) => {
            let paused = if *paused { " (paused)" } else { "" };
            line(&mut text, format_args!("{name}: new versions get calls step by step{paused}"));
            plan_lines(&mut text, plan);
        }
    }
    if !phase.is_empty() {
        let since = utc(rollout.since_unix_ms);
        line(&mut text, format_args!("  phase     {phase} since {since}"));
        let steps = plan.as_ref().map_or(0, |plan| plan.steps.len());
        let step = rollout.step;
        let at = if steps == 0 { String::new() } else { format!(", step {step} of {steps}") };
        line(&mut text, format_args!("  versions  {from} -> {to}: {} %{at}", rollout.percent));
    }
    if !rollout.decided.is_empty() {
        let word = match rollout.decision() {
            api::RolloutAction::Promote => "promoted",
            api::RolloutAction::Abort => "aborted",
            _ => "decided",
        };
        line(&mut text, format_args!("  decision  {} {word}", rollout.decided));
    }
    for condition in &rollout.conditions {
        let api::RolloutCondition { r#type, status, reason, message } = condition;
        line(&mut text, format_args!("  {type}={status} {reason}: {message}"));
    }
    text.trim_end().to_owned()
}

fn plan_lines(text: &mut String, plan: &api::RolloutPlan) {
    let steps: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
    line(text, format_args!("  steps     {} %", steps.join(", ")));
    if let Some(ms) = plan.interval_ms {
        let span = humantime::format_duration(Duration::from_millis(ms));
        line(text, format_args!("  interval  {span} each, or longer"));
    }
    if let (Some(calls), Some(ratio)) = (plan.minimum_calls, plan.max_failure_ratio) {
        let percent = ratio * 100.0;
        line(text, format_args!("  judged    after {calls} calls, by {percent} % that may fail"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_says_where_it_is_and_why_it_waits() {
        let plan = api::RolloutPlan {
            steps: vec![5, 25, 100],
            interval_ms: Some(300_000),
            minimum_calls: Some(100),
            max_failure_ratio: Some(0.01),
        };
        let mut told = api::Rollout { name: "calc".to_owned(), ..Default::default() };
        assert_eq!(rollout(&told), "calc: new versions get all calls at once");
        told.plan = Some(plan);
        told.paused = true;
        told.phase = "Paused".to_owned();
        (told.step, told.percent) = (2, 25);
        (told.from, told.to) = ("0.1.0".to_owned(), "0.2.0".to_owned());
        told.decided = "0.2.0".to_owned();
        told.set_decision(api::RolloutAction::Promote);
        told.conditions = vec![api::RolloutCondition {
            r#type: "Progressing".to_owned(),
            status: "False".to_owned(),
            reason: "Paused".to_owned(),
            message: "resume it".to_owned(),
        }];
        let text = rollout(&told);
        for part in [
            "step by step (paused)",
            "5, 25, 100 %",
            "5m each",
            "after 100 calls, by 1 % that may fail",
            "Paused since 1970",
            "0.1.0 -> 0.2.0: 25 %, step 2 of 3",
            "0.2.0 promoted",
            "Progressing=False Paused: resume it",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
