//! The blob store: digests, uploads, signatures, sweeps, and what a full disk leaves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports")]

use std::{
    collections::HashSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use roadstead_blobs::{BlobError, BlobStore, CodeRefused, CodeStore, Kind, OpenError};
use roadstead_domain::{ByteSize, Digest};

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn the_file(directory: &Path, suffix: &str) -> PathBuf {
    let mut found = files(directory);
    found.retain(|path| path.to_str().unwrap().ends_with(suffix));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn put(
    code: &CodeStore,
    fingerprint: &str,
    component: Digest,
    bytes: &[u8],
) -> Result<(), BlobError> {
    let staged = code.stage()?;
    staged.file().write_all(bytes).unwrap();
    code.put(fingerprint, component, staged)
}

#[tokio::test]
async fn bytes_come_back_by_digest_after_reopening() {
    let data = tempfile::tempdir().unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    let held = store.put(Kind::Component, Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(held.digest(), Digest::of(b"abc"));
    let (digest, missing) = (held.digest(), Digest::of(b"else"));
    drop((held, store));
    let store = BlobStore::open(data.path()).unwrap();
    assert_eq!(store.get(Kind::Component, digest).await.unwrap(), "abc");
    let error = store.get(Kind::Lock, digest).await.unwrap_err();
    assert!(matches!(error, BlobError::Missing(_)), "kinds are apart: {error}");
    let error = store.get(Kind::Component, missing).await.unwrap_err();
    assert!(matches!(error, BlobError::Missing(found) if found == missing), "{error}");
}

#[tokio::test]
async fn damaged_bytes_are_not_read_and_can_be_stored_again() {
    let data = tempfile::tempdir().unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    let held = store.put(Kind::Lock, Bytes::from_static(b"numbers")).await.unwrap();
    fs::write(the_file(&data.path().join("blobs"), ""), b"numbres").unwrap();
    let error = store.get(Kind::Lock, held.digest()).await.unwrap_err();
    assert!(matches!(error, BlobError::Damaged(_)), "{error}");
    let error = store.read_blocking(Kind::Lock, held.digest()).unwrap_err();
    assert!(matches!(error, BlobError::Damaged(_)), "{error}");
    store.put(Kind::Lock, Bytes::from_static(b"numbers")).await.unwrap();
    assert_eq!(store.get(Kind::Lock, held.digest()).await.unwrap(), "numbers");
    assert_eq!(store.read_blocking(Kind::Lock, held.digest()).unwrap(), "numbers");
}

#[tokio::test]
async fn a_data_directory_has_one_owner() {
    let data = tempfile::tempdir().unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    let error = BlobStore::open(data.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    drop(store);
    // A child that another test starts holds a copy of the lock's file until it executes.
    let free = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(2));
        BlobStore::open(data.path()).is_ok()
    });
    assert!(free, "dropping the store frees its directory");
}

#[tokio::test]
async fn a_store_knows_whether_it_is_empty() {
    let data = tempfile::tempdir().unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    assert!(store.is_empty().unwrap());
    drop(store.put(Kind::Wit, Bytes::from_static(b"text")).await.unwrap());
    assert!(!store.is_empty().unwrap());
}

#[test]
fn a_new_data_directory_is_for_its_user_alone() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("new/data");
    drop(BlobStore::open(&data).unwrap());
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn an_upload_is_counted_hashed_and_bounded() {
    let data = tempfile::tempdir().unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    let staging = data.path().join("staging");
    let upload = store.upload(ByteSize(6)).await.unwrap();
    let upload = upload.write(Bytes::from_static(b"abc")).await.unwrap();
    let staged = upload.write(Bytes::from_static(b"def")).await.unwrap().finish();
    assert_eq!((staged.digest(), staged.size()), (Digest::of(b"abcdef"), 6));
    assert_eq!(staged.read().unwrap(), "abcdef");
    assert_eq!(files(&staging).len(), 1);
    fs::write(the_file(&staging, ""), b"abcdeF").unwrap();
    let error = staged.read().unwrap_err();
    assert!(matches!(error, BlobError::Damaged(_)), "{error}");
    drop(staged);

    let upload = store.upload(ByteSize(6)).await.unwrap();
    let upload = upload.write(Bytes::from_static(b"abcdef")).await.unwrap();
    let error = upload.write(Bytes::from_static(b"g")).await.err().unwrap();
    assert!(matches!(error, BlobError::TooLarge(ByteSize(6))), "{error}");
    assert_eq!(files(&staging), Vec::<PathBuf>::new(), "nothing is left behind");
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_removed_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    let held = store.put(Kind::Component, Bytes::from_static(b"whole")).await.unwrap();
    let digest = held.digest();
    drop((held, store));
    fs::write(data.path().join("staging/left"), b"half").unwrap();
    fs::write(data.path().join(format!("blobs/components/{}#1", digest.hex())), b"hal").unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    assert_eq!(files(&data.path().join("staging")).len(), 0);
    assert_eq!(files(&data.path().join("blobs")).len(), 1);
    assert_eq!(store.get(Kind::Component, digest).await.unwrap(), "whole");
}

#[test]
fn code_is_handed_out_only_as_it_was_stored() {
    let data = tempfile::tempdir().unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    let code = store.code();
    let component = Digest::of(b"component");
    let compiled = data.path().join("compiled");
    assert_eq!(code.open("engine-1", component).unwrap_err(), CodeRefused::Missing);

    let fresh = || {
        put(code, "engine-1", component, b"machine code").unwrap();
        let mut bytes = Vec::new();
        code.open("engine-1", component).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"machine code");
        (the_file(&compiled, ".code"), the_file(&compiled, ".sig"))
    };
    let refused = |what: &str| {
        assert_eq!(code.open("engine-1", component).unwrap_err(), CodeRefused::Untrusted, "{what}");
        assert_eq!(files(&compiled), Vec::<PathBuf>::new(), "{what} is deleted");
        assert_eq!(code.open("engine-1", component).unwrap_err(), CodeRefused::Missing, "{what}");
    };
    let (path, _) = fresh();
    fs::write(path, b"machine c0de").unwrap();
    refused("changed code");
    let (path, _) = fresh();
    fs::write(path, b"machine cod").unwrap();
    refused("truncated code");
    let (path, _) = fresh();
    fs::write(path, b"machine code ").unwrap();
    refused("lengthened code");
    let (path, _) = fresh();
    fs::write(path, b"").unwrap();
    refused("empty code");
    let (_, signature) = fresh();
    fs::remove_file(signature).unwrap();
    refused("unsigned code");
    let (_, signature) = fresh();
    fs::write(signature, [0; 32]).unwrap();
    refused("code with another signature");
    let (_, signature) = fresh();
    let whole = fs::read(&signature).unwrap();
    fs::write(signature, &whole[..31]).unwrap();
    refused("code with part of its signature");
}

#[test]
fn code_of_another_component_engine_or_host_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (here, there) = (data.path().join("here"), data.path().join("there"));
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let store = BlobStore::open(&here).unwrap();
    let foreign = BlobStore::open(&there).unwrap();
    put(store.code(), "engine-1", one, b"code of one").unwrap();
    let copy = |from: PathBuf, to: PathBuf| {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        for suffix in ["code", "sig"] {
            fs::copy(from.with_extension(suffix), to.with_extension(suffix)).unwrap();
        }
    };
    let source = here.join(format!("compiled/engine-1/{}.code", one.hex()));
    copy(source.clone(), here.join(format!("compiled/engine-1/{}.code", two.hex())));
    copy(source.clone(), here.join(format!("compiled/engine-2/{}.code", one.hex())));
    copy(source.clone(), there.join(format!("compiled/engine-1/{}.code", one.hex())));
    for refused in [
        store.code().open("engine-1", two),
        store.code().open("engine-2", one),
        foreign.code().open("engine-1", one),
    ] {
        assert_eq!(refused.unwrap_err(), CodeRefused::Untrusted);
    }
    store.code().open("engine-1", one).unwrap();
    put(store.code(), "engine-2", one, b"code of one").unwrap();
    store.code().retain_fingerprint("engine-2").unwrap();
    assert_eq!(store.code().open("engine-1", one).unwrap_err(), CodeRefused::Missing);
    store.code().open("engine-2", one).unwrap();
}

#[test]
fn the_key_stays_is_private_and_is_replaced_when_it_leaked() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let key = data.join("host.key");
    let component = Digest::of(b"component");
    let reopen = || BlobStore::open(&data).unwrap();
    put(reopen().code(), "engine", component, b"code").unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o077, 0);
    assert_eq!(fs::read(&key).unwrap().len(), 32);
    reopen().code().open("engine", component).unwrap();

    fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let before = fs::read(&key).unwrap();
    let refused = reopen().code().open("engine", component).unwrap_err();
    assert_eq!(refused, CodeRefused::Untrusted);
    assert_ne!(fs::read(&key).unwrap(), before);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    put(reopen().code(), "engine", component, b"code").unwrap();
    fs::write(&key, b"short").unwrap();
    let refused = reopen().code().open("engine", component).unwrap_err();
    assert_eq!(refused, CodeRefused::Untrusted);
}

#[tokio::test]
async fn a_sweep_spares_what_is_referenced_or_held() {
    let data = tempfile::tempdir().unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    let add = async |text: &'static str| {
        store.put(Kind::Component, Bytes::from_static(text.as_bytes())).await.unwrap()
    };
    let referenced = add("referenced").await.digest();
    let held = add("held").await;
    let garbage = add("garbage").await.digest();
    put(store.code(), "engine", referenced, b"code").unwrap();
    put(store.code(), "engine", garbage, b"code").unwrap();

    let sweep = store.begin_sweep().await.unwrap();
    // Stored before and published during the sweep: the list of references may be older.
    let published = add("garbage no more").await.digest();
    assert_eq!(sweep.finish(&HashSet::from([referenced])).await.unwrap(), 2);
    for kept in [referenced, held.digest(), published] {
        store.get(Kind::Component, kept).await.unwrap();
    }
    let error = store.get(Kind::Component, garbage).await.unwrap_err();
    assert!(matches!(error, BlobError::Missing(_)), "{error}");
    store.code().open("engine", referenced).unwrap();
    assert_eq!(store.code().open("engine", garbage).unwrap_err(), CodeRefused::Missing);

    let kept = held.digest();
    drop(held);
    let sweep = store.begin_sweep().await.unwrap();
    assert_eq!(sweep.finish(&HashSet::from([referenced])).await.unwrap(), 2);
    store.get(Kind::Component, kept).await.unwrap_err();
}

#[tokio::test]
async fn a_hold_taken_during_a_sweep_counts_even_when_it_was_dropped_again() {
    let data = tempfile::tempdir().unwrap();
    let store = BlobStore::open(data.path()).unwrap();
    let digest = store.put(Kind::Lock, Bytes::from_static(b"again")).await.unwrap().digest();
    let sweep = store.begin_sweep().await.unwrap();
    // A push finds the blob stored, publishes it and is done, all while the sweep thinks.
    drop(store.put(Kind::Lock, Bytes::from_static(b"again")).await.unwrap());
    assert_eq!(sweep.finish(&HashSet::new()).await.unwrap(), 0);
    store.get(Kind::Lock, digest).await.unwrap();
}

/// Where a child process of these tests finds its data directory.
const CHILD: &str = "ROADSTEAD_BLOBS_CHILD";

/// No file may grow over 64 KiB in the child: the same to a program as a disk without room.
#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact child_on_a_full_disk"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, data.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let store = BlobStore::open(data.path()).unwrap();
    drop(store);
    let left: Vec<_> = files(data.path())
        .into_iter()
        .filter(|path| !path.ends_with("host.key") && !path.ends_with("lock"))
        .collect();
    assert_eq!(left.len(), 3, "the small blob, the small code and its signature: {left:?}");
}

#[tokio::test]
async fn child_on_a_full_disk() {
    let Some(data) = std::env::var_os(CHILD) else { return };
    let data = PathBuf::from(data);
    let store = BlobStore::open(&data).unwrap();
    let (small, large) = (Bytes::from(vec![1; 1 << 10]), Bytes::from(vec![2; 1 << 20]));
    let component = Digest::of(b"component");
    store.put(Kind::Component, small.clone()).await.unwrap();
    put(store.code(), "engine", component, &small).unwrap();
    let refused = [
        store.put(Kind::Component, large.clone()).await.unwrap_err(),
        store.upload(ByteSize::mib(2)).await.unwrap().write(large.clone()).await.err().unwrap(),
    ];
    for error in refused {
        assert!(matches!(error, BlobError::Full(_)), "{error:?}");
    }
    let staged = store.code().stage().unwrap();
    staged.file().write_all(&large).unwrap_err();
    drop(staged);
    assert_eq!(files(&data.join("staging")).len(), 0);
    store.get(Kind::Component, Digest::of(&small)).await.unwrap();
}
