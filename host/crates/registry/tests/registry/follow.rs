//! Hosts that share a catalog: what one changes serves at the others.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use roadstead_blobs::{BlobStore, OpenError, Place, SharedConfig};
use roadstead_catalog::{
    Catalog, CatalogError, Change, Election, MemoryCatalog, Pending, Publication, Published,
    Refusal, Snapshot, Verdict,
};
use roadstead_domain::{ByteSize, Digest, ModuleName, Namespace, Version};
use roadstead_registry::{PushRequest, Registry, RegistryConfig, VersionRecord};
use tokio::sync::watch;

use crate::{
    harness::{Host, OPS, calc, engine, exported, files, functions, module, versioned},
    pool::{Asked, Offices},
};

/// A catalog that hosts share, with versions that wait to be judged.
#[derive(Default)]
pub(crate) struct SharedCatalog {
    published: MemoryCatalog,
    pub(crate) offices: Arc<Offices>,
    /// Whether nobody can say what is needed, and how often that was asked.
    pub(crate) unknown: AtomicBool,
    pub(crate) asked: AtomicUsize,
    pending: Mutex<Vec<Pending>>,
    settled: Mutex<Vec<(String, Verdict)>>,
}

#[async_trait]
impl Catalog for SharedCatalog {
    async fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        self.published.snapshot().await
    }

    async fn publish(&self, publication: Publication) -> Result<Published, CatalogError> {
        self.published.publish(publication).await
    }

    async fn delete(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<Vec<Version>>, CatalogError> {
        self.published.delete(namespace, name, version).await
    }

    async fn pin(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<()>, CatalogError> {
        self.published.pin(namespace, name, version).await
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.published.watch()
    }

    async fn needed(&self) -> Result<Option<Snapshot>, CatalogError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.unknown.load(Ordering::SeqCst) {
            return Ok(None);
        }
        self.snapshot().await.map(Some)
    }

    fn election(&self) -> Option<Arc<dyn Election>> {
        Some(Arc::new(Asked(Arc::clone(&self.offices))))
    }

    async fn pending(&self) -> Vec<Pending> {
        std::mem::take(&mut self.pending.lock())
    }

    async fn settle(&self, pending: &Pending, verdict: Verdict) -> Result<(), CatalogError> {
        let version = pending.record.version.to_string();
        self.settled.lock().push((version, verdict));
        Ok(())
    }
}

/// Hosts with a catalog, blobs and compiled code in common.
pub(crate) struct Pool {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) catalog: Arc<SharedCatalog>,
    pub(crate) grace: Duration,
}

impl Pool {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("blobs")).unwrap();
        let grace = Duration::from_secs(24 * 60 * 60);
        Self { directory, catalog: Arc::default(), grace }
    }

    pub(crate) async fn host(&self, name: &str) -> Host {
        self.host_in(name, &self.directory.path().join("blobs")).await
    }

    /// A host with blobs in another place.
    pub(crate) async fn host_in(&self, name: &str, place: &Path) -> Host {
        let data: PathBuf = self.directory.path().join(name);
        let blobs = self.blobs(&data, place).unwrap();
        let catalog: Arc<dyn Catalog> = self.catalog.clone();
        let config = RegistryConfig::default();
        let registry = Registry::open(engine(), catalog, Arc::new(blobs), config).await.unwrap();
        Host::of(&data, registry)
    }

    /// A host again that was dropped.
    pub(crate) async fn again(&self, name: &str) -> Host {
        let (data, place) = (self.directory.path().join(name), self.directory.path().join("blobs"));
        until("the old one is gone", || self.blobs(&data, &place).is_ok()).await;
        self.host(name).await
    }

    fn blobs(&self, data: &Path, place: &Path) -> Result<BlobStore, OpenError> {
        let shared = SharedConfig {
            place: Place::Directory(place.to_owned()),
            pool: "pool".to_owned(),
            key: [7; 32],
            cache: ByteSize::mib(64),
            grace: self.grace,
        };
        BlobStore::open_shared(data, shared)
    }
}

/// Waits until a host comes to something by itself.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: it did not come to that");
}

pub(crate) fn code(host: &Host) -> usize {
    let files = files(&host.data.join("compiled"));
    files.iter().filter(|path| path.extension().is_some_and(|e| e == "code")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_host_changes_serves_here() {
    let pool = Pool::new();
    let (one, other) = (pool.host("one").await, pool.host("other").await);
    let mut watch = other.registry.watch();
    watch.mark_unchanged();
    let before = other.registry.compile_counts().done;
    one.push("m", &calc(0)).await.unwrap();
    until("the push serves there", || other.answers(None).is_ok()).await;
    assert!(watch.has_changed().unwrap());
    // Its code is there before a call comes, and was compiled once.
    assert_eq!(code(&other), 1);
    assert_eq!(other.registry.compile_counts().done, before);
    assert_eq!(other.call().await, 5);
    one.push("m", &calc(1)).await.unwrap();
    until("the newer one serves", || other.answers(None).unwrap() == "m@0.1.1").await;
    assert_eq!(other.call().await, 6);

    // The other way round, on top of it: it knows the numbers that the first gave out.
    assert_eq!(other.push("m", &calc(2)).await.unwrap().record.version.to_string(), "0.1.2");
    until("and back", || one.answers(None).unwrap() == "m@0.1.2").await;
    let first = "0.1.0".parse().unwrap();
    one.registry.pin(&Namespace::default(), &module("m"), Some(&first)).await.unwrap();
    until("the pin counts", || other.answers(None).unwrap() == "m@0.1.0").await;
    one.registry.pin(&Namespace::default(), &module("m"), None).await.unwrap();
    one.registry.delete(&Namespace::default(), &module("m"), None).await.unwrap();
    until("it is gone", || other.answers(None).is_err()).await;
    assert!(other.registry.list(&Namespace::default()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_ready_is_told_before_it_serves() {
    let pool = Pool::new();
    let (one, other) = (pool.host("one").await, pool.host("other").await);
    let mut watch = other.registry.watch();
    let seen = async {
        let mut seen = false;
        while other.answers(None).is_err() {
            watch.changed().await.unwrap();
            let coming = other.registry.coming();
            seen |= coming.iter().any(|id| id.to_string() == "m@0.1.0");
        }
        seen
    };
    let component = calc(0);
    let (pushed, seen) = tokio::join!(one.push("m", &component), seen);
    pushed.unwrap();
    assert!(seen);
    until("nothing is coming any more", || other.registry.coming().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_push_at_the_same_time() {
    let pool = Pool::new();
    let hosts = [pool.host("one").await, pool.host("other").await];
    let pushes = (0..8_u32).map(|index| {
        let host = &hosts[index as usize % 2];
        async move { host.push("m", &calc(100 + index)).await.unwrap().record.version.to_string() }
    });
    let mut given = futures::future::join_all(pushes).await;
    given.sort();
    assert_eq!(given, (0..8).map(|patch| format!("0.1.{patch}")).collect::<Vec<_>>());
    for host in &hosts {
        until("all of them are known", || host.versions("m").len() == 8).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_in_which_nothing_changed_keeps_its_revision() {
    let pool = Pool::new();
    let (one, other) = (pool.host("one").await, pool.host("other").await);
    one.push("m", &calc(0)).await.unwrap();
    until("the push serves there", || other.answers(None).is_ok()).await;
    let default = Namespace::default();
    let before = other.registry.routes();
    let elsewhere: Namespace = "elsewhere".parse().unwrap();
    let staged = one.stage(&calc(0)).await.unwrap();
    let request = PushRequest { name: Some(module("m")), ..PushRequest::default() };
    one.registry.push(&elsewhere, request, staged, &|_| {}).await.unwrap();
    until("the other push serves there", || !other.registry.list(&elsewhere).is_empty()).await;
    let after = other.registry.routes();
    assert!(before.revision() < after.revision());
    assert_eq!(before.edition(&default), after.edition(&default));
    let module = |routes: &roadstead_registry::RouteTable| {
        Arc::as_ptr(routes.module(&default, &module("m")).unwrap())
    };
    assert_eq!(module(&before), module(&after));
}

/// The verdict on a version of `m` that is written and not published.
async fn judged(pool: &Pool, host: &Host, version: &str, record: &VersionRecord) -> Verdict {
    let record = VersionRecord { version: version.parse().unwrap(), ..record.clone() };
    let (namespace, name) = (Namespace::default(), module("m"));
    pool.catalog.pending.lock().push(Pending { namespace, name, record: Arc::new(record) });
    // Whatever changes makes hosts look; this moves no lock of theirs.
    let nudge = exported("demo:nudge/ops@0.1.0", &[("nudge", "u32", 0)]);
    host.push("nudge", &nudge).await.unwrap();
    host.registry.delete(&Namespace::default(), &module("nudge"), None).await.unwrap();
    let find = || {
        let settled = pool.catalog.settled.lock();
        settled.iter().find(|(of, _)| of == version).map(|(_, verdict)| verdict.clone())
    };
    until("it is judged", || find().is_some()).await;
    find().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_someone_wrote_are_judged_like_pushes() {
    let pool = Pool::new();
    let host = pool.host("one").await;
    let both = functions(&[("add", "u32", 0), ("sub", "u32", 1)]);
    let first = host.push("m", &both).await.unwrap().record;
    let refusal = |verdict: Verdict| match verdict {
        Verdict::Refused(why, text) => (why, text),
        Verdict::Follows(locks) => panic!("{locks:?}"),
    };
    // What it has follows from what it is.
    let Verdict::Follows(locks) = judged(&pool, &host, "0.2.0", &first).await else { panic!() };
    let digests: Vec<Digest> = locks.iter().map(|change| change.to).collect();
    assert_eq!(digests, first.locks.values().copied().collect::<Vec<_>>());
    assert!(locks.iter().all(|change| change.from == Some(change.to)));

    // Another module may do without a function; this one has callers of it.
    let less = host.push("n", &functions(&[("add", "u32", 2)])).await.unwrap().record;
    let (why, text) = refusal(judged(&pool, &host, "0.3.0", &less).await);
    assert_eq!(why, Refusal::BreaksContract);
    assert!(text.contains(&format!("{OPS}/Sub")), "{text}");
    let mut said = (*less).clone();
    said.forced = vec![roadstead_registry::BreakRecord {
        subject: format!("{OPS}/Sub"),
        description: "the function is gone".to_owned(),
    }];
    assert!(matches!(judged(&pool, &host, "0.4.0", &said).await, Verdict::Follows(_)));

    let mut lost = (*first).clone();
    lost.component = Digest::of(b"nowhere");
    assert_eq!(refusal(judged(&pool, &host, "0.5.0", &lost).await).0, Refusal::BlobMissing);
    let mut lost = (*first).clone();
    lost.locks.values_mut().for_each(|lock| *lock = Digest::of(b"nowhere"));
    assert_eq!(refusal(judged(&pool, &host, "0.6.0", &lost).await).0, Refusal::BlobMissing);
    let mut lies = (*less).clone();
    lies.services[0].methods[0].name = "Mul".to_owned();
    assert_eq!(refusal(judged(&pool, &host, "0.7.0", &lies).await).0, Refusal::Malformed);

    // Once more was given out, what was made before does not follow any more.
    let more = functions(&[("add", "u32", 0), ("sub", "u32", 1), ("mul", "u32", 2)]);
    host.push_as(versioned("m", "1.0.0"), &more).await.unwrap();
    assert_eq!(refusal(judged(&pool, &host, "1.1.0", &less).await).0, Refusal::LocksMoved);
}
