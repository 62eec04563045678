//! Reading what a push or a check is given: the component, its spec, WIT text and lock.

mod native;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use roadstead_domain::{ModuleName, ModuleSpec, SpecFormat};

use crate::cli::NativeArgs;

/// What a push or a check is given, read.
pub(crate) struct Given {
    pub name: ModuleName,
    pub written: WrittenSpec,
    /// A component, or the WIT of a native module.
    pub bytes: Vec<u8>,
    /// WIT text that goes beside the bytes.
    pub wit: Vec<(String, String)>,
}

/// Reads a component with its spec and WIT text, or a native module's spec with its WIT.
pub(crate) fn read(
    name: Option<ModuleName>,
    file: Option<&Path>,
    (native, spec): (&NativeArgs, Option<&Path>),
    wit: Option<&Path>,
) -> anyhow::Result<Given> {
    if let Some(path) = &native.native {
        return native::read(name, path, wit, native.world.as_deref());
    }
    let file = file.context("name a component, or a spec with --native")?;
    let written = read_spec(spec)?;
    let name = module_name(name, &written.spec, file)?;
    Ok(Given { name, written, bytes: read_component(file)?, wit: read_wit(wit)? })
}

/// A spec as it stands in its file, already checked.
pub(crate) struct WrittenSpec {
    pub text: String,
    pub format: SpecFormat,
    pub spec: ModuleSpec,
}

fn read_spec(path: Option<&Path>) -> anyhow::Result<WrittenSpec> {
    let Some(path) = path else {
        return Ok(WrittenSpec {
            text: String::new(),
            format: SpecFormat::Yaml,
            spec: ModuleSpec::default(),
        });
    };
    checked(path, read_text(path)?, format_of(path)?)
}

fn format_of(path: &Path) -> anyhow::Result<SpecFormat> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    SpecFormat::from_extension(extension)
        .with_context(|| format!("{} must end in .toml, .yaml or .yml", path.display()))
}

fn checked(path: &Path, text: String, format: SpecFormat) -> anyhow::Result<WrittenSpec> {
    let spec = ModuleSpec::parse(&text, format)
        .with_context(|| format!("read the spec {}", path.display()))?;
    Ok(WrittenSpec { text, format, spec })
}

pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// The bytes of a component: what is plainly something else is refused before any upload.
fn read_component(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    if !bytes.starts_with(b"\0asm") {
        bail!(
            "{} is not WebAssembly: push what `cargo build --target wasm32-wasip2` or \
             `roadstead-componentize` wrote, a file that ends in .wasm",
            path.display()
        );
    }
    Ok(bytes)
}

/// The module's name: the flag, else the spec's, else the file's.
fn module_name(
    flag: Option<ModuleName>,
    spec: &ModuleSpec,
    file: &Path,
) -> anyhow::Result<ModuleName> {
    if let Some(name) = flag.or_else(|| spec.name.clone()) {
        return Ok(name);
    }
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.replace('_', "-").parse().with_context(|| {
        format!("no module name follows from the file name `{stem}`: give one with --name")
    })
}

/// All WIT files under a directory, by relative path; `deps` included.
pub(crate) fn read_wit(dir: Option<&Path>) -> anyhow::Result<Vec<(String, String)>> {
    let Some(dir) = dir else { return Ok(Vec::new()) };
    if dir.is_file() {
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("world.wit");
        return Ok(vec![(name.to_owned(), read_text(dir)?)]);
    }
    let mut files = Vec::new();
    collect_wit(dir, dir, &mut files)?;
    if files.is_empty() {
        bail!("{} holds no .wit file", dir.display());
    }
    files.sort();
    Ok(files)
}

fn collect_wit(root: &Path, dir: &Path, into: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    for entry in entries {
        let path: PathBuf = entry.with_context(|| format!("read {}", dir.display()))?.path();
        if path.is_dir() {
            collect_wit(root, &path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "wit") {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            into.push((relative, read_text(&path)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_from_the_flag_the_spec_or_the_file() {
        let spec = ModuleSpec { name: "from-spec".parse().ok(), ..ModuleSpec::default() };
        let none = ModuleSpec::default();
        let file = Path::new("target/text_stats.wasm");
        let named = |flag: Option<&str>, spec| {
            module_name(flag.and_then(|f| f.parse().ok()), spec, file).unwrap().to_string()
        };
        assert_eq!(named(Some("flag"), &spec), "flag");
        assert_eq!(named(None, &spec), "from-spec");
        assert_eq!(named(None, &none), "text-stats");
        assert!(module_name(None, &none, Path::new("Ä.wasm")).is_err());
    }

    #[test]
    fn other_files_are_not_uploaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wasm");
        fs::write(&path, "hello").unwrap();
        assert!(read_component(&path).unwrap_err().to_string().contains("not WebAssembly"));
        assert!(read_component(&dir.path().join("none.wasm")).is_err());
    }

    #[test]
    fn wit_files_are_found_in_folders() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_wit(Some(dir.path())).is_err());
        fs::create_dir(dir.path().join("deps")).unwrap();
        fs::write(dir.path().join("world.wit"), "a").unwrap();
        fs::write(dir.path().join("deps/b.wit"), "b").unwrap();
        let found = read_wit(Some(dir.path())).unwrap();
        assert_eq!(found[0], ("deps/b.wit".to_owned(), "b".to_owned()));
        assert_eq!(found[1].0, "world.wit");
    }
}
