//! Every kept input through the function that it was found for.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test reports, and says which input it was"
)]

use std::{fs, path::Path};

roadstead_fuzz::worker_in_tests!();

fn replay(target: &str, function: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut inputs: Vec<_> =
        fs::read_dir(&corpus).unwrap().map(|input| input.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} has no inputs", corpus.display());
    for input in inputs {
        // The test harness shows it if the function panics.
        println!("{}", input.display());
        function(&fs::read(&input).unwrap());
    }
}

#[test]
fn codec() {
    replay("codec", roadstead_fuzz::codec);
}

#[test]
fn compiled() {
    replay("compiled", roadstead_fuzz::compiled);
}

#[test]
fn component() {
    replay("component", roadstead_fuzz::component);
}

#[cfg(feature = "push")]
#[test]
fn push() {
    replay("push", roadstead_fuzz::push);
}
