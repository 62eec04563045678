//! The native peers speak the messages that the host derives from the guests' WIT: the committed
//! `.proto` files and code are what the WIT says. Rewrites what is stale and fails once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use roadstead_transcode::{Locks, World, derive, print_proto};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Writes the derived `.proto` files; their names below `into`.
fn protos(wit: &Path, world: &str, into: &Path) -> Vec<PathBuf> {
    let files: Vec<_> = fs::read_dir(wit)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    let world = World::from_wit(&files, Some(world)).unwrap();
    let module = "work".parse().unwrap();
    let derived = derive(&world, &module, &"0.1.0".parse().unwrap(), &Locks::default()).unwrap();
    assert!(derived.unmapped.is_empty(), "{:?}", derived.unmapped);
    let mut names = Vec::new();
    for file in &derived.files {
        let path = into.join(file.name());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, print_proto(file)).unwrap();
        names.push(file.name().into());
    }
    names
}

fn code(protos: &Path, names: &[PathBuf], into: &Path) {
    let mut compiler = protox::Compiler::new([protos]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(names).unwrap();
    fs::write(into.join("bench.binpb"), compiler.encode_file_descriptor_set()).unwrap();
    tonic_prost_build::configure()
        .out_dir(into)
        .build_client(false)
        .bytes(".")
        .emit_rerun_if_changed(false)
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();
}

/// Writes `path` anew where it is not what `fresh` is.
fn refresh(path: PathBuf, fresh: &Path, stale: &mut Vec<PathBuf>) {
    let new = fs::read(fresh).unwrap();
    if fs::read(&path).ok().as_deref() != Some(&new) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, new).unwrap();
        stale.push(path);
    }
}

#[test]
fn the_native_peers_speak_what_the_host_derives() {
    let fresh = tempfile::tempdir().unwrap();
    let (proto, generated) = (fresh.path().join("proto"), fresh.path().join("gen"));
    fs::create_dir_all(&generated).unwrap();
    let mut names = Vec::new();
    for (wit, world) in [("wit", "full"), ("wit-session", "sessions"), ("wit-flow", "streams")] {
        names.extend(protos(&root().join("guests").join(wit), world, &proto));
    }
    code(&proto, &names, &generated);
    let mut stale = Vec::new();
    for name in &names {
        refresh(root().join("proto").join(name), &proto.join(name), &mut stale);
    }
    for entry in fs::read_dir(generated).unwrap() {
        let path = entry.unwrap().path();
        refresh(root().join("src/gen").join(path.file_name().unwrap()), &path, &mut stale);
    }
    assert!(stale.is_empty(), "these were stale and are rewritten now: {stale:?}");
}
