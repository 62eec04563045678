//! `roadstead check`: what a push would say. Alone it needs no host; with `--against` the host
//! compares with what it has.

use std::process::ExitCode;

use anyhow::Context as _;
use roadstead_domain::{Digest, Limits, ModuleName, SpecFormat, Version};
use roadstead_engine::EngineConfig;
use roadstead_proto::v1 as api;
use roadstead_registry::native_fits;
use roadstead_transcode::{Derived, Import, Locks, World};
use tonic::Code;

use super::{
    push,
    sources::{self, Given},
};
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
    let Given { name, written, bytes, wit } = given(args.against.clone(), args)?;
    let header = api::PushHeader {
        name: name.to_string(),
        spec: written.text,
        spec_format: match written.format {
            SpecFormat::Toml => api::SpecFormat::Toml,
            SpecFormat::Yaml => api::SpecFormat::Yaml,
        }
        .into(),
        wit: push::text_files(wit),
        size: bytes.len() as u64,
        ..api::PushHeader::default()
    };
    let answer = push::check_on_host(to, header, bytes.into()).await?;
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

fn given(name: Option<ModuleName>, args: &CheckArgs) -> anyhow::Result<Given> {
    let (spec, wit) = (args.spec.as_deref(), args.wit.as_deref());
    sources::read(name, args.file.as_deref(), (&args.native, spec), wit)
}

fn alone(args: &CheckArgs) -> anyhow::Result<api::CheckModuleResponse> {
    let Given { name, written, bytes, wit } = given(None, args)?;
    let spec = written.spec;
    let version = spec.version.clone().unwrap_or_else(Version::first);
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    let native = spec.native.as_ref();
    let isolation = match native {
        None => "sandbox",
        Some(native) if native.command.is_empty() => "container",
        Some(_) => "process",
    };
    let (world, component) = match native {
        Some(_) => (World::decode_package(&bytes)?, None),
        None => {
            let component = roadstead_transcode::to_component(&bytes)?;
            (World::decode(&component)?, Some(component))
        }
    };
    let world = world.with_comments(&wit)?;
    let derived = roadstead_transcode::derive(&world, &name, &version, &Locks::default())?;
    if native.is_some() {
        native_fits(&spec, &derived).map_err(anyhow::Error::msg)?;
    }
    let imports = match &component {
        Some(bytes) => roadstead_engine::inspect(&EngineConfig::for_machine(), bytes, &spec)?,
        None => Vec::new(),
    };
    for import in spec.bindings.keys() {
        Import::of(&world, import, &name).with_context(|| format!("the binding of `{import}`"))?;
    }
    let module = api::ModuleVersion {
        name: name.to_string(),
        version: version.to_string(),
        digest: digest.to_string(),
        size,
        services: services(&derived, component.as_deref(), &spec.limits),
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
        isolation: isolation.to_owned(),
        kind: if native.is_some() { "native" } else { "component" }.to_owned(),
        ..api::ModuleVersion::default()
    };
    Ok(api::CheckModuleResponse { module: Some(module), breaks: Vec::new() })
}

/// Without a component, messages go as they are.
fn services(derived: &Derived, component: Option<&[u8]>, limits: &Limits) -> Vec<api::Service> {
    let methods = derived.services.iter().flat_map(|service| service.methods.iter().cloned());
    let methods: Vec<_> = methods.collect();
    let reasons = component.map(|component| roadstead_codec::unserved(component, &methods));
    let mut reasons = reasons.unwrap_or_default().into_iter();
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
                        path: match (component, &reason) {
                            (None, _) => "passed",
                            (_, None) => "compiled",
                            (_, Some(_)) => "dynamic",
                        }
                        .to_owned(),
                        path_reason: reason.unwrap_or_default(),
                        input_limit,
                        output_limit,
                    }
                })
                .collect(),
        })
        .collect()
}
