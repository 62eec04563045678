//! Hosts that share a store: what none has compiled is compiled once, and a store that is away
//! takes nothing from what serves.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use roadstead_catalog::{
    Catalog as _, CatalogError, Election, LockChange, Office, Publication, VersionChoice,
};
use roadstead_domain::Namespace;
use roadstead_registry::{PushError, VersionRecord};

use crate::{
    follow::{Pool, code, until},
    harness::{Host, OPS, add, calc, exported, files, module, named},
};

/// Chooses among the hosts of a test.
#[derive(Default)]
pub(crate) struct Offices {
    held: Mutex<HashSet<String>>,
    /// Whether a host that says nothing any more holds all of them.
    dead: AtomicBool,
    refused: AtomicUsize,
}

struct Held {
    offices: Arc<Offices>,
    task: String,
}

/// What one host asks.
pub(crate) struct Asked(pub(crate) Arc<Offices>);

#[async_trait]
impl Election for Asked {
    async fn stand(&self, task: &str) -> Result<Option<Box<dyn Office>>, CatalogError> {
        let offices = Arc::clone(&self.0);
        if offices.dead.load(Ordering::SeqCst) || !offices.held.lock().insert(task.to_owned()) {
            offices.refused.fetch_add(1, Ordering::SeqCst);
            return Ok(None);
        }
        Ok(Some(Box::new(Held { offices, task: task.to_owned() })))
    }
}

impl Office for Held {
    fn is_held(&self) -> bool {
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.offices.held.lock().remove(&self.task);
    }
}

/// Packages of their own, so that each version's locks follow from nothing.
fn component(index: usize) -> Vec<u8> {
    exported(&format!("demo:n{index}/ops@0.1.0"), &[("add", "u32", 0)])
}

/// Versions whose bytes are stored, and whose code no host has.
async fn uncompiled(pool: &Pool, count: usize) -> Vec<(String, Arc<VersionRecord>)> {
    let elsewhere = Pool { directory: tempfile::tempdir().unwrap(), ..Pool::new() };
    let place = pool.directory.path().join("blobs");
    let pusher = elsewhere.host_in("pusher", &place).await;
    let mut records = Vec::new();
    for index in 0..count {
        let name = format!("n{index}");
        let pushed = pusher.push(&name, &component(index)).await.unwrap();
        records.push((name, pushed.record));
    }
    fs::remove_dir_all(place.join("pool/compiled")).unwrap();
    records
}

/// As if someone had applied it by hand, and its locks followed.
async fn apply(pool: &Pool, name: &str, record: &VersionRecord) {
    let locks = record.locks.iter().map(|(package, to)| LockChange {
        package: package.clone(),
        from: None,
        to: *to,
    });
    let publication = Publication {
        namespace: Namespace::default(),
        name: module(name),
        choice: VersionChoice::Explicit,
        record: record.clone(),
        locks: locks.collect(),
    };
    pool.catalog.publish(publication).await.unwrap();
}

fn done(hosts: &[&Host]) -> u64 {
    hosts.iter().map(|host| host.registry.compile_counts().done).sum()
}

async fn answers(host: &Host, index: usize) -> u64 {
    let service = format!("demo.n{index}.ops.v0_1.Ops");
    add(&host.resolve(&service, None).unwrap(), 2, 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_host_has_compiled_is_compiled_once() {
    const COUNT: usize = 6;
    let pool = Pool::new();
    let records = uncompiled(&pool, COUNT).await;
    let (one, other) = (pool.host("one").await, pool.host("other").await);
    let before = done(&[&one, &other]);
    for (name, record) in &records {
        apply(&pool, name, record).await;
    }
    until("both have all code", || code(&one) == COUNT && code(&other) == COUNT).await;
    assert_eq!(done(&[&one, &other]) - before, COUNT as u64);
    for host in [&one, &other] {
        for index in 0..COUNT {
            until("it serves", || host.versions(&format!("n{index}")).len() == 1).await;
            assert_eq!(answers(host, index).await, 5);
        }
    }
    until("nobody holds an office any more", || pool.catalog.offices.held.lock().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_wait_for_the_host_that_compiles_and_take_over_when_it_died() {
    let pool = Pool::new();
    let records = uncompiled(&pool, 2).await;
    let (one, other) = (pool.host("one").await, pool.host("other").await);
    let (name, record) = &records[0];
    apply(&pool, name, record).await;
    until("both have it", || code(&one) == 1 && code(&other) == 1).await;

    let offices = &pool.catalog.offices;
    offices.dead.store(true, Ordering::SeqCst);
    let before = done(&[&one, &other]);
    let (name, record) = &records[1];
    apply(&pool, name, record).await;
    until("both ask", || offices.refused.load(Ordering::SeqCst) >= 4).await;
    assert_eq!((code(&one), code(&other)), (1, 1));
    assert_eq!(done(&[&one, &other]), before);
    offices.dead.store(false, Ordering::SeqCst);
    until("both have it", || code(&one) == 2 && code(&other) == 2).await;
    assert_eq!(done(&[&one, &other]) - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_what_serves_goes_on_and_pushes_may_be_tried_again() {
    let pool = Pool::new();
    let (one, other) = (pool.host("one").await, pool.host("other").await);
    one.push("m", &calc(0)).await.unwrap();
    until("it serves there", || other.answers(None).is_ok()).await;
    assert_eq!(other.call().await, 5);
    let (here, away) = (pool.directory.path().join("blobs"), pool.directory.path().join("away"));
    fs::rename(&here, &away).unwrap();
    // Where nothing is mounted there may still be a directory.
    fs::create_dir(&here).unwrap();
    let error = one.push("m", &calc(1)).await.unwrap_err();
    assert!(matches!(error, PushError::StoreUnavailable(_)), "{error:?}");
    assert_eq!(files(&here), Vec::<PathBuf>::new(), "nothing lands beside the store");
    for host in [&one, &other] {
        assert_eq!(host.call().await, 5);
    }
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    drop(other);
    let again = pool.again("other").await;
    assert_eq!(again.call().await, 5);
    one.push("m", &calc(1)).await.unwrap();
    until("it serves there", || again.answers(None).unwrap() == "m@0.1.1").await;
    assert_eq!(again.call().await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_read_serves_when_the_store_is_back() {
    let pool = Pool::new();
    let one = pool.host("one").await;
    one.push("m", &calc(0)).await.unwrap();
    let locks = pool.directory.path().join("blobs/pool/locks");
    let away = pool.directory.path().join("locks");
    fs::rename(&locks, &away).unwrap();
    let third = pool.host("third").await;
    assert!(third.resolve(OPS, None).unwrap().module().is_err());
    fs::rename(&away, &locks).unwrap();
    until("it serves after all", || {
        third.resolve(OPS, None).is_ok_and(|live| live.module().is_ok())
    })
    .await;
    assert_eq!(third.call().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_again_stores_what_the_pool_has_lost() {
    let pool = Pool::new();
    let one = pool.host("one").await;
    one.push("m", &calc(0)).await.unwrap();
    fs::remove_dir_all(pool.directory.path().join("blobs/pool/locks")).unwrap();
    fs::remove_dir_all(pool.directory.path().join("blobs/pool/components")).unwrap();
    let pushed = one.push_as(named("m"), &calc(0)).await.unwrap();
    assert!(!pushed.created);
    let other = pool.host("other").await;
    assert_eq!(other.call().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_throws_away_what_no_object_names() {
    let pool = Pool { grace: Duration::from_secs(2), ..Pool::new() };
    let one = pool.host("one").await;
    one.push("m", &calc(0)).await.unwrap();
    one.push("n", &exported("demo:n/ops@0.1.0", &[("add", "u32", 0)])).await.unwrap();
    let components = || {
        let all = pool.directory.path().join("blobs/pool/components");
        if all.is_dir() { files(&all).len() } else { 0 }
    };
    assert_eq!(components(), 2);
    // While nobody can say what is needed, everything stays.
    pool.catalog.unknown.store(true, Ordering::SeqCst);
    pool.catalog.asked.store(0, Ordering::SeqCst);
    one.registry.delete(&Namespace::default(), &module("n"), None).await.unwrap();
    until("it is looked", || pool.catalog.asked.load(Ordering::SeqCst) >= 4).await;
    assert_eq!(components(), 2);
    pool.catalog.unknown.store(false, Ordering::SeqCst);
    until("it goes", || components() == 1).await;
    assert_eq!(one.call().await, 5);
    let other = pool.host("other").await;
    assert_eq!(other.call().await, 5);
}
