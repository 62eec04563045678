//! What every [`Catalog`] must do, as functions over an empty one. They panic where it does not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use roadstead_domain::{Digest, ModuleName, ModuleSpec, Namespace, SpecFormat, Version};

use crate::{
    Catalog, CatalogError, LockChange, PlanEdit, Publication, Published, Rollout, RolloutAction,
    RolloutEdit, VersionChoice, VersionRecord,
};

/// A publication of some bytes as a version.
pub fn publication(name: &str, version: &str, bytes: &str) -> Publication {
    let digest = Digest::of(bytes.as_bytes());
    Publication {
        namespace: Namespace::default(),
        name: name.parse().unwrap(),
        choice: VersionChoice::Explicit,
        record: VersionRecord {
            component_instances: 1,
            version: version.parse().unwrap(),
            digest,
            size: bytes.len().try_into().unwrap(),
            stored_beside: 0,
            component: digest,
            interface: digest,
            wit: None,
            spec: ModuleSpec::default(),
            services: Vec::new(),
            unmapped: Vec::new(),
            imports: Vec::new(),
            locks: BTreeMap::new(),
            forced: Vec::new(),
            published_unix_ms: 1,
        },
        locks: Vec::new(),
    }
}

/// A publication of a native version.
pub fn native(name: &str, version: &str, bytes: &str) -> Publication {
    let spec = "native: {command: [serve], image: registry.example.com/serve:1}";
    let mut publication = publication(name, version, bytes);
    publication.record.spec = ModuleSpec::parse(spec, SpecFormat::Yaml).unwrap();
    publication
}

/// The same, where the catalog must agree that the version is the next one.
pub fn next(name: &str, version: &str, bytes: &str) -> Publication {
    Publication { choice: VersionChoice::Next, ..publication(name, version, bytes) }
}

fn name(text: &str) -> ModuleName {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn created(published: Published) -> (u64, Arc<VersionRecord>) {
    match published {
        Published::Created(change) => (change.revision, change.outcome),
        Published::Unchanged(record) => panic!("{} existed already", record.version),
    }
}

async fn versions(catalog: &dyn Catalog, module: &str) -> Vec<String> {
    let snapshot = catalog.snapshot().await.unwrap();
    let module = snapshot.modules.get(&(Namespace::default(), name(module)));
    module.into_iter().flat_map(|module| module.versions.keys()).map(Version::to_string).collect()
}

/// What was published is in the snapshot, and revisions grow.
pub async fn publishes(catalog: &dyn Catalog) {
    assert_eq!(catalog.snapshot().await.unwrap().modules.len(), 0);
    let mut watch = catalog.watch();
    let before = *watch.borrow_and_update();
    let (first, record) = created(catalog.publish(publication("m", "0.1.0", "a")).await.unwrap());
    assert_eq!(record.digest, Digest::of(b"a"));
    assert!(first > before);
    assert!(watch.has_changed().unwrap());
    assert_eq!(*watch.borrow_and_update(), first);
    let (second, _) = created(catalog.publish(publication("m", "0.2.0", "b")).await.unwrap());
    assert!(second > first);
    let snapshot = catalog.snapshot().await.unwrap();
    assert_eq!(snapshot.revision, second);
    let module = &snapshot.modules[&(Namespace::default(), name("m"))];
    assert_eq!(module.versions[&version("0.1.0")], record);
    assert_eq!(module.highest, version("0.2.0"));
    assert_eq!(module.pinned, None);
}

/// The same content again changes nothing; other content is refused.
pub async fn versions_are_immutable(catalog: &dyn Catalog) {
    let (revision, record) =
        created(catalog.publish(publication("m", "0.1.0", "a")).await.unwrap());
    let mut later = publication("m", "0.1.0", "a");
    later.record.published_unix_ms = 2;
    assert_eq!(catalog.publish(later).await.unwrap(), Published::Unchanged(record));
    assert_eq!(catalog.snapshot().await.unwrap().revision, revision);

    let mut other_spec = publication("m", "0.1.0", "a");
    other_spec.record.spec.limits.fuel_per_call = 7;
    for refused in [publication("m", "0.1.0", "b"), other_spec] {
        let error = catalog.publish(refused).await.unwrap_err();
        assert!(matches!(error, CatalogError::VersionExists { .. }), "{error}");
    }
    assert_eq!(catalog.snapshot().await.unwrap().revision, revision);
}

/// Without a version: the next patch, and nothing for what the newest holds already.
pub async fn chooses_the_next_version(catalog: &dyn Catalog) {
    let error = catalog.publish(next("m", "3.0.0", "a")).await.unwrap_err();
    assert!(
        matches!(&error, CatalogError::NotNext { next, .. } if *next == version("0.1.0")),
        "{error}"
    );
    created(catalog.publish(next("m", "0.1.0", "a")).await.unwrap());
    created(catalog.publish(next("m", "0.1.1", "b")).await.unwrap());
    let again = catalog.publish(next("m", "0.1.2", "b")).await.unwrap();
    assert!(matches!(again, Published::Unchanged(record) if record.version == version("0.1.1")));
    // What only an older version holds is published anew: it is to be the newest.
    created(catalog.publish(next("m", "0.1.2", "a")).await.unwrap());
    // The number of a deleted version is not given out again.
    catalog.delete(&Namespace::default(), &name("m"), Some(&version("0.1.2"))).await.unwrap();
    let error = catalog.publish(next("m", "0.1.2", "c")).await.unwrap_err();
    assert!(
        matches!(&error, CatalogError::NotNext { next, .. } if *next == version("0.1.3")),
        "{error}"
    );
    created(catalog.publish(next("m", "0.1.3", "c")).await.unwrap());
    assert_eq!(versions(catalog, "m").await, ["0.1.0", "0.1.1", "0.1.3"]);
}

/// Native versions are published, pinned and deleted like others, and a name is of one kind.
pub async fn a_name_is_native_or_not(catalog: &dyn Catalog) {
    let default = Namespace::default();
    created(catalog.publish(native("n", "0.1.0", "a")).await.unwrap());
    let (_, record) = created(catalog.publish(native("n", "0.2.0", "b")).await.unwrap());
    assert!(record.is_native());
    let again = catalog.publish(native("n", "0.2.0", "b")).await.unwrap();
    assert_eq!(again, Published::Unchanged(record));
    catalog.pin(&default, &name("n"), Some(&version("0.1.0"))).await.unwrap();
    let pinned = catalog.delete(&default, &name("n"), Some(&version("0.1.0"))).await.unwrap_err();
    assert!(matches!(pinned, CatalogError::Pinned { .. }), "{pinned}");
    created(catalog.publish(publication("m", "0.1.0", "a")).await.unwrap());
    for (refused, taken) in
        [(publication("n", "0.3.0", "c"), true), (native("m", "0.2.0", "c"), false)]
    {
        let error = catalog.publish(refused).await.unwrap_err();
        assert!(
            matches!(error, CatalogError::NameTaken { native, .. } if native == taken),
            "{error}"
        );
    }
    catalog.pin(&default, &name("n"), None).await.unwrap();
    catalog.delete(&default, &name("n"), Some(&version("0.1.0"))).await.unwrap();
    assert_eq!(versions(catalog, "n").await, ["0.2.0"]);
    // A name that is free again may be of the other kind.
    catalog.delete(&default, &name("n"), None).await.unwrap();
    created(catalog.publish(publication("n", "0.3.0", "c")).await.unwrap());
    assert_eq!(versions(catalog, "n").await, ["0.3.0"]);
}

/// Deleting takes one version or all; a pinned one stays.
pub async fn deletes(catalog: &dyn Catalog) {
    let default = Namespace::default();
    let missing = catalog.delete(&default, &name("m"), None).await.unwrap_err();
    assert!(matches!(missing, CatalogError::NoSuchModule(_)), "{missing}");
    for (version, bytes) in [("0.1.0", "a"), ("0.1.1", "b"), ("0.1.2", "c")] {
        created(catalog.publish(publication("m", version, bytes)).await.unwrap());
    }
    let missing = catalog.delete(&default, &name("m"), Some(&version("9.0.0"))).await.unwrap_err();
    assert!(matches!(missing, CatalogError::NoSuchVersion { .. }), "{missing}");

    let change = catalog.delete(&default, &name("m"), Some(&version("0.1.1"))).await.unwrap();
    assert_eq!(change.outcome, [version("0.1.1")]);
    assert_eq!(change.module.unwrap().versions.len(), 2);
    catalog.pin(&default, &name("m"), Some(&version("0.1.0"))).await.unwrap();
    let pinned = catalog.delete(&default, &name("m"), Some(&version("0.1.0"))).await.unwrap_err();
    assert!(matches!(pinned, CatalogError::Pinned { .. }), "{pinned}");
    assert_eq!(versions(catalog, "m").await, ["0.1.0", "0.1.2"]);

    let change = catalog.delete(&default, &name("m"), None).await.unwrap();
    assert_eq!(change.outcome, [version("0.1.0"), version("0.1.2")]);
    assert_eq!(change.module, None);
    assert!(catalog.snapshot().await.unwrap().modules.is_empty());
    // A module that is gone has left nothing: not its pin, not its numbers.
    created(catalog.publish(next("m", "0.1.0", "d")).await.unwrap());
    let snapshot = catalog.snapshot().await.unwrap();
    assert_eq!(snapshot.modules[&(default.clone(), name("m"))].pinned, None);
    // The last version takes the module with it.
    let change = catalog.delete(&default, &name("m"), Some(&version("0.1.0"))).await.unwrap();
    assert_eq!(change.module, None);
    assert!(catalog.snapshot().await.unwrap().modules.is_empty());
}

/// Pins name versions that exist; pinning the same again is no change.
pub async fn pins(catalog: &dyn Catalog) {
    let default = Namespace::default();
    let missing = catalog.pin(&default, &name("m"), None).await.unwrap_err();
    assert!(matches!(missing, CatalogError::NoSuchModule(_)), "{missing}");
    created(catalog.publish(publication("m", "0.1.0", "a")).await.unwrap());
    let missing = catalog.pin(&default, &name("m"), Some(&version("0.2.0"))).await.unwrap_err();
    assert!(matches!(missing, CatalogError::NoSuchVersion { .. }), "{missing}");
    let first = catalog.pin(&default, &name("m"), Some(&version("0.1.0"))).await.unwrap();
    let again = catalog.pin(&default, &name("m"), Some(&version("0.1.0"))).await.unwrap();
    assert_eq!(first.revision, again.revision);
    assert_eq!(again.module.unwrap().pinned, Some(version("0.1.0")));
    created(catalog.publish(publication("m", "0.2.0", "b")).await.unwrap());
    let snapshot = catalog.snapshot().await.unwrap();
    let module = &snapshot.modules[&(default.clone(), name("m"))];
    assert_eq!(module.pinned, Some(version("0.1.0")));
    let unpinned = catalog.pin(&default, &name("m"), None).await.unwrap();
    assert_eq!(unpinned.module.unwrap().pinned, None);
}

/// Plans of rollouts are kept, or all of it is refused by name; says which.
pub async fn rollouts(catalog: &dyn Catalog) -> bool {
    let default = Namespace::default();
    created(catalog.publish(publication("m", "0.1.0", "a")).await.unwrap());
    let edit = async |edit: RolloutEdit| catalog.edit_rollout(&default, &name("m"), edit).await;
    let steps = |steps: &[u8]| {
        RolloutEdit::Set(PlanEdit { steps: Some(steps.to_vec()), ..PlanEdit::default() })
    };
    if let Err(CatalogError::RolloutUnsupported) = catalog.rollout(&default, &name("m")).await {
        for refused in [steps(&[5, 100]), RolloutEdit::Unset, RolloutEdit::Pause] {
            let error = edit(refused).await.unwrap_err();
            assert!(matches!(error, CatalogError::RolloutUnsupported), "{error}");
        }
        let snapshot = catalog.snapshot().await.unwrap();
        assert_eq!(snapshot.modules[&(default.clone(), name("m"))].traffic, None);
        return false;
    }
    let missing = catalog.rollout(&default, &name("absent")).await.unwrap_err();
    assert!(matches!(missing, CatalogError::NoSuchModule(_)), "{missing}");
    let rollout = async || catalog.rollout(&default, &name("m")).await.unwrap();
    assert_eq!(rollout().await, Rollout::default());
    // Nothing to pause, to resume or to decide about.
    let promote = |text: &str| RolloutEdit::Decide(RolloutAction::Promote, Some(version(text)));
    for early in [RolloutEdit::Pause, RolloutEdit::Resume, promote("0.1.0")] {
        let error = edit(early).await.unwrap_err();
        assert!(matches!(error, CatalogError::RolloutRefused(_)), "{error}");
    }
    let unset = edit(RolloutEdit::Unset).await.unwrap();
    let first = edit(steps(&[10, 100])).await.unwrap();
    assert!(unset.revision < first.revision);
    assert_eq!(first.outcome, rollout().await);
    let plan = first.outcome.plan.unwrap();
    assert_eq!(plan.steps.as_deref(), Some(&[10, 100][..]));
    assert!(plan.interval.is_some() && plan.minimum_calls.is_some(), "the rest has defaults");
    // What is set already is no change; what is left out stays.
    assert_eq!(edit(steps(&[10, 100])).await.unwrap().revision, first.revision);
    let calls = PlanEdit { minimum_calls: Some(7), ..PlanEdit::default() };
    let second = edit(RolloutEdit::Set(calls)).await.unwrap();
    let plan = second.outcome.plan.unwrap();
    assert_eq!((plan.steps.as_deref(), plan.minimum_calls), (Some(&[10, 100][..]), Some(7)));

    assert!(edit(RolloutEdit::Pause).await.unwrap().outcome.paused);
    assert!(!edit(RolloutEdit::Resume).await.unwrap().outcome.paused);
    let error = edit(promote("9.0.0")).await.unwrap_err();
    assert!(matches!(error, CatalogError::NoSuchVersion { .. }), "{error}");
    // None is on its way: which one is meant must be said.
    let error = edit(RolloutEdit::Decide(RolloutAction::Abort, None)).await.unwrap_err();
    assert!(matches!(error, CatalogError::RolloutRefused(_)), "{error}");
    let decided = edit(promote("0.1.0")).await.unwrap();
    let word = Some((RolloutAction::Promote, version("0.1.0")));
    assert_eq!(decided.outcome.decision, word);
    // A pin and a plan leave each other alone.
    catalog.pin(&default, &name("m"), Some(&version("0.1.0"))).await.unwrap();
    assert_eq!(rollout().await, decided.outcome);
    let module = edit(RolloutEdit::Unset).await.unwrap().module.unwrap();
    assert_eq!(module.pinned, Some(version("0.1.0")));
    assert_eq!(rollout().await.plan, None);
    true
}

/// Locks move with the version that moves them, or neither does.
pub async fn locks_move_with_versions(catalog: &dyn Catalog) {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let change = |package: &str, from: Option<&str>, to: &str| LockChange {
        package: package.to_owned(),
        from: from.map(digest),
        to: digest(to),
    };
    let default = Namespace::default();
    let lock_of = |snapshot: &crate::Snapshot, package: &str| {
        snapshot.locks.get(&(default.clone(), package.to_owned())).copied()
    };
    let mut first = publication("m", "0.1.0", "a");
    first.locks = vec![change("p", None, "p1"), change("q", None, "q1")];
    created(catalog.publish(first).await.unwrap());

    // One stale lock among them: nothing moves.
    let mut stale = publication("m", "0.2.0", "b");
    stale.locks = vec![change("p", Some("p1"), "p2"), change("q", None, "q2")];
    let error = catalog.publish(stale.clone()).await.unwrap_err();
    let now = Some(digest("q1"));
    assert!(
        matches!(&error, CatalogError::LockMoved { package, now: found } if package == "q" && *found == now),
        "{error}"
    );
    let snapshot = catalog.snapshot().await.unwrap();
    assert_eq!(lock_of(&snapshot, "p"), Some(digest("p1")));
    assert_eq!(versions(catalog, "m").await, ["0.1.0"]);

    stale.locks = vec![change("p", Some("p1"), "p2"), change("q", Some("q1"), "q1")];
    created(catalog.publish(stale).await.unwrap());
    // Another namespace has locks of its own.
    let mut elsewhere = publication("m", "0.1.0", "a");
    elsewhere.namespace = "other".parse().unwrap();
    elsewhere.locks = vec![change("p", None, "p9")];
    created(catalog.publish(elsewhere).await.unwrap());
    // Locks outlive their modules: names and numbers stay given out.
    catalog.delete(&default, &name("m"), None).await.unwrap();
    let snapshot = catalog.snapshot().await.unwrap();
    assert_eq!(lock_of(&snapshot, "p"), Some(digest("p2")));
    assert_eq!(lock_of(&snapshot, "q"), Some(digest("q1")));
    assert_eq!(snapshot.locks[&("other".parse().unwrap(), "p".to_owned())], digest("p9"));
}

/// Modules of one name in two namespaces have nothing to do with each other.
pub async fn namespaces_are_apart(catalog: &dyn Catalog) {
    let other: Namespace = "other".parse().unwrap();
    created(catalog.publish(publication("m", "0.1.0", "a")).await.unwrap());
    let mut there = publication("m", "0.1.0", "b");
    there.namespace = other.clone();
    created(catalog.publish(there).await.unwrap());
    // Names that are prefixes of each other are not mixed up either.
    created(catalog.publish(publication("m-2", "0.3.0", "c")).await.unwrap());
    catalog.delete(&Namespace::default(), &name("m"), None).await.unwrap();
    let snapshot = catalog.snapshot().await.unwrap();
    let left: Vec<String> =
        snapshot.modules.keys().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
    assert_eq!(left, ["default/m-2", "other/m"]);
}

/// Many at once without a version: each gets a number of its own, and every one is there.
pub async fn concurrent_publications_get_one_order(catalog: Arc<dyn Catalog>) {
    let publish = |index: usize| {
        let catalog = Arc::clone(&catalog);
        async move {
            let bytes = format!("bytes {index}");
            let mut guess = version("0.1.0");
            loop {
                match catalog.publish(next("m", &guess.to_string(), &bytes)).await {
                    Ok(published) => return created(published),
                    Err(CatalogError::NotNext { next, .. }) => guess = next,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let tasks: Vec<_> = (0..16).map(|index| tokio::spawn(publish(index))).collect();
    let mut by_revision = BTreeMap::new();
    for task in tasks {
        let (revision, record) = task.await.unwrap();
        assert!(by_revision.insert(revision, record).is_none(), "one revision, two changes");
    }
    let order: Vec<String> =
        by_revision.values().map(|record| record.version.to_string()).collect();
    let expected: Vec<String> = (0..16).map(|patch| format!("0.1.{patch}")).collect();
    assert_eq!(order, expected, "versions follow the order of the changes");
    let digests: BTreeSet<Digest> = by_revision.values().map(|record| record.digest).collect();
    assert_eq!(digests.len(), 16);
    assert_eq!(versions(&*catalog, "m").await.len(), 16);
}
