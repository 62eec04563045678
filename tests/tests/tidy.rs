//! Repository rules that neither rustc nor clippy can check.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Lines a source file may have before its test module.
const MAX_LINES: usize = 500;

/// `(package, crates it must never depend on, even transitively)`.
///
/// `transcode` uses value types of wasmtime, which bring neither `tokio` nor the like.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "roadstead-domain",
        &["tokio", "tonic", "hyper", "wasmtime", "wasmtime-wasi", "kube", "redb", "object_store"],
    ),
    (
        "roadstead-transcode",
        &["tokio", "tonic", "hyper", "wasmtime-wasi", "kube", "redb", "object_store"],
    ),
    (
        "roadstead-codec",
        &["tokio", "tonic", "hyper", "wasmtime-wasi", "kube", "redb", "object_store"],
    ),
    ("roadstead-engine", &["tonic", "kube", "redb", "object_store"]),
    ("roadstead-blobs", &["tonic", "wasmtime", "kube", "redb"]),
    ("roadstead-catalog", &["tonic", "wasmtime", "wasmtime-wasi", "object_store"]),
    ("roadstead-catalog-kubernetes", &["tonic", "wasmtime", "roadstead-transcode", "object_store"]),
    (
        "roadstead-k8s-api",
        &["tonic", "wasmtime", "roadstead-transcode", "roadstead-catalog", "kube-client", "redb"],
    ),
    // It follows objects of any kind, and knows none.
    ("roadstead-k8s-watch", &["tonic", "roadstead-domain", "roadstead-k8s-api"]),
    ("roadstead-registry", &["tonic", "kube"]),
    ("roadstead-auth", &["tonic", "wasmtime", "kube", "redb", "object_store"]),
    ("roadstead-fleet", &["kube", "roadstead-catalog-kubernetes", "roadstead-gateway"]),
    ("roadstead-gateway", &["kube"]),
    // It reads bytes, of callers and of servers, and knows neither.
    ("roadstead-manners", &["tonic", "hyper", "h2", "roadstead-domain"]),
    // It decides for processes and for pods, and knows neither.
    (
        "roadstead-native-plan",
        &["tokio", "tonic", "hyper", "wasmtime", "kube", "redb", "roadstead-engine"],
    ),
    ("roadstead-native", &["kube", "redb", "object_store", "roadstead-registry"]),
    ("roadstead-proto", &["wasmtime", "kube"]),
    // It judges nothing that runs: hosts tell it, and the rules of `k8s-api` decide.
    (
        "roadstead-controller",
        &[
            "wasmtime",
            "wasmtime-wasi",
            "roadstead-transcode",
            "roadstead-engine",
            "roadstead-registry",
            "roadstead-catalog",
            "roadstead-gateway",
            "redb",
            "object_store",
        ],
    ),
];

/// `(prefix of a dependency's name, packages whose manifest may name it)`.
const NAMED_ONLY_BY: &[(&str, &[&str])] = &[
    ("wasmtime-wasi", &["roadstead-engine", "roadstead-bench"]),
    (
        "wasmtime",
        &[
            "roadstead-engine",
            "roadstead-transcode",
            "roadstead-codec",
            "roadstead-fuzz",
            "roadstead-bench",
        ],
    ),
    (
        "tonic",
        &[
            "roadstead-gateway",
            // The client of the controller's one stream.
            "roadstead-fleet",
            "roadstead-proto",
            "roadstead",
            "roadstead-bench",
            "roadstead-tests",
            // Serves the hosts' streams on its own port, and cannot link the gateway: it would bring
            // the sandbox along.
            "roadstead-controller",
        ],
    ),
    ("opentelemetry", &["roadstead-gateway"]),
    ("redb", &["roadstead-catalog"]),
    ("object_store", &["roadstead-blobs"]),
];

#[test]
fn source_files_are_short_and_introduced() {
    let mut complaints = Vec::new();
    for path in files(&root(), &|name| name.ends_with(".rs")) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if MAX_LINES < lines {
            complaints.push(format!("{}: {lines} lines, limit {MAX_LINES}", path.display()));
        }
        if !text.starts_with("//!") {
            complaints.push(format!("{}: no module doc on line 1", path.display()));
        }
        if path.ends_with("mod.rs") {
            complaints.push(format!("{}: name it after its module", path.display()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn layers_do_not_leak() {
    for (package, forbidden) in FORBIDDEN {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
            .args(["--locked", "--package", package])
            // Where the user's settings unify features over the workspace, all of it is listed.
            .env("CARGO_RESOLVER_FEATURE_UNIFICATION", "selected")
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(package), "cargo tree lists {package} itself");
        for name in *forbidden {
            assert!(!names.contains(name), "{package} must not depend on {name}");
        }
    }
}

#[test]
fn only_one_layer_names_the_sandbox_and_the_wire() {
    for manifest in manifests() {
        for dependency in manifest.dependencies() {
            let rule = NAMED_ONLY_BY.iter().find(|(prefix, _)| dependency.starts_with(prefix));
            let Some((prefix, allowed)) = rule else { continue };
            assert!(
                allowed.contains(&manifest.package.as_str()),
                "{} names {dependency}, but {prefix} belongs to {allowed:?}",
                manifest.path.display()
            );
        }
    }
}

/// Plans read no clock, and talk to nobody: what they need is given to them.
#[test]
fn plans_are_pure() {
    let source = root().join("k8s/controller/src");
    let rust = |name: &str| name.ends_with(".rs");
    let mut plan = files(&source.join("plan"), &rust);
    plan.push(source.join("plan.rs"));
    plan.extend(files(&root().join("host/crates/native-plan/src"), &rust));
    assert!(plan.len() > 12, "the walk works");
    for path in plan {
        let text = fs::read_to_string(&path).unwrap();
        for impure in ["async", ".await", "now()", "tokio", "kube::", "tonic", "std::fs", "rand::"]
        {
            assert!(!text.contains(impure), "{} names {impure}", path.display());
        }
    }
}

/// Only the controller writes status: no other crate names the subresource.
#[test]
fn only_the_controller_writes_status() {
    for folder in ["host", "k8s/api/src", "proto/src"] {
        for path in files(&root().join(folder), &|name| name.ends_with(".rs")) {
            let text = fs::read_to_string(&path).unwrap();
            for write in ["patch_status", "replace_status"] {
                assert!(!text.contains(write), "{} names {write}", path.display());
            }
        }
    }
}

#[test]
fn every_crate_inherits_lints_and_versions() {
    for manifest in manifests() {
        let path = manifest.path.display();
        let lints = manifest.table.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(lints, Some(&toml::Value::Boolean(true)), "{path}: [lints] workspace = true");
        for (name, how) in manifest.dependency_tables() {
            let shared = how.get("workspace").is_some() || how.get("path").is_some();
            assert!(shared, "{path}: the version of {name} belongs to the workspace");
        }
        assert!(manifest.table["package"].get("license").is_some(), "{path}: inherits the licence");
    }
}

#[test]
fn nothing_is_left_undone() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK:")];
    let ignored = [concat!("#[ign", "ore"), concat!("pytest.mark.sk", "ip"), concat!("xf", "ail")];
    let mut complaints = Vec::new();
    let text_file = |name: &str| {
        [".rs", ".py", ".md", ".toml", ".proto", ".wit", ".yaml", ".yml", ".sh"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
            || name == "Makefile"
    };
    for path in files(&root(), &text_file) {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            for mark in marks.iter().chain(&ignored) {
                if line.contains(mark) {
                    complaints.push(format!("{}:{}: {mark}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_documents_name_commands_that_exist() {
    let targets = make_targets();
    let mut named = BTreeSet::new();
    for path in files(&root(), &|name| name.ends_with(".md")) {
        let text = fs::read_to_string(&path).unwrap();
        for target in code(&text).lines().flat_map(make_arguments) {
            assert!(
                targets.contains(&target),
                "{} names `make {target}`, which the Makefile does not have",
                path.display()
            );
            named.insert(target);
        }
    }
    for main in ["demo", "test"] {
        assert!(named.contains(main), "the README shows `make {main}`");
    }
}

/// The targets on a line like `make test` or `$ make demo  # all of it`.
fn make_arguments(line: &str) -> Vec<String> {
    let line = line.trim_start_matches(['$', ' ']);
    let Some(rest) = line.strip_prefix("make ") else { return Vec::new() };
    rest.split_whitespace()
        .take_while(|word| !word.starts_with('#'))
        .filter(|word| !word.contains('=') && !word.starts_with('-'))
        .map(str::to_owned)
        .collect()
}

/// The fenced blocks and the code spans of a Markdown text, one a line.
fn code(markdown: &str) -> String {
    let mut found = String::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push_str(line);
            found.push('\n');
        } else {
            for span in line.split('`').skip(1).step_by(2) {
                found.push_str(span);
                found.push('\n');
            }
        }
    }
    found
}

fn make_targets() -> BTreeSet<String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', ' ', '#', '.']))
        .filter_map(|line| line.split_once(':'))
        .filter(|(_, rest)| !rest.starts_with('='))
        .flat_map(|(names, _)| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

struct Manifest {
    path: PathBuf,
    package: String,
    table: toml::Table,
}

impl Manifest {
    fn dependency_tables(&self) -> impl Iterator<Item = (&String, &toml::Value)> {
        ["dependencies", "dev-dependencies", "build-dependencies"]
            .into_iter()
            .filter_map(|kind| self.table.get(kind)?.as_table())
            .flatten()
    }

    fn dependencies(&self) -> impl Iterator<Item = &str> {
        self.dependency_tables().map(|(name, _)| name.as_str())
    }
}

/// The manifests of all packages, those of guests too.
fn manifests() -> Vec<Manifest> {
    let found: Vec<_> = files(&root(), &|name| name == "Cargo.toml")
        .into_iter()
        .filter_map(|path| {
            let table: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
            let package = table.get("package")?["name"].as_str().unwrap().to_owned();
            Some(Manifest { path, package, table })
        })
        .collect();
    assert!(found.iter().any(|manifest| manifest.package == "roadstead"), "the walk works");
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Files that people wrote: no build outputs, no generated code, nothing of a package manager.
fn files(dir: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name().to_str().unwrap().to_owned();
        if entry.file_type().unwrap().is_dir() {
            let hidden = name.starts_with('.') && name != ".ci";
            if !hidden && !matches!(name.as_str(), "target" | "gen" | "node_modules") {
                found.extend(files(&path, wanted));
            }
        } else if wanted(&name) {
            found.push(path);
        }
    }
    found
}
