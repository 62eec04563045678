//! What hosts of a pool share: blobs and code of one are the other's, and nothing foreign is used.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports")]

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use roadstead_blobs::{BlobError, BlobStore, Kind, OpenError, Place, SharedConfig};
use roadstead_domain::{ByteSize, Digest};

const KEY: [u8; 32] = [7; 32];

fn open(directory: &Path, host: &str, pool: &str, key: [u8; 32]) -> Result<BlobStore, OpenError> {
    let place = Place::Directory(directory.join("shared"));
    let config = SharedConfig { place, pool: pool.to_owned(), key, cache: ByteSize::mib(64) };
    BlobStore::open_shared(&directory.join(host), config)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn compile(store: &BlobStore, component: Digest, code: &[u8]) {
    let staged = store.code().stage().unwrap();
    staged.file().write_all(code).unwrap();
    store.code().put("engine", component, staged).unwrap();
    store.share_code("engine", component).unwrap();
}

fn fetched(store: &BlobStore, component: Digest) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    store.fetch_code("engine", component).unwrap()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_host_stores_another_has() {
    let directory = tempfile::tempdir().unwrap();
    let error = open(directory.path(), "one", "pool", KEY).unwrap_err();
    assert!(matches!(error, OpenError::NotMounted(_)), "{error}");
    fs::create_dir(directory.path().join("shared")).unwrap();
    let one = open(directory.path(), "one", "pool", KEY).unwrap();
    let other = open(directory.path(), "other", "pool", KEY).unwrap();
    for kind in Kind::ALL {
        let text = Bytes::from(format!("{kind:?}"));
        let digest = one.put(kind, text.clone()).await.unwrap().digest();
        assert_eq!(other.get(kind, digest).await.unwrap(), text);
        assert_eq!(other.read_blocking(kind, digest).unwrap(), text);
    }
    let component = Digest::of(b"component");
    assert_eq!(fetched(&other, component), None);
    // More than one part, so that it goes and comes in pieces.
    let code = vec![3; 20 << 20];
    compile(&one, component, &code);
    assert_eq!(fetched(&other, component).unwrap(), code);
    other.code().open("engine", component).unwrap();
    let stranger = open(directory.path(), "stranger", "another", KEY).unwrap();
    let error = stranger.get(Kind::Lock, Digest::of(b"Lock")).await.unwrap_err();
    assert!(matches!(error, BlobError::Missing(_)), "pools are apart: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_blobs_are_never_used_and_stored_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("shared")).unwrap();
    let one = open(directory.path(), "one", "pool", KEY).unwrap();
    let other = open(directory.path(), "other", "pool", KEY).unwrap();
    let bytes = Bytes::from_static(b"bytes");
    let digest = one.put(Kind::Component, bytes.clone()).await.unwrap().digest();
    fs::write(&files(&directory.path().join("shared"))[0], b"bites").unwrap();
    let error = other.get(Kind::Component, digest).await.unwrap_err();
    assert!(matches!(error, BlobError::Damaged(_)), "{error}");
    one.put(Kind::Component, bytes.clone()).await.unwrap();
    assert_eq!(other.get(Kind::Component, digest).await.unwrap(), bytes);
    // One that reads is enough, wherever it stands.
    let damaged = directory.path().join(format!("shared/pool/components/{}/new", digest.hex()));
    fs::write(damaged, b"bites").unwrap();
    assert_eq!(other.get(Kind::Component, digest).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_used_only_with_the_pools_signature_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let shared = directory.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let one = open(directory.path(), "one", "pool", KEY).unwrap();
    let other = open(directory.path(), "other", "pool", KEY).unwrap();
    let foreign = open(directory.path(), "foreign", "pool", [8; 32]).unwrap();
    let (component, another) = (Digest::of(b"component"), Digest::of(b"another"));
    compile(&one, component, b"machine code");
    let path = files(&shared).remove(0);
    let whole = fs::read(&path).unwrap();
    for (what, bytes) in [
        ("changed", [&whole[..whole.len() - 1], b"E"].concat()),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("longer", [&whole[..], b"."].concat()),
        ("unsigned", whole[32..].to_vec()),
        ("without code", whole[..32].to_vec()),
        ("half a signature", whole[..16].to_vec()),
        ("empty", Vec::new()),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(fetched(&other, component), None, "{what}");
        assert_eq!(files(&directory.path().join("other/compiled")), Vec::<PathBuf>::new());
        assert_eq!(files(&directory.path().join("other/staging")), Vec::<PathBuf>::new());
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(fetched(&foreign, component), None, "another pool's key");
    fs::write(path.with_file_name(another.hex()), &whole).unwrap();
    assert_eq!(fetched(&other, another), None, "another component's code");
    assert_eq!(fetched(&other, component).unwrap(), b"machine code");
    compile(&foreign, component, b"foreign code");
    fs::remove_dir_all(directory.path().join("other/compiled/engine")).unwrap();
    assert_eq!(fetched(&other, component), None, "a foreign host's code");
}
