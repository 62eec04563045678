//! One step of a rollout: whether it goes on, back, or stays.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use roadstead_domain::Version;
use roadstead_k8s_api::{Reason, Rollout, RolloutPhase, RolloutStatus, ServingVersion};

use super::{
    Decided, Wait,
    conditions::Says,
    traffic::{Rolling, Traffic, all_to},
    window::Tally,
};

/// The rollout at its step, whatever its calls say.
pub(super) fn step(rolling: &Rolling<'_>, rollout: RolloutStatus) -> Traffic {
    let Step { percent, number, of, .. } = Step::of(rolling.rules, rollout.step);
    let until = due(rolling.rules, &rollout);
    let RolloutStatus { from, to, .. } = &rollout;
    let why = format!("{to} gets {percent} % in step {number} of {of}, until {until:.0} at least.");
    let serving = shares(from, to, percent);
    let decided = Decided { serving, rollout: Some(rollout), why: None };
    let progress = Says::yes(Reason::RollingOut, why);
    Traffic::new(decided, progress).wait(Wait::until("the step to be over", until))
}

/// It stays where it is until it is told otherwise.
pub(super) fn paused(rolling: &Rolling<'_>, rollout: &RolloutStatus) -> Traffic {
    let Step { percent, number, of, .. } = Step::of(rolling.rules, rollout.step);
    let (from, to) = (&rollout.from, &rollout.to);
    let since = match rollout.phase {
        RolloutPhase::Paused => rollout.since.clone(),
        _ => Time(rolling.ground.now),
    };
    let phase = RolloutPhase::Paused;
    let serving = shares(from, to, percent);
    let rollout = Some(RolloutStatus { phase, since, ..rollout.clone() });
    let why = format!("{to} stays at {percent} %, step {number} of {of}.");
    let traffic =
        Traffic::new(Decided { serving, rollout, why: None }, Says::no(Reason::Paused, why));
    traffic.wait(Wait::new("spec.rollout.paused to be false"))
}

/// By what its calls say.
pub(super) fn judge(rolling: &Rolling<'_>, rollout: &RolloutStatus) -> Traffic {
    let (rules, now) = (rolling.rules, rolling.ground.now);
    if rollout.phase == RolloutPhase::Paused {
        let (phase, since) = (RolloutPhase::Progressing, Time(now));
        return step(rolling, RolloutStatus { phase, since, ..rollout.clone() });
    }
    let RolloutStatus { from, to, .. } = rollout;
    let tally = rolling.ground.tally.unwrap_or_default();
    let enough = u64::from(rules.minimum_calls) <= tally.calls;
    if enough && rules.max_failure_ratio < ratio(tally) {
        let Tally { calls, failures } = tally;
        let most = rules.max_failure_ratio * 100.0;
        let why = format!(
            "{failures} of {calls} calls of {to} failed, more than {most} %: {from} answers."
        );
        return rolling.back(rollout, RolloutPhase::RolledBack, why);
    }
    let mut traffic = step(rolling, rollout.clone());
    if now < due(rules, rollout) {
        return traffic;
    }
    traffic.waits.clear();
    let missing = u64::from(rules.minimum_calls).saturating_sub(tally.calls);
    let on = rolling.ground.readiness.of(to);
    let Step { percent, number, of, last } = Step::of(rules, rollout.step);
    if !enough {
        let least = rules.minimum_calls;
        let why = format!(
            "{to} stays at {percent} %, step {number} of {of}, until it has answered {least} calls."
        );
        traffic.progress = Says::yes(Reason::TooFewCalls, why);
        return traffic.wait(Wait::new(format!("{missing} more calls of {to}")));
    }
    if let Some(until) = rolling.ground.unsettled {
        return traffic.wait(Wait::until("hosts to find this controller", until));
    }
    if !on.failing.is_empty() {
        let why = format!("{to} stays at {percent} %: it fails on {}.", on.problems());
        traffic.progress = Says::yes(Reason::WaitsForHosts, why);
        return traffic.wait(Wait::new(format!("{to} to run on all hosts")));
    }
    let Tally { calls, failures } = tally;
    let figures = format!("{failures} of {calls} calls failed at {percent} %.");
    if last {
        return rolling.complete(rollout, figures);
    }
    let next = RolloutStatus { step: rollout.step + 1, since: Time(now), ..rollout.clone() };
    let percent = Step::of(rules, next.step).percent;
    let note = format!("{to} gets {percent} % now; {figures}");
    step(rolling, next).event(false, "RolloutStep", note)
}

struct Step {
    percent: u8,
    number: usize,
    of: usize,
    last: bool,
}

impl Step {
    /// Where someone took steps away, the last one that is left.
    fn of(rules: &Rollout, step: u32) -> Self {
        let of = rules.steps.len().max(1);
        let number = usize::try_from(step).unwrap_or(usize::MAX).saturating_add(1).min(of);
        let percent = rules.steps.get(number - 1).copied().unwrap_or(100).min(100);
        Self { percent, number, of, last: number == of }
    }
}

fn shares(from: &Version, to: &Version, percent: u8) -> Vec<ServingVersion> {
    if percent == 100 {
        return all_to(to);
    }
    let share = |version: &Version, percent| ServingVersion { version: version.clone(), percent };
    vec![share(from, 100_u8.saturating_sub(percent)), share(to, percent)]
}

/// When the step may end.
fn due(rules: &Rollout, rollout: &RolloutStatus) -> Timestamp {
    let interval =
        SignedDuration::try_from(rules.interval.duration()).unwrap_or(SignedDuration::MAX);
    rollout.since.0.checked_add(interval).unwrap_or(Timestamp::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of counts is no exact number")]
fn ratio(tally: Tally) -> f64 {
    if tally.calls == 0 { 0.0 } else { tally.failures as f64 / tally.calls as f64 }
}
