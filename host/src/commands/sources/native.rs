//! A native module as it is pushed: its spec, and its WIT as bytes in the place of a component.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use roadstead_domain::{ModuleName, SpecFormat};
use roadstead_transcode::World;
use serde_norway::Value;

use super::{Given, checked, format_of, read_text, read_wit};

/// What a spec file says for `push` alone: hosts do not know these.
#[derive(Debug, Default, PartialEq, Eq)]
struct Where {
    /// The WIT, relative to the file.
    wit: Option<String>,
    world: Option<String>,
}

pub(super) fn read(
    name: Option<ModuleName>,
    path: &Path,
    wit: Option<&Path>,
    world: Option<&str>,
) -> anyhow::Result<Given> {
    let format = format_of(path)?;
    let (text, told) = split(&read_text(path)?, format)
        .with_context(|| format!("read the spec {}", path.display()))?;
    let written = checked(path, text, format)?;
    if written.spec.native.is_none() {
        bail!("{} has no `native`: push it as the --spec of a component", path.display());
    }
    let Some(name) = name.or_else(|| written.spec.name.clone()) else {
        bail!("the module has no name: give one with --name or in {}", path.display());
    };
    let beside = |told: &String| path.parent().unwrap_or(Path::new("")).join(told);
    let Some(wit) = wit.map(PathBuf::from).or_else(|| told.wit.as_ref().map(beside)) else {
        bail!("say where its WIT is: with --wit DIR, or `wit: DIR` in {}", path.display());
    };
    let world = World::from_wit(&read_wit(Some(&wit))?, world.or(told.world.as_deref()))
        .with_context(|| format!("read {}", wit.display()))?;
    // The comments are in the bytes.
    Ok(Given { name, written, bytes: world.to_package()?, wit: Vec::new() })
}

/// The text that a host is sent, and what is meant for `push` alone.
fn split(text: &str, format: SpecFormat) -> anyhow::Result<(String, Where)> {
    let mut told = Where::default();
    let fields = [("wit", &mut told.wit), ("world", &mut told.world)];
    let text = match format {
        SpecFormat::Toml => {
            let mut table: toml::Table = text.parse()?;
            for (field, into) in fields {
                *into = match table.remove(field) {
                    Some(toml::Value::String(value)) => Some(value),
                    Some(_) => bail!("`{field}` must be text"),
                    None => None,
                };
            }
            toml::to_string(&table)?
        }
        SpecFormat::Yaml => {
            let mut value: Value = serde_norway::from_str(text)?;
            let Value::Mapping(map) = &mut value else { bail!("it is empty, or no mapping") };
            for (field, into) in fields {
                *into = match map.remove(field) {
                    Some(Value::String(value)) => Some(value),
                    Some(_) => bail!("`{field}` must be text"),
                    None => None,
                };
            }
            serde_norway::to_string(&value)?
        }
    };
    Ok((text, told))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const WIT: &str = "package demo:calc@0.1.0; interface ops { add: func(a: u8) -> u32; } \
                       world one { export ops; } world two {}";

    fn given(file: &str, spec: &str) -> anyhow::Result<Given> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("wit")).unwrap();
        fs::write(dir.path().join("wit/ops.wit"), WIT).unwrap();
        fs::write(dir.path().join(file), spec).unwrap();
        read(None, &dir.path().join(file), None, None)
    }

    #[test]
    fn the_spec_names_its_wit_and_a_host_hears_nothing_of_that() {
        for (file, spec) in [
            ("a.yaml", "name: calc\nwit: wit\nworld: one\nnative: {command: [calc]}"),
            ("a.toml", "name = 'calc'\nwit = 'wit'\nworld = 'one'\nnative.command = ['calc']"),
        ] {
            let given = given(file, spec).unwrap();
            assert!(!given.written.text.contains("wit"), "{}", given.written.text);
            assert_eq!(given.written.spec.native.unwrap().command, ["calc"]);
            assert_eq!(given.name.as_str(), "calc");
            assert_eq!(World::decode_package(&given.bytes).unwrap().name(), "one");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (spec, part) in [
            ("native: {command: [a]}\nwit: wit\nworld: one", "--name"),
            ("name: a\nnative: {command: [a]}", "--wit DIR"),
            ("name: a\nwit: wit\nworld: one", "no `native`"),
            ("name: a\nwit: wit\nnative: {command: [a]}", "world"),
            ("name: a\nwit: none\nnative: {command: [a]}", "none"),
            ("name: a\nwit: [a]\nnative: {command: [a]}", "`wit` must be text"),
            ("", "mapping"),
        ] {
            let error = format!("{:#}", given("a.yaml", spec).err().unwrap());
            assert!(error.contains(part), "{spec}: {error}");
        }
    }
}
