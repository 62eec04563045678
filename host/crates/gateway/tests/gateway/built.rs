//! Modules of the repository, built for these tests, and the stubs that are generated for them.
//!
//! The stubs in `gen` are committed, as any Rust client's would be made: from the `.proto` files
//! that the host derives. A test rewrites what is stale and fails once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use roadstead_transcode::{Locks, World, derive, print_proto};

/// Rows of a stream of bytes.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    reason = "generated code keeps its generator's style"
)]
pub(crate) mod csv {
    include!("gen/demo.csv_reader.csv.v0_1.rs");
}

/// Statistics behind a handle.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    reason = "generated code keeps its generator's style"
)]
pub(crate) mod stats {
    include!("gen/demo.running_stats.stats.v0_1.rs");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The component of a module in `modules/`.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let modules = root().join("../../../modules");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "--target", "wasm32-wasip2", "--package", name]);
    assert!(cargo.current_dir(&modules).status().unwrap().success());
    let file = format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_"));
    fs::read(modules.join(file)).unwrap()
}

/// Writes a module's `.proto` files, and makes the stubs for them.
fn generate(name: &str, protos: &Path, stubs: &Path) {
    let world = World::decode(&component(name)).unwrap();
    let (module, version) = (name.parse().unwrap(), "0.1.0".parse().unwrap());
    let derived = derive(&world, &module, &version, &Locks::default()).unwrap();
    assert!(derived.unmapped.is_empty(), "{:?}", derived.unmapped);
    let mut compiler = protox::Compiler::new([protos]).unwrap();
    for file in &derived.files {
        let path = protos.join(file.name());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, print_proto(file)).unwrap();
    }
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(derived.files.iter().map(|file| file.name())).unwrap();
    let made = tonic_prost_build::configure()
        .out_dir(stubs)
        .build_server(false)
        .emit_rerun_if_changed(false)
        .compile_fds(compiler.file_descriptor_set());
    made.unwrap();
}

#[test]
fn the_stubs_are_those_of_the_modules() {
    let fresh = tempfile::tempdir().unwrap();
    let (protos, stubs) = (fresh.path().join("proto"), fresh.path().join("gen"));
    fs::create_dir_all(&protos).unwrap();
    fs::create_dir_all(&stubs).unwrap();
    for name in ["csv-reader", "running-stats"] {
        generate(name, &protos, &stubs);
    }
    let mut stale = Vec::new();
    for entry in fs::read_dir(stubs).unwrap() {
        let made = entry.unwrap().path();
        let kept = root().join("tests/gateway/gen").join(made.file_name().unwrap());
        let new = fs::read(made).unwrap();
        if fs::read(&kept).ok().as_ref() != Some(&new) {
            fs::write(&kept, new).unwrap();
            stale.push(kept);
        }
    }
    assert!(stale.is_empty(), "these were stale and are rewritten now: {stale:?}");
}
