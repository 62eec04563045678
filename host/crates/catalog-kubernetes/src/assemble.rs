//! From objects to what the catalog shows: pure.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use roadstead_catalog::{ModuleRecord, Snapshot};
use roadstead_domain::{Digest, ModuleName, Version};
use roadstead_k8s_api::{LOCKS, WireLocksSpec, rules};

use crate::{
    objects::{Kind, ModuleObject, Object, VersionObject},
    state::{Objects, State},
};

/// How long the host that pushed a version has for publishing it, before another one looks after
/// it. Each of its requests ends within a sixth of that.
pub(crate) const STALE: Duration = Duration::from_secs(60);

/// A version that exists and is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inert {
    pub(crate) version: VersionObject,
    /// How long this host has known it.
    pub(crate) age: Duration,
}

impl Inert {
    /// Whether nobody else is at work on it any more.
    pub(crate) fn is_left(&self) -> bool {
        self.version.pushed_by.is_none() || STALE <= self.age
    }
}

/// The module's object: of two kinds, the one that keeps the name.
pub(crate) fn module_object<'a>(
    objects: &'a Objects,
    name: &ModuleName,
) -> Option<(&'a ModuleObject, u64)> {
    let [plain, native] = Kind::MODULES.map(|kind| object_of(objects, kind, name));
    let (Some(plain), Some(native)) = (plain, native) else { return plain.or(native) };
    let keeps = match (plain.0.stands(), native.0.stands()) {
        (true, true) => rules::keeps_name(false, plain.0.created, native.0.created),
        (stands, _) => stands,
    };
    Some(if keeps { plain } else { native })
}

/// The object of that kind, whether it keeps the name or not.
pub(crate) fn object_of<'a>(
    objects: &'a Objects,
    kind: Kind,
    name: &ModuleName,
) -> Option<(&'a ModuleObject, u64)> {
    match objects.get(kind, name.as_str()) {
        Some((Object::Module(module), revision)) => Some((module, revision)),
        _ => None,
    }
}

/// The chains of the namespace; none where it has no locks yet.
pub(crate) fn chains(objects: &Objects) -> Option<(&WireLocksSpec, u64)> {
    match objects.get(Kind::Locks, LOCKS) {
        Some((Object::Locks(locks), revision)) => Some((&locks.spec, revision)),
        _ => None,
    }
}

/// What is wrong with the locks' object, if it does not read.
pub(crate) fn malformed_locks(objects: &Objects) -> Option<String> {
    match objects.get(Kind::Locks, LOCKS) {
        Some((Object::Malformed { why, .. }, _)) => Some(why.clone()),
        _ => None,
    }
}

/// The lock of a package that holds now.
pub(crate) fn newest(objects: &Objects, package: &str) -> Option<Digest> {
    chains(objects)?.0.newest(package)
}

/// Whether a version exists beside the module's object.
pub(crate) fn exists(module: &ModuleObject, version: &VersionObject) -> bool {
    let VersionObject { owner, record, leaving, .. } = version;
    module.native == version.is_native()
        && !leaving
        && rules::exists(&module.uid, &module.deleted, owner.as_deref(), &record.version)
}

/// The versions that exist, by module, with whether each is published.
fn versions(
    objects: &Objects,
    only: Option<&ModuleName>,
) -> BTreeMap<ModuleName, Vec<(VersionObject, Instant, bool)>> {
    let none = WireLocksSpec::default();
    let chains = chains(objects).map_or(&none, |(chains, _)| chains);
    let mut found: BTreeMap<ModuleName, Vec<_>> = BTreeMap::new();
    let both = Kind::VERSIONS.into_iter().flat_map(|kind| objects.all(kind));
    for (_, object, seen) in both {
        let Object::Version(version) = object else { continue };
        if only.is_some_and(|only| *only != version.module) {
            continue;
        }
        let Some((module, _)) = module_object(objects, &version.module) else { continue };
        if exists(module, version) {
            let published = rules::published(&version.record.locks, chains);
            let one = (version.clone(), seen, published);
            found.entry(version.module.clone()).or_default().push(one);
        }
    }
    found
}

fn record(
    module: &ModuleObject,
    versions: Vec<(VersionObject, Instant, bool)>,
) -> Option<ModuleRecord> {
    let shown = versions.into_iter().filter(|(_, _, published)| *published);
    let versions: BTreeMap<Version, Arc<_>> =
        shown.map(|(version, _, _)| (version.record.version.clone(), version.record)).collect();
    let (last, _) = versions.last_key_value()?;
    let highest = module.highest.clone().max(Some(last.clone()))?;
    let (pinned, traffic) = (module.pinned.clone(), module.traffic.clone());
    Some(ModuleRecord { pinned, traffic, highest, versions })
}

/// A module with its published versions; one without any does not exist.
pub(crate) fn module(objects: &Objects, name: &ModuleName) -> Option<ModuleRecord> {
    let (module, _) = module_object(objects, name)?;
    let mut versions = versions(objects, Some(name));
    record(module, versions.remove(name)?)
}

/// Everything, in all namespaces.
pub(crate) fn snapshot(state: &State) -> Snapshot {
    let mut snapshot = Snapshot { revision: state.revision, ..Snapshot::default() };
    for (namespace, objects) in &state.namespaces {
        for (name, versions) in versions(objects, None) {
            let Some((module, _)) = module_object(objects, &name) else { continue };
            if let Some(record) = record(module, versions) {
                snapshot.modules.insert((namespace.clone(), name), record);
            }
        }
        for (package, chain) in chains(objects).into_iter().flat_map(|(chains, _)| &chains.packages)
        {
            if let Some(newest) = chain.last() {
                snapshot.locks.insert((namespace.clone(), package.clone()), *newest);
            }
        }
    }
    snapshot
}

/// All that any object names, whether it counts yet, still, or not at all. None if an object does
/// not read: what it names is not known.
pub(crate) fn needed(state: &State) -> Option<Snapshot> {
    let mut needed = snapshot(state);
    for (namespace, objects) in &state.namespaces {
        for kind in Kind::ALL {
            for (_, object, _) in objects.all(kind) {
                let version = match object {
                    Object::Malformed { .. } => return None,
                    Object::Version(version) => version,
                    Object::Module(_) | Object::Locks(_) => continue,
                };
                let number = version.record.version.clone();
                let key = (namespace.clone(), version.module.clone());
                let module = needed.modules.entry(key).or_insert_with(|| ModuleRecord {
                    traffic: None,
                    pinned: None,
                    highest: number.clone(),
                    versions: BTreeMap::new(),
                });
                module.versions.insert(number, Arc::clone(&version.record));
            }
        }
    }
    Some(needed)
}

/// Versions that exist and are not published.
pub(crate) fn inert(objects: &Objects, now: Instant) -> Vec<Inert> {
    let all = versions(objects, None).into_values().flatten();
    all.filter(|(_, _, published)| !published)
        .map(|(version, seen, _)| Inert { version, age: now.saturating_duration_since(seen) })
        .collect()
}

/// An object that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Garbage {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The module that it is of.
    pub(crate) module: ModuleName,
}

/// What deletions that were not finished left, versions before their modules: objects that are
/// marked as deleted, and pushed ones that belong to a module which is gone.
pub(crate) fn garbage(objects: &Objects) -> Vec<Garbage> {
    let mut found = Vec::new();
    for (name, object, _) in Kind::VERSIONS.into_iter().flat_map(|kind| objects.all(kind)) {
        let Object::Version(version) = object else { continue };
        let module = object_of(objects, Kind::module(version.is_native()), &version.module);
        let marked =
            module.is_some_and(|(module, _)| module.deleted.holds(&version.record.version));
        let orphaned = version.pushed_by.is_some()
            && version
                .owner
                .as_ref()
                .is_some_and(|owner| module.is_none_or(|(module, _)| module.uid != *owner));
        if !version.leaving && (marked || orphaned) {
            let (name, uid, module) =
                (name.to_owned(), version.uid.clone(), version.module.clone());
            found.push(Garbage { kind: version.kind(), name, uid, module });
        }
    }
    for (name, object, _) in Kind::MODULES.into_iter().flat_map(|kind| objects.all(kind)) {
        let Object::Module(module) = object else { continue };
        if !module.stands() && !module.leaving {
            let kind = module.kind();
            let (name, uid, module) = (name.to_owned(), module.uid.clone(), module.name.clone());
            found.push(Garbage { kind, name, uid, module });
        }
    }
    found
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
pub(crate) mod tests;
