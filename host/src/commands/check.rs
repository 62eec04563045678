//! `roadstead check`: what a push would say. Alone it needs no host; with `--against` the host
//! compares with what it has.

use std::process::ExitCode;

use anyhow::Context as _;
use roadstead_domain::{Digest, Limits, ModuleName, SpecFormat, Version};
use roadstead_engine::EngineConfig;
use roadstead_proto::v1 as api;
use roadstead_transcode::{Derived, Import, Locks, World};
use tonic::Code;

use super::{push, sources};
use crate::{
    cli::{CheckArgs, Connection},
    client::{self, Refusal},
    descriptors, output, render,
};

pub(crate) async fn check(to: &Connection, args: CheckArgs) -> anyhow::Result<ExitCode> {
    let answer = match &args.against {
        Some(_) => on_host(to, &args).await?,
        None => alone(&args)?,
    };
    let module = answer.module.as_ref().context("the host answered without a module")?;
    if to.json {
        output::json(&descriptors::contract_json("CheckModuleResponse", &answer)?);
    } else {
        output::line(render::checked(module, &answer.breaks));
    }
    Ok(if answer.breaks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn on_host(to: &Connection, args: &CheckArgs) -> anyhow::Result<api::CheckModuleResponse> {
    let written = sources::read_spec(args.spec.as_deref())?;
    let component = sources::read_component(&args.file)?;
    let name = sources::module_name(args.against.clone(), &written.spec, &args.file)?;
    let header = api::PushHeader {
        name: name.to_string(),
        spec: written.text,
        spec_format: match written.format {
            SpecFormat::Toml => api::SpecFormat::Toml,
            SpecFormat::Yaml => api::SpecFormat::Yaml,
        }
        .into(),
        wit: push::text_files(sources::read_wit(args.wit.as_deref())?),
        size: component.len() as u64,
        ..api::PushHeader::default()
    };
    let answer = push::check_on_host(to, header, component.into()).await?;
    if !is_published(to, &name).await? {
        output::note(format_args!(
            "note: no module `{name}` is published here: it was compared with what callers of the \
             same packages rely on"
        ));
    }
    Ok(answer)
}

async fn is_published(to: &Connection, name: &ModuleName) -> anyhow::Result<bool> {
    let request = api::GetModuleRequest { name: name.to_string() };
    match client::modules(to).await?.get_module(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(Refusal::from(status).into()),
    }
}

fn alone(args: &CheckArgs) -> anyhow::Result<api::CheckModuleResponse> {
    let spec = sources::read_spec(args.spec.as_deref())?.spec;
    let component = sources::read_component(&args.file)?;
    let name = sources::module_name(None, &spec, &args.file)?;
    let version = spec.version.clone().unwrap_or_else(Version::first);
    let digest = Digest::of(&component);
    let size = component.len() as u64;

    let component = roadstead_transcode::to_component(&component)?;
    let mut world = World::decode(&component)?;
    if args.wit.is_some() {
        world = world.with_comments(&sources::read_wit(args.wit.as_deref())?)?;
    }
    let derived = roadstead_transcode::derive(&world, &name, &version, &Locks::default())?;
    let imports = roadstead_engine::inspect(&EngineConfig::for_machine(), &component, &spec)?;
    for import in spec.bindings.keys() {
        Import::of(&world, import, &name).with_context(|| format!("the binding of `{import}`"))?;
    }
    let module = api::ModuleVersion {
        name: name.to_string(),
        version: version.to_string(),
        digest: digest.to_string(),
        size,
        services: services(&derived, &component, &spec.limits),
        unmapped: derived
            .unmapped
            .iter()
            .map(|unmapped| api::Unmapped {
                export: unmapped.export.clone(),
                reason: unmapped.reason.clone(),
            })
            .collect(),
        imports: imports
            .into_iter()
            .map(|import| api::Import { name: import.name, grant: import.grant })
            .collect(),
        spec_json: serde_json::to_string(&spec).context("write the spec as JSON")?,
        isolation: "sandbox".to_owned(),
        ..api::ModuleVersion::default()
    };
    Ok(api::CheckModuleResponse { module: Some(module), breaks: Vec::new() })
}

fn services(derived: &Derived, component: &[u8], limits: &Limits) -> Vec<api::Service> {
    let methods = derived.services.iter().flat_map(|service| service.methods.iter().cloned());
    let mut reasons =
        roadstead_codec::unserved(component, &methods.collect::<Vec<_>>()).into_iter();
    derived
        .services
        .iter()
        .map(|service| api::Service {
            name: service.name.clone(),
            methods: service
                .methods
                .iter()
                .map(|method| {
                    let reason = reasons.next().flatten();
                    let [input_limit, output_limit] =
                        [limits.input, limits.output].map(|size| size.of(reason.is_none()).0);
                    api::Method {
                        name: method.method.clone(),
                        export: method.export.to_string(),
                        path: if reason.is_none() { "compiled" } else { "dynamic" }.to_owned(),
                        path_reason: reason.unwrap_or_default(),
                        input_limit,
                        output_limit,
                    }
                })
                .collect(),
        })
        .collect()
}
