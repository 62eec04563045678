//! How calls move to new versions of a module: what people may change of it, and how far it got.

use roadstead_domain::{Span, Version};

/// Steps that a plan may have.
const STEPS: usize = 20;

/// Calls that a plan may ask for before a step is judged.
const CALLS: u32 = 1_000_000_000;

/// What to set of a plan; the rest stays as it is, or has its default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlanEdit {
    /// Percent of the calls that a new version gets, step by step.
    pub steps: Option<Vec<u8>>,
    /// How long each step lasts at least.
    pub interval: Option<Span>,
    /// Calls that the new version must have answered before a step is judged.
    pub minimum_calls: Option<u32>,
    /// The part of its calls that may fail by its fault.
    pub max_failure_ratio: Option<f64>,
}

impl PlanEdit {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// The setting that does not, and what it should be.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(steps) = &self.steps {
            let wrong = |why: String| Err(("steps", why));
            if steps.is_empty() || STEPS < steps.len() {
                return wrong(format!("there must be 1 to {STEPS} steps, not {}", steps.len()));
            }
            if let Some(step) = steps.iter().find(|step| !(1..=100).contains(*step)) {
                return wrong(format!("each step is a percent from 1 to 100, not {step}"));
            }
            if let Some((one, next)) = steps.iter().zip(steps.iter().skip(1)).find(|(a, b)| b <= a)
            {
                return wrong(format!("each step must be more than the one before: {one},{next}"));
            }
        }
        if self.minimum_calls.is_some_and(|calls| !(1..=CALLS).contains(&calls)) {
            return Err(("minimum_calls", format!("it must be from 1 to {CALLS}")));
        }
        if self.max_failure_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
            return Err(("max_failure_ratio", "it must be from 0 to 1, like 0.01".to_owned()));
        }
        Ok(())
    }
}

/// A change of how new versions roll out.
#[derive(Debug, Clone, PartialEq)]
pub enum RolloutEdit {
    /// They do by a plan from now on.
    Set(PlanEdit),
    /// They get all calls at once.
    Unset,
    Pause,
    Resume,
    /// A word on one version; without one, on that which is rolling out.
    Decide(RolloutAction, Option<Version>),
}

/// What a person may decide about a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutAction {
    /// It gets all calls at once.
    Promote,
    /// It gets none.
    Abort,
}

/// A module's plan, and what the controller says of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rollout {
    /// Whole, with its defaults; none where new versions get all calls at once.
    pub plan: Option<PlanEdit>,
    pub paused: bool,
    pub decision: Option<(RolloutAction, Version)>,
    pub progress: Option<RolloutProgress>,
    pub conditions: Vec<RolloutCondition>,
}

/// How far the last rollout got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutProgress {
    /// `Progressing`, `Paused`, `Completed`, `RolledBack` or `Aborted`.
    pub phase: String,
    /// Which of the steps, counted from 0.
    pub step: u32,
    pub since_unix_ms: i64,
    /// The version that answered before, and the new one.
    pub from: Version,
    pub to: Version,
}

impl RolloutProgress {
    /// Whether it has not come to its end.
    pub fn is_under_way(&self) -> bool {
        matches!(self.phase.as_str(), "Progressing" | "Paused")
    }
}

/// A condition of the module's object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RolloutCondition {
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        let steps = |steps: &[u8]| PlanEdit { steps: Some(steps.to_vec()), ..PlanEdit::default() };
        let ratio = |ratio| PlanEdit { max_failure_ratio: Some(ratio), ..PlanEdit::default() };
        let calls = |calls| PlanEdit { minimum_calls: Some(calls), ..PlanEdit::default() };
        let good = [
            PlanEdit::default(),
            steps(&[1]),
            steps(&[100]),
            steps(&[5, 25, 50, 100]),
            ratio(0.0),
            ratio(1.0),
            calls(1),
            calls(CALLS),
        ];
        for good in good {
            assert_eq!(good.check(), Ok(()));
        }
        let many: Vec<u8> = (1..=21).collect();
        for (wrong, setting, part) in [
            (steps(&[]), "steps", "1 to 20"),
            (steps(&many), "steps", "not 21"),
            (steps(&[0, 5]), "steps", "not 0"),
            (steps(&[5, 101]), "steps", "not 101"),
            (steps(&[5, 5]), "steps", "5,5"),
            (steps(&[5, 50, 25]), "steps", "50,25"),
            (ratio(-0.1), "max_failure_ratio", "0 to 1"),
            (ratio(1.1), "max_failure_ratio", "0 to 1"),
            (ratio(f64::NAN), "max_failure_ratio", "0 to 1"),
            (calls(0), "minimum_calls", "from 1"),
            (calls(CALLS + 1), "minimum_calls", "from 1"),
        ] {
            let (named, why) = wrong.check().unwrap_err();
            assert!(named == setting && why.contains(part), "{named}: {why}");
        }
    }
}
