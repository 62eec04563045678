//! A store that does not answer: an error in bounded time, and what is here serves on.

use std::{io::Write as _, time::Duration};

use bytes::Bytes;
use roadstead_blobs::{BlobStore, Bucket, Kind, Place, SharedConfig};
use roadstead_domain::{ByteSize, Digest};

/// Nobody listens there.
fn config() -> SharedConfig {
    let bucket = Bucket {
        name: "bucket".to_owned(),
        prefix: String::new(),
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        allow_http: true,
    };
    SharedConfig {
        place: Place::S3 { bucket, region: None },
        pool: "pool".to_owned(),
        key: [7; 32],
        cache: ByteSize::mib(64),
        grace: Duration::from_secs(60),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_serves_on_without_the_store() {
    let data = tempfile::tempdir().unwrap();
    let (lock, component) = (Bytes::from_static(b"lock"), Digest::of(b"component"));
    {
        let before = BlobStore::open(data.path()).unwrap();
        before.put(Kind::Lock, lock.clone()).await.unwrap();
    }
    let store = BlobStore::open_shared(data.path(), config()).unwrap();
    assert_eq!(store.get(Kind::Lock, Digest::of(&lock)).await.unwrap(), lock);
    let staged = store.code().stage().unwrap();
    staged.file().write_all(b"code").unwrap();
    store.code().put("engine", component, staged).unwrap();
    store.code().open("engine", component).unwrap();

    let errors = [
        store.put(Kind::Component, lock.clone()).await.unwrap_err(),
        store.get(Kind::Component, component).await.unwrap_err(),
        store.read_blocking(Kind::Component, component).unwrap_err(),
        store.fetch_code("engine", Digest::of(b"another")).unwrap_err(),
        store.share_code("engine", component).unwrap_err(),
        store.mark_engine("engine").await.unwrap_err(),
        store.begin_shared_sweep(Duration::ZERO).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_unavailable(), "{error:?}");
    }
}
