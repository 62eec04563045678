//! What stands in the place of a version, case by case.

use super::*;
use crate::assemble::tests::{Cluster, digest, name, version};

fn record(text: &str) -> VersionRecord {
    VersionRecord {
        version: version(text),
        locks: [("p".to_owned(), digest("p1"))].into(),
        ..crate::convert::tests::full()
    }
}

#[test]
fn the_place_of_a_version_says_what_to_do() {
    let mut cluster = Cluster::new();
    let look = |cluster: &Cluster, record: &VersionRecord, now: Instant| {
        place(cluster.objects(), &name("m"), record, now)
    };
    let now = Instant::now();
    assert_eq!(look(&cluster, &record("0.1.0"), now), Place::Free);
    cluster.version("m", "0.1.0", Some("p1"), |_| {});
    let left = || Place::Left { uid: "uid-m-0.1.0".to_owned() };
    assert_eq!(look(&cluster, &record("0.1.0"), now), left(), "without its module");
    cluster.module("m", |_| {});
    let later = VersionRecord { published_unix_ms: 7, ..record("0.1.0") };
    assert!(matches!(look(&cluster, &later, now), Place::Same(_)));
    let other = VersionRecord { size: 7, ..record("0.1.0") };
    assert_eq!(look(&cluster, &other, Instant::now()), Place::Busy);
    assert_eq!(look(&cluster, &other, Instant::now() + STALE), left());
    cluster.version("m", "0.1.0", Some("p1"), |version| version.pushed_by = None);
    assert_eq!(look(&cluster, &other, Instant::now() + STALE), Place::Taken);
    cluster.version("m", "0.1.0", Some("p1"), |version| version.leaving = true);
    assert_eq!(look(&cluster, &record("0.1.0"), now), Place::Busy);
    let malformed = Object::Malformed { uid: "x".to_owned(), why: "odd".to_owned() };
    cluster.put(Kind::Version, "m-0.1.0", malformed);
    assert_eq!(look(&cluster, &record("0.1.0"), now), Place::Malformed("odd".to_owned()));
}

#[test]
fn marks_stay_until_there_are_many() {
    let mut cluster = Cluster::new();
    cluster.version("m", "0.1.1", None, |_| {});
    let marked = |count: usize| -> Deleted {
        Deleted::Versions((0..count).map(|patch| version(&format!("0.1.{patch}"))).collect())
    };
    cluster.module("m", |module| module.deleted = marked(3));
    let ground = Ground::of(cluster.objects(), &name("m"));
    assert_eq!(ground.marks(None), marked(3));
    assert!(!ground.marks(Some(&version("0.1.2"))).holds(&version("0.1.2")));
    cluster.module("m", |module| module.deleted = marked(MARKS + 1));
    let ground = Ground::of(cluster.objects(), &name("m"));
    assert_eq!(ground.marks(None).to_text().as_deref(), Some("0.1.1"));
    cluster.module("m", |module| module.deleted = Deleted::All);
    assert_eq!(Ground::of(cluster.objects(), &name("m")).marks(None), Deleted::default());
}
