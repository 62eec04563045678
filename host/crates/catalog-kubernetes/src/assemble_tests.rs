//! From objects to the snapshot, case by case.

use roadstead_catalog::VersionRecord;
use roadstead_domain::Namespace;
use roadstead_k8s_api::{rules::Deleted, version_object};

use super::*;
use crate::{
    objects::{LocksObject, Read},
    state::By,
};

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub(crate) fn name(text: &str) -> ModuleName {
    text.parse().unwrap()
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// A namespace in the making.
pub(crate) struct Cluster {
    pub(crate) state: State,
    revision: u64,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let mut state = State::default();
        state.enable(&Namespace::default());
        Self { state, revision: 0 }
    }

    pub(crate) fn put(&mut self, kind: Kind, name: &str, object: Object) {
        self.revision += 1;
        let read = Read { name: name.to_owned(), revision: self.revision, object };
        self.state.put(&Namespace::default(), kind, read, By::Watch, Instant::now());
    }

    pub(crate) fn module(&mut self, module: &str, change: impl FnOnce(&mut ModuleObject)) {
        let mut object = ModuleObject {
            uid: format!("uid-{module}"),
            native: false,
            created: 0,
            name: name(module),
            pinned: None,
            highest: None,
            deleted: Deleted::default(),
            traffic: None,
            rollout: None,
            progress: None,
            leaving: false,
        };
        change(&mut object);
        self.put(object.kind(), module, Object::Module(object));
    }

    /// A version that a host pushed, with the lock of package `p`.
    pub(crate) fn version(
        &mut self,
        module: &str,
        text: &str,
        lock: Option<&str>,
        change: impl FnOnce(&mut VersionObject),
    ) {
        let mut record = crate::convert::tests::full();
        record.version = version(text);
        record.locks = lock.map(|lock| ("p".to_owned(), digest(lock))).into_iter().collect();
        let mut object = VersionObject {
            uid: format!("uid-{module}-{text}"),
            module: name(module),
            owner: Some(format!("uid-{module}")),
            pushed_by: Some("pool".to_owned()),
            leaving: false,
            record: Arc::new(record),
        };
        change(&mut object);
        let name = version_object(&name(module), &version(text));
        self.put(object.kind(), &name, Object::Version(object));
    }

    pub(crate) fn locks(&mut self, chain: &[&str]) {
        let chain = chain.iter().map(|text| digest(text)).collect();
        let spec = WireLocksSpec { packages: [("p".to_owned(), chain)].into() };
        self.put(Kind::Locks, LOCKS, Object::Locks(LocksObject { uid: "l".to_owned(), spec }));
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.state.namespaces[&Namespace::default()]
    }

    fn shown(&self) -> Vec<String> {
        let snapshot = snapshot(&self.state);
        let modules = snapshot.modules.iter();
        let versions = modules.flat_map(|((_, name), module)| {
            module.versions.keys().map(move |version| format!("{name}@{version}"))
        });
        versions.collect()
    }
}

#[test]
fn a_version_shows_once_its_locks_are_in_the_chain() {
    let mut cluster = Cluster::new();
    cluster.module("m", |_| {});
    cluster.version("m", "0.1.0", None, |_| {});
    cluster.version("m", "0.2.0", Some("p1"), |_| {});
    cluster.version("m", "0.3.0", Some("p2"), |_| {});
    assert_eq!(cluster.shown(), ["m@0.1.0"]);
    cluster.locks(&["p1"]);
    assert_eq!(cluster.shown(), ["m@0.1.0", "m@0.2.0"]);
    cluster.locks(&["p1", "p2", "p3"]);
    assert_eq!(cluster.shown().len(), 3);
    let snapshot = snapshot(&cluster.state);
    assert_eq!(snapshot.locks[&(Namespace::default(), "p".to_owned())], digest("p3"));
    assert_eq!(snapshot.revision, cluster.state.revision);
}

#[test]
fn versions_need_their_very_module() {
    let mut cluster = Cluster::new();
    cluster.version("m", "0.1.0", None, |_| {});
    cluster.version("m", "0.2.0", None, |version| version.owner = Some("earlier".to_owned()));
    cluster.version("m", "0.3.0", None, |version| version.leaving = true);
    cluster.version("m", "0.4.0", None, |version| {
        (version.owner, version.pushed_by) = (None, None);
    });
    assert_eq!(cluster.shown(), [""; 0]);
    cluster.module("m", |module| module.deleted = "0.9.0".parse().unwrap());
    assert_eq!(cluster.shown(), ["m@0.1.0", "m@0.4.0"]);
    cluster.module("m", |module| module.deleted = "0.1.0".parse().unwrap());
    assert_eq!(cluster.shown(), ["m@0.4.0"]);
    cluster.module("m", |module| module.deleted = Deleted::All);
    assert_eq!(cluster.shown(), [""; 0]);
    let malformed = Object::Malformed { uid: "x".to_owned(), why: "odd".to_owned() };
    cluster.module("m", |_| {});
    cluster.put(Kind::Version, "m-0.5.0", malformed);
    assert_eq!(cluster.shown(), ["m@0.1.0", "m@0.4.0"]);
}

#[test]
fn numbers_that_were_given_out_are_remembered() {
    let mut cluster = Cluster::new();
    cluster.module("m", |module| {
        (module.highest, module.pinned) = (Some(version("0.7.0")), Some(version("0.1.0")));
    });
    assert_eq!(module(cluster.objects(), &name("m")), None, "no module without a version");
    cluster.version("m", "0.1.0", None, |_| {});
    let record = module(cluster.objects(), &name("m")).unwrap();
    assert_eq!((record.highest, record.pinned), (version("0.7.0"), Some(version("0.1.0"))));
    cluster.version("m", "0.8.0", None, |_| {});
    assert_eq!(module(cluster.objects(), &name("m")).unwrap().highest, version("0.8.0"));
}

#[test]
fn what_is_left_of_a_push_waits_for_its_host_first() {
    let mut cluster = Cluster::new();
    cluster.module("m", |_| {});
    cluster.version("m", "0.1.0", Some("p1"), |_| {});
    cluster.version("m", "0.2.0", Some("p1"), |version| version.pushed_by = None);
    cluster.version("m", "0.3.0", None, |_| {});
    let left = |now: Instant| -> Vec<String> {
        let left = inert(cluster.objects(), now).into_iter().filter(Inert::is_left);
        left.map(|one| one.version.record.version.to_string()).collect()
    };
    assert_eq!(left(Instant::now()), ["0.2.0"]);
    assert_eq!(left(Instant::now() + STALE), ["0.1.0", "0.2.0"]);
}

#[test]
fn garbage_is_what_deletions_left() {
    let mut cluster = Cluster::new();
    cluster.module("m", |module| module.deleted = "0.2.0".parse().unwrap());
    cluster.version("m", "0.1.0", None, |_| {});
    cluster.version("m", "0.2.0", None, |_| {});
    cluster.version("m", "0.3.0", None, |version| version.owner = Some("earlier".to_owned()));
    cluster.version("gone", "0.1.0", None, |_| {});
    // A person's own object is left alone, and so is what Kubernetes deletes already.
    cluster.version("gone", "0.2.0", None, |version| version.pushed_by = None);
    cluster.version("gone", "0.3.0", None, |version| version.leaving = true);
    let names = |cluster: &Cluster| -> Vec<String> {
        garbage(cluster.objects()).into_iter().map(|one| one.name).collect()
    };
    assert_eq!(names(&cluster), ["gone-0.1.0", "m-0.2.0", "m-0.3.0"]);
    cluster.module("m", |module| module.deleted = Deleted::All);
    assert_eq!(names(&cluster), ["gone-0.1.0", "m-0.1.0", "m-0.2.0", "m-0.3.0", "m"]);
}

#[test]
fn a_name_is_of_the_older_module_of_two_kinds() {
    let native = |version: &mut VersionObject| {
        version.record = Arc::new(VersionRecord {
            version: version.record.version.clone(),
            locks: BTreeMap::new(),
            ..crate::convert::tests::native()
        });
    };
    let mut cluster = Cluster::new();
    cluster.module("m", |module| module.created = 7);
    cluster.version("m", "0.1.0", None, |_| {});
    cluster.version("m", "0.2.0", None, native);
    assert_eq!(cluster.shown(), ["m@0.1.0"], "a native version needs a native module");
    let later = |module: &mut ModuleObject, created| {
        (module.native, module.created) = (true, created);
    };
    cluster.module("m", |module| later(module, 8));
    assert_eq!(cluster.shown(), ["m@0.1.0"]);
    cluster.module("m", |module| later(module, 6));
    assert_eq!(cluster.shown(), ["m@0.2.0"]);
    assert!(module_object(cluster.objects(), &name("m")).unwrap().0.native);
    // Whoever is deleted keeps no name.
    cluster.module("m", |module| {
        later(module, 6);
        module.deleted = Deleted::All;
    });
    assert_eq!(cluster.shown(), ["m@0.1.0"]);
    let left = garbage(cluster.objects());
    let left: Vec<_> = left.iter().map(|one| (one.kind, one.name.as_str())).collect();
    assert_eq!(left, [(Kind::NativeVersion, "m-0.2.0"), (Kind::NativeModule, "m")]);
}
