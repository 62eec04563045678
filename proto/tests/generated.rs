//! The committed code is what the `.proto` files say.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Compiled with protox, so that nobody needs `protoc`.
fn generate(into: &Path) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([&root]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    let files = ["module_service.proto", "native_service.proto", "fleet.proto"];
    let paths = files.map(|file| root.join("roadstead/v1").join(file));
    compiler.open_files(paths).unwrap();
    fs::write(into.join("roadstead.v1.fds"), compiler.encode_file_descriptor_set()).unwrap();
    tonic_prost_build::configure()
        .out_dir(into)
        .bytes(".")
        .emit_rerun_if_changed(false)
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();
}

#[test]
fn generated_code_is_up_to_date() {
    let committed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    let fresh = tempfile::tempdir().unwrap();
    generate(fresh.path());
    let mut stale = Vec::new();
    for entry in fs::read_dir(fresh.path()).unwrap() {
        let entry = entry.unwrap();
        let new = fs::read(entry.path()).unwrap();
        let path = committed.join(entry.file_name());
        if fs::read(&path).ok().as_deref() != Some(&new) {
            fs::write(&path, new).unwrap();
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "these were stale and are rewritten now: {stale:?}");
}
