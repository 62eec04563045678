//! `roadstead proto`: .proto files and the lock, of a published module or of WIT text.

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
    let answer = match (&args.module, &args.wit) {
        (Some(module), _) => of_module(to, module).await?,
        (None, Some(wit)) => of_wit(wit, args.world.as_deref(), args.lock.as_deref())?,
        (None, None) => bail!("name a module, or a directory of WIT files with --wit"),
    };
    let written = write(&args.out, &answer)?;
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
) -> anyhow::Result<api::GetModuleProtosResponse> {
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
    Ok(api::GetModuleProtosResponse { files, lock: derived.locks.to_string() })
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
        api::GetModuleProtosResponse { files: vec![file], lock: String::new() }
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
