//! Stored files that are damaged, and how pushing the same again mends them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use roadstead_domain::Fault;
use roadstead_registry::PushRequest;

use crate::harness::{Host, OPS, calc, functions, named, try_to_add};

/// The files below a directory of the host's, each of which must be there.
fn stored(host: &Host, directory: &str) -> Vec<PathBuf> {
    let within = host.data.join(directory);
    let found: Vec<_> = host.files().into_iter().filter(|path| path.starts_with(&within)).collect();
    assert!(!found.is_empty(), "{directory}");
    found
}

/// Replaces a file: the host may have mapped it, and what is mapped is never written to.
fn damage(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::write(path, b"damaged").unwrap();
}

async fn attempt(host: &Host) -> Result<u64, Fault> {
    try_to_add(&host.resolve(OPS, None).unwrap(), 2, 3).await
}

async fn not_ready(host: &Host) {
    let fault = attempt(host).await.unwrap_err();
    assert!(matches!(fault, Fault::NotReady(_)), "{fault:?}");
}

#[tokio::test]
async fn a_damaged_component_without_its_code_is_not_ready_until_it_is_pushed_again() {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    let host = host.restarted().await;
    for path in [stored(&host, "blobs/components"), stored(&host, "compiled")].concat() {
        damage(&path);
    }
    not_ready(&host).await;
    not_ready(&host).await;
    assert!(!host.push("m", &calc(0)).await.unwrap().created);
    assert_eq!(attempt(&host).await.unwrap(), 5);
    let host = host.restarted().await;
    assert_eq!(attempt(&host).await.unwrap(), 5);
    assert_eq!(host.versions("m"), ["0.1.0"]);
}

#[tokio::test]
async fn a_version_that_could_not_start_serves_when_it_is_pushed_again() {
    let host = Host::new().await;
    let text = "package demo:calc@0.1.0;
        interface ops { add: func(a: u32, b: u32) -> u32; }
        world calc { export ops; }";
    let wit = vec![("calc.wit".to_owned(), text.to_owned())];
    let request = PushRequest { wit, ..named("m") };
    host.push_as(request.clone(), &calc(0)).await.unwrap();
    let whole = host.files();
    for directory in ["blobs/components", "blobs/interfaces", "blobs/wit", "compiled"] {
        for path in stored(&host, directory) {
            fs::remove_file(path).unwrap();
        }
    }
    let host = host.restarted().await;
    not_ready(&host).await;
    assert!(!host.push_as(request, &calc(0)).await.unwrap().created);
    assert_eq!(attempt(&host).await.unwrap(), 5);
    host.settles_to(&whole).await;
    let host = host.restarted().await;
    assert_eq!(attempt(&host).await.unwrap(), 5);
}

#[tokio::test]
async fn damaged_locks_are_stored_again() {
    let host = Host::new().await;
    let newer = functions(&[("add", "u32", 1), ("sub", "u32", 1)]);
    host.push("m", &calc(0)).await.unwrap();
    host.push("m", &newer).await.unwrap();
    let contents = |host: &Host| -> Vec<(PathBuf, Vec<u8>)> {
        let locks = stored(host, "blobs/locks").into_iter();
        locks.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    };
    let whole = contents(&host);
    assert_eq!(whole.len(), 2);
    for (path, _) in &whole {
        damage(path);
    }
    assert!(!host.push("m", &newer).await.unwrap().created);
    let first = PushRequest { version: "0.1.0".parse().ok(), ..named("m") };
    assert!(!host.push_as(first, &calc(0)).await.unwrap().created);
    assert_eq!(contents(&host), whole);
    let host = host.restarted().await;
    assert_eq!(attempt(&host).await.unwrap(), 6);
}

#[tokio::test]
async fn pushing_what_is_whole_again_changes_no_file() {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    let modified = |host: &Host| -> Vec<_> {
        let files = host.files().into_iter();
        files.map(|path| (fs::metadata(&path).unwrap().modified().unwrap(), path)).collect()
    };
    let before = modified(&host);
    assert!(!host.push("m", &calc(0)).await.unwrap().created);
    host.settles_to(&before.iter().map(|(_, path)| path.clone()).collect()).await;
    assert_eq!(modified(&host), before);
}
