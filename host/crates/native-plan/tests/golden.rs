//! The plan, scenario by scenario: `golden/NAME.yaml` says what happens, `golden/NAME.plan.yaml` what
//! is planned then. Plans that are stale are written anew, and the test fails once.
//!
//! What a plan says is done at once, but that servers which are asked to end do so when the scenario
//! says it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

#[path = "golden/scenario.rs"]
mod scenario;

use std::{fs, path::PathBuf};

#[test]
fn plans_are_what_they_were() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut scenarios: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.ends_with(".yaml") && !name.ends_with(".plan.yaml")
        })
        .collect();
    scenarios.sort();
    assert!(scenarios.len() >= 12, "the walk works");
    let mut stale = Vec::new();
    for path in scenarios {
        let plans = scenario::play(&path);
        let golden = path.with_extension("plan.yaml");
        if fs::read_to_string(&golden).ok().as_deref() != Some(&plans) {
            fs::write(&golden, plans).unwrap();
            stale.push(golden);
        }
    }
    assert!(stale.is_empty(), "these were stale and are rewritten now: {stale:?}");
}
