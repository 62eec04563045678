//! `roadstead proto`: .proto files, the lock and the plan, of a published module or of WIT text.

use std::{
    fs,
    path::{Component, Path},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use roadstead_domain::{ModuleName, ModuleRef, Version};
use roadstead_proto::v1 as api;
use roadstead_transcode::{Locks, World};

use super::sources;
use crate::{
    cli::{Connection, ProtoArgs},
    client::{self, Refusal},
    output,
};

pub(crate) async fn proto(to: &Connection, args: ProtoArgs) -> anyhow::Result<ExitCode> {
    let (answer, descriptors) = match (&args.module, &args.wit) {
        (Some(module), _) => (of_module(to, module).await?, None),
        (None, Some(wit)) => {
            let (answer, descriptors) = of_wit(wit, args.world.as_deref(), args.lock.as_deref())?;
            (answer, Some(descriptors))
        }
        (None, None) => bail!("name a module, or a directory of WIT files with --wit"),
    };
    if args.plan && answer.plan.is_empty() {
        bail!("the host hands out no plans: it is older than this program");
    }
    let mut written = write(&args.out, &answer)?;
    if args.plan {
        written.extend(write_plan(&args.out, &answer.plan, descriptors.as_deref())?);
    }
    if to.json {
        output::json(&serde_json::json!({ "files": written }));
    } else {
        for path in written {
            output::line(path);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The files of a published module, as its host hands them out.
pub(crate) async fn of_module(
    to: &Connection,
    module: &ModuleRef,
) -> anyhow::Result<api::GetModuleProtosResponse> {
    let request = api::GetModuleProtosRequest {
        name: module.name.to_string(),
        version: module.version.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    Ok(client::modules(to)
        .await?
        .get_module_protos(request)
        .await
        .map_err(Refusal::from)?
        .into_inner())
}

fn of_wit(
    dir: &Path,
    world: Option<&str>,
    lock: Option<&Path>,
) -> anyhow::Result<(api::GetModuleProtosResponse, Vec<u8>)> {
    let files = sources::read_wit(Some(dir))?;
    let world = World::from_wit(&files, world)?;
    let locks = match lock {
        Some(path) => sources::read_text(path)?
            .parse::<Locks>()
            .with_context(|| format!("read the lock {}", path.display()))?,
        None => Locks::default(),
    };
    // A world's own functions stand in a package named after the module; the world lends its name.
    let name: ModuleName = world.name().parse().context("name the module after its world")?;
    let derived = roadstead_transcode::derive(&world, &name, &Version::first(), &locks)?;
    for unmapped in &derived.unmapped {
        output::note(format_args!("not callable  {}: {}", unmapped.export, unmapped.reason));
    }
    let files = derived
        .files
        .iter()
        .map(|file| api::TextFile {
            path: file.name().to_owned(),
            text: roadstead_transcode::print_proto(file),
        })
        .collect();
    let methods = derived.services.iter().flat_map(|service| &service.methods);
    let plan =
        roadstead_transcode::describe(&derived.interfaces, methods.map(|method| method.as_ref()));
    let descriptors = roadstead_transcode::descriptor_set(&derived.files);
    let answer = api::GetModuleProtosResponse { files, lock: derived.locks.to_string(), plan };
    Ok((answer, descriptors))
}

/// Writes what generators of bindings read, and returns the paths. A host hands out no descriptors:
/// its reflection does.
fn write_plan(dir: &Path, plan: &str, descriptors: Option<&[u8]>) -> anyhow::Result<Vec<String>> {
    let plan = ("roadstead.plan.json", plan.as_bytes());
    let files = [Some(plan), descriptors.map(|bytes| ("roadstead.binpb", bytes))];
    let mut written = Vec::new();
    for (name, bytes) in files.into_iter().flatten() {
        let path = dir.join(name);
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

/// Writes all files under `dir` and returns their paths. A host's path that would leave `dir` is
/// refused.
pub(crate) fn write(
    dir: &Path,
    answer: &api::GetModuleProtosResponse,
) -> anyhow::Result<Vec<String>> {
    let lock = api::TextFile { path: "roadstead.lock".to_owned(), text: answer.lock.clone() };
    let mut written = Vec::new();
    for file in answer.files.iter().chain([&lock]) {
        let relative = Path::new(&file.path);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("the host names a file outside the directory: {}", file.path);
        }
        let path = dir.join(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        }
        fs::write(&path, &file.text).with_context(|| format!("write {}", path.display()))?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> api::GetModuleProtosResponse {
        let file = api::TextFile { path: path.to_owned(), text: "x".to_owned() };
        api::GetModuleProtosResponse { files: vec![file], ..Default::default() }
    }

    #[test]
    fn a_plan_and_descriptors_come_of_wit() {
        let dir = tempfile::tempdir().unwrap();
        let wit = dir.path().join("ops.wit");
        let text = "package demo:calc@0.1.0; interface ops { add: func(a: u8) -> u32; drop: func(); } \
                    world calc { export ops; }";
        fs::write(&wit, text).unwrap();
        let (answer, descriptors) = of_wit(&wit, None, None).unwrap();
        let written = write_plan(dir.path(), &answer.plan, Some(&descriptors)).unwrap();
        assert_eq!(written.len(), 2);
        let plan = fs::read_to_string(dir.path().join("roadstead.plan.json")).unwrap();
        assert!(plan.contains(r#""scalar":"u8""#), "{plan}");
        let set = fs::read(dir.path().join("roadstead.binpb")).unwrap();
        let pool = prost_reflect::DescriptorPool::decode(set.as_slice()).unwrap();
        assert!(pool.get_service_by_name("demo.calc.ops.v0_1.Ops").is_some());
        assert_eq!(write_plan(dir.path(), &answer.plan, None).unwrap().len(), 1);
    }

    #[test]
    fn files_stay_inside_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(write(dir.path(), &file("a/b.proto")).unwrap().len(), 2);
        for bad in ["../x", "/etc/x", "a/../../x"] {
            assert!(write(dir.path(), &file(bad)).is_err(), "{bad}");
        }
    }
}
