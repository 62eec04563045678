//! A directory that hosts share.

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use roadstead_blobs::{BlobStore, Kind, OpenError, Place, SharedConfig};
use roadstead_domain::ByteSize;

use crate::suite::{self, Ground};

fn ground() -> Ground {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("shared");
    fs::create_dir(&place).unwrap();
    Ground { place: Place::Directory(place), directory }
}

fn config(ground: &Ground, grace: Duration) -> SharedConfig {
    let place = ground.place.clone();
    SharedConfig { place, pool: "pool".to_owned(), key: [7; 32], cache: ByteSize::mib(64), grace }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_a_place() {
    suite::all(&ground).await;
}

#[tokio::test]
async fn a_directory_that_is_not_mounted_is_not_made() {
    let ground = ground();
    let shared = ground.directory.path().join("shared");
    fs::remove_dir(&shared).unwrap();
    let data = ground.directory.path().join("one");
    let error = BlobStore::open_shared(&data, config(&ground, Duration::ZERO)).unwrap_err();
    assert!(matches!(error, OpenError::NotMounted(_)), "{error}");
    assert!(!shared.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_left_half_written_goes_after_a_grace() {
    let ground = ground();
    let hour = Duration::from_secs(60 * 60);
    let data = ground.directory.path().join("one");
    let host = BlobStore::open_shared(&data, config(&ground, hour)).unwrap();
    let digest = host.put(Kind::Lock, Bytes::from_static(b"lock")).await.unwrap().digest();
    let locks = ground.directory.path().join("shared/pool/locks").join(digest.hex());
    let (young, old) = (locks.join("x#1"), locks.join("y#1"));
    fs::write(&young, b"ha").unwrap();
    fs::write(&old, b"ha").unwrap();
    let before = SystemTime::now() - 2 * hour;
    File::options().write(true).open(&old).unwrap().set_modified(before).unwrap();
    let sweep = host.begin_shared_sweep(Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(sweep.finish(&[digest].into()).await.unwrap(), 1);
    assert!(young.exists() && !old.exists());
    host.get(Kind::Lock, digest).await.unwrap();
}
