//! `list`, `describe`, `offers`, `delete`, `pin` and `unpin`: the catalog's verbs.

use std::process::ExitCode;

use anyhow::Context as _;
use roadstead_proto::v1 as api;

use crate::{
    cli::{Connection, NameArgs, OffersArgs, PinArgs, RefArgs},
    client::{self, Refusal},
    descriptors, output, render,
};

pub(crate) async fn list(to: &Connection) -> anyhow::Result<ExitCode> {
    let answer = client::modules(to)
        .await?
        .list_modules(api::ListModulesRequest {})
        .await
        .map_err(Refusal::from)?
        .into_inner();
    if to.json {
        output::json(&descriptors::contract_json("ListModulesResponse", &answer)?);
    } else {
        output::line(render::list(&answer.modules));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn describe(to: &Connection, args: NameArgs) -> anyhow::Result<ExitCode> {
    let answer = client::modules(to)
        .await?
        .get_module(api::GetModuleRequest { name: args.name.to_string() })
        .await
        .map_err(Refusal::from)?
        .into_inner();
    show(to, answer.module)
}

pub(crate) async fn offers(to: &Connection, args: OffersArgs) -> anyhow::Result<ExitCode> {
    let answer = client::modules(to)
        .await?
        .list_offers(api::ListOffersRequest { all_namespaces: args.all_namespaces })
        .await
        .map_err(Refusal::from)?
        .into_inner();
    if to.json {
        output::json(&descriptors::contract_json("ListOffersResponse", &answer)?);
    } else {
        output::line(render::offers(&answer.offers));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn delete(to: &Connection, args: RefArgs) -> anyhow::Result<ExitCode> {
    let name = args.module.name.to_string();
    let request = api::DeleteModuleRequest {
        name: name.clone(),
        version: args.module.version.map(|version| version.to_string()).unwrap_or_default(),
    };
    let answer = client::modules(to)
        .await?
        .delete_module(request)
        .await
        .map_err(Refusal::from)?
        .into_inner();
    if to.json {
        output::json(&descriptors::contract_json("DeleteModuleResponse", &answer)?);
    } else {
        for version in answer.deleted_versions {
            output::line(format_args!("deleted {name}@{version}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn pin(to: &Connection, args: PinArgs) -> anyhow::Result<ExitCode> {
    let (name, version) = args.module;
    let request = api::PinModuleRequest { name: name.to_string(), version: version.to_string() };
    let answer =
        client::modules(to).await?.pin_module(request).await.map_err(Refusal::from)?.into_inner();
    if !to.json {
        output::line(format_args!("{name}@{version} is pinned"));
        return Ok(ExitCode::SUCCESS);
    }
    show(to, answer.module)
}

pub(crate) async fn unpin(to: &Connection, args: NameArgs) -> anyhow::Result<ExitCode> {
    let answer = client::modules(to)
        .await?
        .unpin_module(api::UnpinModuleRequest { name: args.name.to_string() })
        .await
        .map_err(Refusal::from)?
        .into_inner();
    if !to.json {
        output::line(format_args!("{}: the newest version answers", args.name));
        return Ok(ExitCode::SUCCESS);
    }
    show(to, answer.module)
}

fn show(to: &Connection, module: Option<api::Module>) -> anyhow::Result<ExitCode> {
    let module = module.context("the host answered without a module")?;
    if to.json {
        output::json(&descriptors::contract_json("Module", &module)?);
    } else {
        output::line(render::module(&module));
    }
    Ok(ExitCode::SUCCESS)
}
