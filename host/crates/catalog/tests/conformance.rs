//! Both catalogs pass the one suite; random operations agree with a model; a file survives.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports")]

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use roadstead_catalog::{
    Catalog, CatalogError, MemoryCatalog, Published, RedbCatalog, conformance,
};
use roadstead_domain::{Digest, Namespace, Version};

/// Runs one check over a fresh catalog of each kind.
macro_rules! both {
    ($($check:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $check() {
                conformance::$check(&MemoryCatalog::default()).await;
            })*
        }

        mod redb {
            use super::*;
            $(#[tokio::test]
            async fn $check() {
                let directory = tempfile::tempdir().unwrap();
                let catalog = RedbCatalog::open(&directory.path().join("catalog")).unwrap();
                conformance::$check(&catalog).await;
            })*
        }
    };
}

both!(
    publishes,
    versions_are_immutable,
    chooses_the_next_version,
    a_name_is_native_or_not,
    deletes,
    pins,
    locks_move_with_versions,
    namespaces_are_apart,
);

#[tokio::test]
async fn hosts_of_their_own_know_no_rollouts() {
    assert!(!conformance::rollouts(&MemoryCatalog::default()).await);
    let directory = tempfile::tempdir().unwrap();
    let catalog = RedbCatalog::open(&directory.path().join("catalog")).unwrap();
    assert!(!conformance::rollouts(&catalog).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_publications_get_one_order() {
    conformance::concurrent_publications_get_one_order(Arc::new(MemoryCatalog::default())).await;
    let directory = tempfile::tempdir().unwrap();
    let catalog = RedbCatalog::open(&directory.path().join("catalog")).unwrap();
    conformance::concurrent_publications_get_one_order(Arc::new(catalog)).await;
}

#[tokio::test]
async fn a_file_has_one_owner_and_is_the_same_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog");
    let catalog = RedbCatalog::open(&path).unwrap();
    catalog.publish(conformance::publication("m", "0.1.0", "a")).await.unwrap();
    catalog
        .pin(&Namespace::default(), &"m".parse().unwrap(), Some(&"0.1.0".parse().unwrap()))
        .await
        .unwrap();
    let before = catalog.snapshot().await.unwrap();
    let error = RedbCatalog::open(&path).unwrap_err();
    assert!(matches!(error, CatalogError::InUse(_)), "{error}");
    drop(catalog);
    let catalog = RedbCatalog::open(&path).unwrap();
    assert_eq!(catalog.snapshot().await.unwrap(), before);
    assert_eq!(*catalog.watch().borrow(), before.revision);
}

/// One random step.
#[derive(Debug, Clone)]
enum Step {
    Explicit { module: u8, version: u8, bytes: u8 },
    Next { module: u8, bytes: u8 },
    Delete { module: u8, version: Option<u8> },
    Pin { module: u8, version: Option<u8> },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (module, version, bytes) = (0..3_u8, 0..4_u8, 0..3_u8);
    let step = prop_oneof![
        4 => (module.clone(), version.clone(), bytes.clone())
            .prop_map(|(module, version, bytes)| Step::Explicit { module, version, bytes }),
        4 => (module.clone(), bytes).prop_map(|(module, bytes)| Step::Next { module, bytes }),
        2 => (module.clone(), prop::option::weighted(0.8, version.clone()))
            .prop_map(|(module, version)| Step::Delete { module, version }),
        2 => (module, prop::option::of(version))
            .prop_map(|(module, version)| Step::Pin { module, version }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

/// What the catalog should hold, told without its rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model(BTreeMap<String, Module>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Module {
    versions: BTreeMap<Version, Digest>,
    pinned: Option<Version>,
    highest: Option<Version>,
}

fn version(patch: u8) -> Version {
    format!("0.1.{patch}").parse().unwrap()
}

fn digest(bytes: u8) -> Digest {
    Digest::of(bytes.to_string().as_bytes())
}

impl Model {
    /// The kind of answer that a step should get.
    fn apply(&mut self, step: &Step) -> &'static str {
        match step {
            Step::Explicit { module, version: patch, bytes } => {
                let module = self.0.entry(format!("m{module}")).or_default();
                match module.versions.get(&version(*patch)) {
                    Some(found) if *found == digest(*bytes) => return "unchanged",
                    Some(_) => return "exists",
                    None => {}
                }
                module.versions.insert(version(*patch), digest(*bytes));
                module.highest = module.highest.take().max(Some(version(*patch)));
                "created"
            }
            Step::Next { module, bytes } => {
                let module = self.0.entry(format!("m{module}")).or_default();
                if module.versions.last_key_value().is_some_and(|(_, d)| *d == digest(*bytes)) {
                    return "unchanged";
                }
                let next = module.highest.as_ref().map_or(version(0), Version::next_patch);
                module.versions.insert(next.clone(), digest(*bytes));
                module.highest = Some(next);
                "created"
            }
            Step::Delete { module, version: patch } => {
                let name = format!("m{module}");
                let Some(module) = self.0.get_mut(&name) else { return "no module" };
                if let Some(patch) = patch {
                    if module.pinned == Some(version(*patch)) {
                        return "pinned";
                    }
                    if module.versions.remove(&version(*patch)).is_none() {
                        return "no version";
                    }
                    if !module.versions.is_empty() {
                        return "done";
                    }
                }
                self.0.remove(&name);
                "done"
            }
            Step::Pin { module, version: patch } => {
                let Some(module) = self.0.get_mut(&format!("m{module}")) else {
                    return "no module";
                };
                let wanted = patch.map(version);
                if wanted.as_ref().is_some_and(|wanted| !module.versions.contains_key(wanted)) {
                    return "no version";
                }
                module.pinned = wanted;
                "done"
            }
            Step::Reopen => "done",
        }
    }
}

async fn perform(catalog: &dyn Catalog, step: &Step) -> &'static str {
    let namespace = Namespace::default();
    let published = match step {
        Step::Explicit { module, version: patch, bytes } => {
            let (name, version) = (format!("m{module}"), version(*patch).to_string());
            let publication = conformance::publication(&name, &version, &bytes.to_string());
            catalog.publish(publication).await
        }
        Step::Next { module, bytes } => {
            let (name, bytes) = (format!("m{module}"), bytes.to_string());
            match catalog.publish(conformance::next(&name, "9.9.9", &bytes)).await {
                Err(CatalogError::NotNext { next, .. }) => {
                    catalog.publish(conformance::next(&name, &next.to_string(), &bytes)).await
                }
                other => other,
            }
        }
        Step::Delete { module, version: patch } => {
            let name = format!("m{module}").parse().unwrap();
            let version = patch.map(version);
            return told(catalog.delete(&namespace, &name, version.as_ref()).await.map(|_| "done"));
        }
        Step::Pin { module, version: patch } => {
            let name = format!("m{module}").parse().unwrap();
            let version = patch.map(version);
            return told(catalog.pin(&namespace, &name, version.as_ref()).await.map(|_| "done"));
        }
        Step::Reopen => return "done",
    };
    told(published.map(|published| match published {
        Published::Created(_) => "created",
        Published::Unchanged(_) => "unchanged",
    }))
}

fn told(result: Result<&'static str, CatalogError>) -> &'static str {
    match result {
        Ok(answer) => answer,
        Err(CatalogError::VersionExists { .. }) => "exists",
        Err(CatalogError::NoSuchModule(_)) => "no module",
        Err(CatalogError::NoSuchVersion { .. }) => "no version",
        Err(CatalogError::Pinned { .. }) => "pinned",
        Err(error) => panic!("{error}"),
    }
}

async fn held(catalog: &dyn Catalog) -> Model {
    let snapshot = catalog.snapshot().await.unwrap();
    let modules = snapshot.modules.into_iter().map(|((_, name), module)| {
        let versions = module.versions.iter().map(|(v, record)| (v.clone(), record.digest));
        let module = Module {
            versions: versions.collect(),
            pinned: module.pinned,
            highest: Some(module.highest),
        };
        (name.to_string(), module)
    });
    Model(modules.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_steps_agree_with_a_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog");
        let memory = MemoryCatalog::default();
        let mut file = RedbCatalog::open(&path).unwrap();
        let mut model = Model::default();
        runtime.block_on(async {
            for step in &steps {
                if matches!(step, Step::Reopen) {
                    drop(file);
                    file = RedbCatalog::open(&path).unwrap();
                }
                let expected = model.apply(step);
                prop_assert_eq!(perform(&memory, step).await, expected);
                prop_assert_eq!(perform(&file, step).await, expected);
            }
            prop_assert_eq!(&held(&memory).await, &model);
            prop_assert_eq!(&held(&file).await, &model);
            prop_assert_eq!(memory.snapshot().await.unwrap(), file.snapshot().await.unwrap());
            Ok(())
        })?;
    }
}

/// Where a child process of these tests finds its catalog.
const CHILD: &str = "ROADSTEAD_CATALOG_CHILD";

/// The file may not grow in the child: to the program that is a disk without room.
#[tokio::test]
async fn a_full_disk_refuses_changes_until_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog");
    let catalog = RedbCatalog::open(&path).unwrap();
    catalog.publish(conformance::publication("m", "0.1.0", "a")).await.unwrap();
    drop(catalog);
    let blocks = std::fs::metadata(&path).unwrap().len().div_ceil(512) + 2048;
    let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" \"$@\"");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_on_a_full_disk", "--nocapture"])
        .env(CHILD, &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("there was room again"), "{text}");
    let catalog = RedbCatalog::open(&path).unwrap();
    let snapshot = catalog.snapshot().await.unwrap();
    let module = &snapshot.modules[&(Namespace::default(), "m".parse().unwrap())];
    assert!(module.versions.contains_key(&"0.1.0".parse().unwrap()));
    assert!(module.versions.contains_key(&"9.0.0".parse().unwrap()));
}

#[test]
fn a_new_catalog_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog");
    assert!(!RedbCatalog::exists(&path).unwrap());
    std::fs::File::create(&path).unwrap();
    assert!(!RedbCatalog::exists(&path).unwrap(), "an empty file is no catalog");
    std::fs::remove_file(&path).unwrap();
    drop(RedbCatalog::open(&path).unwrap());
    assert!(RedbCatalog::exists(&path).unwrap());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn child_on_a_full_disk() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let catalog = RedbCatalog::open(std::path::Path::new(&path)).unwrap();
    let large = |version: &str| {
        let mut publication = conformance::publication("m", version, version);
        let reason = "x".repeat(1 << 18);
        publication.record.unmapped =
            vec![roadstead_catalog::UnmappedRecord { export: "e".to_owned(), reason }];
        publication
    };
    let mut published = Vec::new();
    let error = loop {
        let version = format!("1.0.{}", published.len());
        match catalog.publish(large(&version)).await {
            Ok(_) => published.push(version),
            Err(error) => break error,
        }
        assert!(published.len() < 1000);
    };
    assert!(matches!(error, CatalogError::Full(_)), "{error:?}");
    let held = |snapshot: &roadstead_catalog::Snapshot| {
        let module = &snapshot.modules[&(Namespace::default(), "m".parse().unwrap())];
        module.versions.keys().map(Version::to_string).collect::<Vec<_>>()
    };
    let mut expected = vec!["0.1.0".to_owned()];
    expected.append(&mut published);
    assert_eq!(held(&catalog.snapshot().await.unwrap()), expected, "only what was acknowledged");
    // Room is made; the same process goes on.
    let unlimited = rustix::process::getrlimit(rustix::process::Resource::Fsize).maximum;
    let limit = rustix::process::Rlimit { current: unlimited, maximum: unlimited };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    catalog.publish(large("9.0.0")).await.unwrap();
    expected.push("9.0.0".to_owned());
    assert_eq!(held(&catalog.snapshot().await.unwrap()), expected);
    println!("there was room again");
}
