//! Splits: which version gets which calls, and which of two splits holds.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use roadstead_blobs::BlobStore;
use roadstead_catalog::{
    Catalog, CatalogError, Change, MemoryCatalog, ModuleRecord, Publication, Published, Snapshot,
};
use roadstead_domain::{ModuleName, Namespace, Traffic, Version};
use roadstead_registry::{Registry, RegistryConfig};
use tokio::sync::watch;

use crate::harness::{Host, OPS, calc, engine, exported, module};

/// A catalog that tells how calls are split.
#[derive(Default)]
struct Splitting {
    published: MemoryCatalog,
    traffic: Mutex<Option<Traffic>>,
}

impl Splitting {
    fn tells<T>(&self, mut change: Change<T>) -> Change<T> {
        if let Some(module) = &mut change.module {
            module.traffic.clone_from(&self.traffic.lock());
        }
        change
    }
}

#[async_trait]
impl Catalog for Splitting {
    async fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        let mut snapshot = self.published.snapshot().await?;
        let tell = |module: &mut ModuleRecord| module.traffic.clone_from(&self.traffic.lock());
        snapshot.modules.values_mut().for_each(tell);
        Ok(snapshot)
    }

    async fn publish(&self, publication: Publication) -> Result<Published, CatalogError> {
        Ok(match self.published.publish(publication).await? {
            Published::Created(change) => Published::Created(self.tells(change)),
            unchanged @ Published::Unchanged(_) => unchanged,
        })
    }

    async fn delete(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<Vec<Version>>, CatalogError> {
        Ok(self.tells(self.published.delete(namespace, name, version).await?))
    }

    async fn pin(
        &self,
        namespace: &Namespace,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Change<()>, CatalogError> {
        Ok(self.tells(self.published.pin(namespace, name, version).await?))
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.published.watch()
    }
}

fn split(revision: u64, shares: &[(&str, u8)]) -> Traffic {
    let shares = shares.iter().map(|(version, percent)| (version.parse().unwrap(), *percent));
    Traffic::new(revision, shares).unwrap()
}

async fn steer(host: &Host, traffic: Traffic) {
    host.registry.steer(vec![(Namespace::default(), module("m"), traffic)]).await;
}

/// Who answers the next calls that name no version, and how many of them.
fn answers(host: &Host, calls: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        *counts.entry(host.answers(None).unwrap()).or_default() += 1;
    }
    counts
}

fn counts(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(version, count)| ((*version).to_owned(), *count)).collect()
}

/// A host with `m@0.1.0` and `m@0.1.1`.
async fn two() -> Host {
    let host = Host::new().await;
    for more in 0..2 {
        host.push("m", &calc(more)).await.unwrap();
    }
    host
}

#[tokio::test]
async fn calls_that_name_no_version_are_shared_exactly() {
    let host = two().await;
    steer(&host, split(1, &[("0.1.0", 95), ("0.1.1", 5)])).await;
    for _ in 0..3 {
        assert_eq!(answers(&host, 100), counts(&[("m@0.1.0", 95), ("m@0.1.1", 5)]));
    }
    // Those that name the module alone take part, those that name a version do not.
    for _ in 0..50 {
        assert_eq!(host.answers(Some("m@0.1.1")).unwrap(), "m@0.1.1");
    }
    let named: Vec<_> = (0..100).map(|_| host.answers(Some("m")).unwrap()).collect();
    assert_eq!(named.iter().filter(|label| *label == "m@0.1.1").count(), 5);
    // The turns go on where the split stays, whatever else changes.
    let half = answers(&host, 50);
    let elsewhere = exported("demo:elsewhere/ops@0.1.0", &[("add", "u32", 0)]);
    host.push("other", &elsewhere).await.unwrap();
    let mut both = answers(&host, 50);
    for (version, count) in half {
        *both.entry(version).or_default() += count;
    }
    assert_eq!(both, counts(&[("m@0.1.0", 95), ("m@0.1.1", 5)]));
    let found = host.registry.get(&Namespace::default(), &module("m")).unwrap();
    let percents: Vec<_> = found.versions.keys().map(|one| found.percent(one)).collect();
    assert_eq!(percents, [95, 5]);
    assert_eq!(found.current().unwrap().label().as_ref(), "m@0.1.0");
}

#[tokio::test]
async fn a_new_version_waits_and_a_pin_goes_first() {
    let host = two().await;
    steer(&host, split(1, &[("0.1.1", 100)])).await;
    host.push("m", &calc(2)).await.unwrap();
    assert_eq!(answers(&host, 100), counts(&[("m@0.1.1", 100)]));
    let found = || host.registry.get(&Namespace::default(), &module("m")).unwrap();
    assert!(found().holds_back(&"0.1.2".parse().unwrap()));
    // It can be called, and its code is there.
    let waiting = host.resolve(OPS, Some("m@0.1.2")).unwrap();
    assert_eq!(crate::harness::add(&waiting, 2, 3).await, 7);

    let first = "0.1.0".parse().unwrap();
    host.registry.pin(&Namespace::default(), &module("m"), Some(&first)).await.unwrap();
    assert_eq!(answers(&host, 100), counts(&[("m@0.1.0", 100)]));
    assert!(!found().holds_back(&"0.1.2".parse().unwrap()));
    host.registry.pin(&Namespace::default(), &module("m"), None).await.unwrap();
    assert_eq!(answers(&host, 100), counts(&[("m@0.1.1", 100)]));
}

#[tokio::test]
async fn a_split_outlives_some_of_its_versions_and_never_all() {
    let host = two().await;
    host.push("m", &calc(2)).await.unwrap();
    steer(&host, split(1, &[("0.1.0", 80), ("0.1.1", 10), ("0.9.0", 10)])).await;
    assert_eq!(answers(&host, 90), counts(&[("m@0.1.0", 80), ("m@0.1.1", 10)]));
    let delete = async |version: &str| {
        let version = version.parse().unwrap();
        host.registry.delete(&Namespace::default(), &module("m"), Some(&version)).await.unwrap();
    };
    delete("0.1.0").await;
    assert_eq!(answers(&host, 50), counts(&[("m@0.1.1", 50)]));
    delete("0.1.1").await;
    assert_eq!(answers(&host, 50), counts(&[("m@0.1.2", 50)]));
}

#[tokio::test]
async fn a_service_that_the_split_does_not_know_is_answered_by_the_newest() {
    let host = two().await;
    let more = exported("demo:late/ops@0.1.0", &[("add", "u32", 0)]);
    host.push("m", &more).await.unwrap();
    steer(&host, split(1, &[("0.1.0", 50), ("0.1.1", 50)])).await;
    let late = host.resolve("demo.late.ops.v0_1.Ops", None).unwrap();
    assert_eq!(late.label().as_ref(), "m@0.1.2");
    assert_eq!(answers(&host, 100), counts(&[("m@0.1.0", 50), ("m@0.1.1", 50)]));
    // Reflection shows what all of them have.
    let files = host.registry.routes().files(&Namespace::default());
    let names: Vec<_> = files.iter().map(|file| file.package()).collect();
    assert!(names.contains(&"demo.late.ops.v0_1") && names.contains(&"demo.calc.ops.v0_1"));
}

#[tokio::test]
async fn the_higher_revision_holds_and_every_change_is_told() {
    let host = two().await;
    let only = |version: &str| counts(&[(&format!("m@{version}"), 10)]);
    let mut watch = host.registry.watch();
    watch.mark_unchanged();
    let edition = || host.registry.routes().edition(&Namespace::default());
    let before = (edition(), host.registry.routes().revision());
    steer(&host, split(20, &[("0.1.0", 100)])).await;
    assert!(watch.has_changed().unwrap());
    assert_ne!(edition(), before.0);
    assert_eq!(host.registry.routes().revision(), before.1, "the catalog is where it was");
    assert_eq!(answers(&host, 10), only("0.1.0"));
    let steered = edition();
    for older in [split(19, &[("0.1.1", 100)]), split(20, &[("0.1.1", 100)]), Traffic::none(0)] {
        steer(&host, older).await;
        assert_eq!(answers(&host, 10), only("0.1.0"));
        assert_eq!(edition(), steered, "nothing changed");
    }
    steer(&host, split(21, &[("0.1.1", 100)])).await;
    assert_eq!(answers(&host, 10), only("0.1.1"));
    steer(&host, split(22, &[("0.1.0", 100)])).await;
    steer(&host, Traffic::none(23)).await;
    assert_eq!(answers(&host, 10), only("0.1.1"));
}

#[tokio::test]
async fn of_the_catalog_and_another_source_the_higher_revision_holds() {
    let data = tempfile::tempdir().unwrap();
    let catalog = Arc::new(Splitting::default());
    let open = async || {
        let blobs = Arc::new(BlobStore::open(data.path()).unwrap());
        let catalog: Arc<dyn Catalog> = catalog.clone();
        let config = RegistryConfig::default();
        let registry = Registry::open(engine(), catalog, blobs, config).await.unwrap();
        Host::of(data.path(), registry)
    };
    let host = open().await;
    // Told before the module is known here.
    steer(&host, split(30, &[("0.1.0", 100)])).await;
    for more in 0..2 {
        host.push("m", &calc(more)).await.unwrap();
    }
    let only = |version: &str| counts(&[(&format!("m@{version}"), 10)]);
    assert_eq!(answers(&host, 10), only("0.1.0"));
    // Each push makes the host look at what the catalog tells.
    let tell = async |more: u32, traffic: Traffic| {
        *catalog.traffic.lock() = Some(traffic);
        host.push("m", &calc(more)).await.unwrap();
    };
    tell(10, split(29, &[("0.1.1", 100)])).await;
    assert_eq!(answers(&host, 10), only("0.1.0"));
    tell(11, split(31, &[("0.1.1", 100)])).await;
    assert_eq!(answers(&host, 10), only("0.1.1"));
    steer(&host, split(30, &[("0.1.0", 100)])).await;
    assert_eq!(answers(&host, 10), only("0.1.1"));
    tell(12, Traffic::none(32)).await;
    assert_eq!(answers(&host, 10), only("0.1.4"));
    steer(&host, split(33, &[("0.1.0", 100)])).await;
    assert_eq!(answers(&host, 10), only("0.1.0"));
    // What was told does not outlive the process; what the catalog has does.
    tell(13, split(34, &[("0.1.2", 100)])).await;
    drop(host.closed().await);
    assert_eq!(answers(&open().await, 10), only("0.1.2"));
}
