//! The whole program in its quick mode, against the host that was built beside it: every group gives
//! rows, a record is kept, and two records compare. No figure is looked at.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_roadstead-bench");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn host() -> PathBuf {
    let host = Path::new(BENCH).with_file_name("roadstead");
    assert!(host.exists(), "{} is missing: cargo build -p roadstead", host.display());
    host
}

fn bench(args: &[&str]) -> Output {
    let output = Command::new(BENCH).args(args).current_dir(root()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "roadstead-bench {args:?}: {errors}");
    output
}

/// The guests in Rust alone: the others take long to compile.
fn guests(into: &Path) {
    for guest in ["rust.wasm", "session.wasm", "flow.wasm", "through.wasm"] {
        let from = root().join(".build/bench").join(guest);
        fs::copy(&from, into.join(guest))
            .unwrap_or_else(|error| panic!("{}: {error}: run make modules", from.display()));
    }
}

#[test]
fn a_quick_run_measures_every_group_and_keeps_a_record() {
    let directory = tempfile::tempdir().unwrap();
    guests(directory.path());
    let history = directory.path().join("history");
    let (host, history_path) = (host(), history.to_str().unwrap());
    let output = bench(&[
        "--quick",
        "--json",
        "--record",
        history_path,
        "--bin",
        host.to_str().unwrap(),
        "--guests",
        directory.path().to_str().unwrap(),
        "--ray-python",
        "none",
        "--fastapi-python",
        "none",
        "--jax-python",
        "none",
    ]);
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = printed["rows"].as_array().unwrap();
    let measured: BTreeSet<_> = rows.iter().map(|row| row["group"].as_str().unwrap()).collect();
    let groups = [
        "unary",
        "half-load",
        "payloads",
        "lists",
        "streams",
        "instances",
        "guests",
        "compute",
        "modules",
        "memory",
        "start",
        "push",
        "ray",
        "native",
        "cpu-quota",
        "overload",
        "auth",
        "bindings",
    ];
    assert_eq!(measured, BTreeSet::from(groups));
    for row in rows {
        let figures = row["figures"].as_object().unwrap();
        assert!(row.get("refused").is_some() || !figures.is_empty(), "{row}");
        assert!(figures.values().all(|rounds| !rounds.as_array().unwrap().is_empty()), "{row}");
    }

    let kept: Vec<_> = fs::read_dir(&history).unwrap().map(|file| file.unwrap().path()).collect();
    let [record] = kept.as_slice() else { panic!("one record: {kept:?}") };
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(record).unwrap()).unwrap(), printed);
    let record = record.to_str().unwrap();
    let tables = String::from_utf8(bench(&["compare", record, record]).stdout).unwrap();
    assert!(tables.contains("| unary"), "{tables}");
    let lines: Value =
        serde_json::from_slice(&bench(&["compare", record, record, "--json"]).stdout).unwrap();
    assert_eq!(lines.as_array().unwrap().len(), rows.len());
}
