//! Stored files that are damaged, and how pushing the same again mends them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use roadstead_domain::{Fault, Namespace};
use roadstead_registry::{PushError, PushRequest};

use crate::harness::{Host, OPS, calc, exported, functions, module, named, try_to_add};

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

/// What befalls a stored file.
const MISHAPS: [fn(&Path); 2] = [damage, |path| fs::remove_file(path).unwrap()];

fn lock_file(host: &Host, module: &str) -> PathBuf {
    let live = host.resolve(OPS, Some(module)).unwrap();
    let digest = live.record().locks.values().next().unwrap();
    host.data.join("blobs/locks").join(digest.hex())
}

#[tokio::test]
async fn a_lost_lock_leaves_the_rest_serving_and_a_push_again_restores_it() {
    for mishap in MISHAPS {
        let host = Host::new().await;
        host.push("m", &calc(0)).await.unwrap();
        host.push("n", &exported("demo:other/ops@0.1.0", &[("add", "u32", 1)])).await.unwrap();
        let (path, whole) = (lock_file(&host, "m"), host.files());
        mishap(&path);
        let kept = host.files();
        let host = host.restarted().await;
        assert_eq!(host.files(), kept, "nothing was swept");
        not_ready(&host).await;
        let other = host.resolve("demo.other.ops.v0_1.Ops", None).unwrap();
        assert_eq!(try_to_add(&other, 2, 3).await.unwrap(), 6);
        drop(other);

        // Nothing is known of what the package gave out: whoever would need that is refused.
        let refused = async |name: &str, bytes: &[u8]| match host.push(name, bytes).await {
            Err(PushError::DamagedLock(error)) => error,
            other => panic!("{other:?}"),
        };
        let breaking = functions(&[("add", "s32", 0)]);
        let error = refused("m", &breaking).await;
        assert_eq!(error.package, "demo.calc.ops.v0_1");
        assert_eq!(error.holder.unwrap().to_string(), "m@0.1.0");
        refused("m", &calc(1)).await;
        refused("elsewhere", &calc(0)).await;
        let staged = host.stage(&breaking).await.unwrap();
        let checked = host.registry.check(&Namespace::default(), named("m"), staged).await;
        assert!(matches!(checked.unwrap_err(), PushError::DamagedLock(_)));
        host.push("n", &exported("demo:other/ops@0.1.0", &[("add", "u32", 2)])).await.unwrap();
        host.registry.delete(&Namespace::default(), &module("n"), None).await.unwrap();

        host.resolve(OPS, Some("m")).unwrap().outcomes().count(None);
        assert!(!host.push("m", &calc(0)).await.unwrap().created);
        assert_eq!(attempt(&host).await.unwrap(), 5);
        // Loaded anew, it goes on counting.
        assert_eq!(host.resolve(OPS, Some("m")).unwrap().outcomes().read(), (1, 0));
        assert!(whole.contains(&path) && host.files().contains(&path));
        let host = host.restarted().await;
        assert_eq!(attempt(&host).await.unwrap(), 5);
        let error = host.push("m", &breaking).await.unwrap_err();
        assert!(matches!(error, PushError::Breaks(_)), "{error}");
        assert!(host.push("m", &calc(1)).await.unwrap().created);
    }
}

#[tokio::test]
async fn a_lost_lock_follows_from_those_before_it() {
    let host = Host::new().await;
    let newer = functions(&[("sub", "u32", 1), ("add", "u32", 1)]);
    host.push("m", &calc(0)).await.unwrap();
    host.push("m", &newer).await.unwrap();
    // Its lock also keeps what the one before it gave out.
    let last = functions(&[("add", "u32", 2), ("mul", "u32", 2)]);
    host.push_as(PushRequest { force: true, ..named("m") }, &last).await.unwrap();
    let path = lock_file(&host, "m");
    let whole = fs::read(&path).unwrap();
    damage(&path);
    let host = host.restarted().await;
    not_ready(&host).await;
    let before = host.resolve(OPS, Some("m@0.1.1")).unwrap();
    assert_eq!(try_to_add(&before, 2, 3).await.unwrap(), 6);
    drop(before);
    assert!(!host.push("m", &last).await.unwrap().created);
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(attempt(&host).await.unwrap(), 7);
    let host = host.restarted().await;
    assert_eq!(attempt(&host).await.unwrap(), 7);
}

#[tokio::test]
async fn a_lost_lock_that_follows_from_nothing_is_never_taken_for_restored() {
    let host = Host::new().await;
    host.push("gone", &functions(&[("sub", "u32", 0)])).await.unwrap();
    host.push("m", &calc(0)).await.unwrap();
    host.registry.delete(&Namespace::default(), &module("gone"), None).await.unwrap();
    let lock = host.registry.protos(&Namespace::default(), &module("m"), None).unwrap().lock;
    let path = lock_file(&host, "m");
    damage(&path);
    let host = host.restarted().await;
    let error = host.push("m", &calc(0)).await.unwrap_err();
    assert!(matches!(error, PushError::DamagedLock(_)), "{error}");
    not_ready(&host).await;
    let with_lock = PushRequest { lock: Some(lock), ..named("m") };
    assert!(!host.push_as(with_lock, &calc(0)).await.unwrap().created);
    assert_eq!(attempt(&host).await.unwrap(), 5);
}

#[tokio::test]
async fn a_push_with_the_lost_lock_restores_it_and_is_judged_by_it() {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    let lock = host.registry.protos(&Namespace::default(), &module("m"), None).unwrap().lock;
    let path = lock_file(&host, "m");
    let whole = fs::read(&path).unwrap();
    damage(&path);
    let host = host.restarted().await;
    not_ready(&host).await;
    let other = PushRequest { lock: Some(lock.replace("add", "sum")), ..named("m") };
    let error = host.push_as(other, &calc(1)).await.unwrap_err();
    assert!(matches!(error, PushError::DamagedLock(_)), "{error}");
    assert_ne!(fs::read(&path).unwrap(), whole);
    let breaking = functions(&[("add", "s32", 0)]);
    let with_lock = PushRequest { lock: Some(lock), ..named("m") };
    let error = host.push_as(with_lock, &breaking).await.unwrap_err();
    assert!(matches!(error, PushError::Breaks(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(attempt(&host).await.unwrap(), 5);
    assert!(host.push("m", &calc(1)).await.unwrap().created);
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
