//! A scenario: what happens step by step, in a world without servers.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};

use roadstead_domain::{NativeSpec, Version};
use roadstead_native_plan::{
    Action, Attempt, Contract, Demand, End, Ended, Module, Moment, Plan, Progress, Wanted, Why,
    plan,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    #[expect(dead_code, reason = "it is for who reads the file")]
    about: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Seconds since the first step.
    at: f64,
    /// All versions that are to run from now on.
    want: Option<BTreeMap<Version, NativeSpec>>,
    /// Calls that run or wait; of a version that had some and has none, the last one ends now.
    #[serde(default)]
    calls: BTreeMap<Version, u64>,
    /// Servers, by epoch, that are ready from now on.
    #[serde(default)]
    ready: Vec<u64>,
    /// That say no more that they serve, and how many probes they have left unanswered.
    #[serde(default)]
    missed: BTreeMap<u64, u32>,
    /// Calls in them, and seconds since the last sign of progress.
    #[serde(default)]
    progress: BTreeMap<u64, (u64, u64)>,
    /// That differ from their contract, and how.
    #[serde(default)]
    broken: BTreeMap<u64, String>,
    /// That end by themselves; why, or nothing where they were asked to.
    #[serde(default)]
    ends: BTreeMap<u64, Option<String>>,
    /// Epochs that an earlier host had claimed.
    claimed: Option<u64>,
}

/// The plans of a scenario, as text.
pub(crate) fn play(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let scenario: Scenario =
        serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut module = Module::default();
    let mut shown = String::new();
    for step in scenario.steps {
        let now = Moment(Duration::from_secs_f64(step.at));
        writeln!(shown, "- at: {}", step.at).unwrap();
        happen(&mut module, step, now);
        let mut done = Vec::new();
        let last = loop {
            let plan = plan(&module, now);
            for action in &plan.actions {
                act(&mut module, action, now);
                check(&module);
            }
            if plan.actions.is_empty() {
                break plan;
            }
            done.extend(plan.actions);
            assert!(done.len() < 50, "{}: it comes to no end", path.display());
        };
        show(&mut shown, &done, &last);
    }
    shown
}

fn happen(module: &mut Module, step: Step, now: Moment) {
    module.epoch = step.claimed.unwrap_or(module.epoch);
    if let Some(want) = step.want {
        let demand = Demand { calls: 0, last: now };
        let wanted = |spec| Wanted { spec: Arc::new(spec), demand };
        let earlier = std::mem::take(&mut module.versions);
        module.versions = want.into_iter().map(|(version, spec)| (version, wanted(spec))).collect();
        for (version, wanted) in &mut module.versions {
            wanted.demand = earlier.get(version).map_or(demand, |earlier| earlier.demand);
        }
    }
    for (version, calls) in step.calls {
        let demand = &mut module.versions.get_mut(&version).unwrap().demand;
        *demand = Demand { calls, last: now };
    }
    for epoch in step.ready {
        let one = attempt(module, epoch);
        one.contract = Contract::Kept;
        one.serving = true;
        one.missed = 0;
        one.ready.get_or_insert(now);
    }
    for (epoch, missed) in step.missed {
        let one = attempt(module, epoch);
        (one.serving, one.missed) = (false, missed);
    }
    for (epoch, (calls, idle)) in step.progress {
        attempt(module, epoch).progress = Some(Progress { calls, idle: Duration::from_secs(idle) });
    }
    for (epoch, how) in step.broken {
        attempt(module, epoch).contract = Contract::Broken(how);
    }
    for (epoch, why) in step.ends {
        let how = why.map_or(End::Drained, End::Failed);
        attempt(module, epoch).ended = Some(Ended { at: now, how });
    }
}

fn attempt(module: &mut Module, epoch: u64) -> &mut Attempt {
    let found = module.attempts.iter_mut().find(|one| one.epoch == epoch && one.lives());
    found.unwrap_or_else(|| panic!("there is no attempt {epoch}"))
}

fn act(module: &mut Module, action: &Action, now: Moment) {
    match action {
        Action::Claim { epoch } => {
            assert!(*epoch > module.epoch, "epochs go up");
            module.epoch = *epoch;
        }
        Action::Start { version, epoch } => {
            assert!(*epoch <= module.epoch, "epoch {epoch} is not claimed");
            let spec = Arc::clone(&module.versions[version].spec);
            module.attempts.push(Attempt::new(*epoch, version.clone(), spec, now));
        }
        Action::Drain { epoch } => attempt(module, *epoch).draining = Some(now),
        Action::End { epoch, why } => {
            let how = match why {
                Why::Grace => End::Drained,
                Why::Failed(why) => End::Failed(why.clone()),
                Why::Mismatch(how) => End::Mismatch(how.clone()),
            };
            attempt(module, *epoch).ended = Some(Ended { at: now, how });
        }
    }
}

/// What holds whatever happens.
fn check(module: &Module) {
    let live: Vec<_> = module.attempts.iter().filter(|one| one.lives()).collect();
    let stateful = live.iter().any(|one| one.spec.stateful);
    assert!(!stateful || live.len() == 1, "two attempts of a stateful module");
}

fn show(shown: &mut String, done: &[Action], last: &Plan) {
    for action in done {
        match action {
            Action::Claim { epoch } => writeln!(shown, "  - claim {epoch}"),
            Action::Start { version, epoch } => writeln!(shown, "  - start {epoch} of {version}"),
            Action::Drain { epoch } => writeln!(shown, "  - drain {epoch}"),
            Action::End { epoch, why } => writeln!(shown, "  - end {epoch}: {why:?}"),
        }
        .unwrap();
    }
    for (version, standing) in &last.versions {
        let retry = standing.retry.map(|at| format!(" until {:?}", at.0)).unwrap_or_default();
        writeln!(shown, "  {version}: {:?}{retry}", standing.state).unwrap();
    }
    if let Some(again) = last.again {
        writeln!(shown, "  again: {:?}", again.0).unwrap();
    }
}
