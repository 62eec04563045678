//! `roadstead rollout`: how calls move to new versions of a module.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use roadstead_domain::ModuleRef;
use roadstead_proto::v1 as api;

use crate::{
    cli::{Connection, RolloutArgs, RolloutVerb, SetArgs},
    client::{self, Refusal},
    descriptors, output, render,
};

/// How often `status --watch` looks.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn rollout(to: &Connection, args: RolloutArgs) -> anyhow::Result<ExitCode> {
    use api::RolloutAction as Action;
    let (name, action) = match args.what {
        RolloutVerb::Status { name, watch } => return status(to, name.as_str(), watch).await,
        RolloutVerb::Set(args) => return update(to, plan(args)).await,
        RolloutVerb::Unset { name } => (ModuleRef { name, version: None }, Action::Unset),
        RolloutVerb::Pause { name } => (ModuleRef { name, version: None }, Action::Pause),
        RolloutVerb::Resume { name } => (ModuleRef { name, version: None }, Action::Resume),
        RolloutVerb::Promote { module } => (module, Action::Promote),
        RolloutVerb::Abort { module } => (module, Action::Abort),
    };
    let ModuleRef { name, version } = name;
    let version = version.map(|version| version.to_string()).unwrap_or_default();
    let (name, action) = (name.to_string(), action.into());
    update(to, api::UpdateRolloutRequest { name, action, plan: None, version }).await
}

fn plan(args: SetArgs) -> api::UpdateRolloutRequest {
    let SetArgs { name, steps, interval, minimum_calls, max_failure_ratio } = args;
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let interval_ms = interval.map(ms);
    let plan = api::RolloutPlan { steps, interval_ms, minimum_calls, max_failure_ratio };
    let (name, action) = (name.to_string(), api::RolloutAction::Set.into());
    api::UpdateRolloutRequest { name, action, plan: Some(plan), version: String::new() }
}

async fn update(to: &Connection, request: api::UpdateRolloutRequest) -> anyhow::Result<ExitCode> {
    let answer = client::modules(to).await?.update_rollout(request).await;
    let answer = answer.map_err(Refusal::from)?.into_inner();
    show(to, &answer.rollout.context("the host answered without a rollout")?)?;
    Ok(ExitCode::SUCCESS)
}

async fn status(to: &Connection, name: &str, watch: bool) -> anyhow::Result<ExitCode> {
    let mut modules = client::modules(to).await?;
    let mut shown = None;
    loop {
        let request = api::GetRolloutRequest { name: name.to_owned() };
        let answer = modules.get_rollout(request).await.map_err(Refusal::from)?.into_inner();
        let now = answer.rollout.context("the host answered without a rollout")?;
        if shown.as_ref() != Some(&now) {
            show(to, &now)?;
            shown = Some(now);
        }
        if !watch {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn show(to: &Connection, rollout: &api::Rollout) -> anyhow::Result<()> {
    if to.json {
        output::json(&descriptors::contract_json("Rollout", rollout)?);
    } else {
        output::line(render::rollout(rollout));
    }
    Ok(())
}
