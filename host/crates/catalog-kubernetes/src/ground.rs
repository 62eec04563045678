//! What a change finds: the module, the place of the version and the locks, read at one moment.
//! Pure.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use roadstead_catalog::{ModuleRecord, VersionRecord};
use roadstead_domain::{ModuleName, Version};
use roadstead_k8s_api::{rules::Deleted, version_object};

use crate::{
    assemble::{self, STALE},
    objects::{Kind, ModuleObject, Object, VersionObject},
    state::Objects,
};

/// Deleted versions that a module's object may name before those without objects are dropped from
/// it. They stay for a while, so that no host sees the mark go before the object.
const MARKS: usize = 64;

/// A module as a change finds it.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// As the catalog shows it.
    pub(crate) record: Option<ModuleRecord>,
    /// Its object, deleted or not, and the revision.
    pub(crate) object: Option<(ModuleObject, u64)>,
    /// An object of its name that does not read, and why.
    pub(crate) malformed: Option<(Kind, String)>,
    /// Versions of which there are objects, whatever they are.
    pub(crate) standing: BTreeSet<Version>,
}

impl Ground {
    pub(crate) fn of(objects: &Objects, name: &ModuleName) -> Self {
        let mut malformed =
            Kind::MODULES.into_iter().filter_map(|kind| match objects.get(kind, name.as_str()) {
                Some((Object::Malformed { why, .. }, _)) => Some((kind, why.clone())),
                _ => None,
            });
        let malformed = malformed.next();
        let both = Kind::VERSIONS.into_iter().flat_map(|kind| objects.all(kind));
        let versions = both.filter_map(|(_, object, _)| match object {
            Object::Version(version) if version.module == *name => {
                Some(version.record.version.clone())
            }
            _ => None,
        });
        Self {
            record: assemble::module(objects, name),
            object: assemble::module_object(objects, name)
                .map(|(object, revision)| (object.clone(), revision)),
            malformed,
            standing: versions.collect(),
        }
    }

    /// The marks of deleted versions, without those that are long gone, and without `but`.
    pub(crate) fn marks(&self, but: Option<&Version>) -> Deleted {
        let Some((ModuleObject { deleted: Deleted::Versions(marked), .. }, _)) = &self.object
        else {
            return Deleted::default();
        };
        let crowded = MARKS < marked.len();
        let kept = marked.iter().filter(|version| {
            Some(*version) != but && (!crowded || self.standing.contains(version))
        });
        Deleted::Versions(kept.cloned().collect())
    }
}

/// What stands where a version's object is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Free,
    /// The same version, not published yet: it only lacks its locks.
    Same(Arc<VersionRecord>),
    /// What is left of something that is gone.
    Left {
        uid: String,
    },
    /// Another host is about to publish it.
    Busy,
    /// Someone applied other content by hand.
    Taken,
    Malformed(String),
}

/// Looks at the place of a version that is not published.
pub(crate) fn place(
    objects: &Objects,
    name: &ModuleName,
    record: &VersionRecord,
    now: Instant,
) -> Place {
    let object = version_object(name, &record.version);
    let kind = Kind::version(record.is_native());
    let mut standing = objects.all(kind).filter(|(name, _, _)| *name == object);
    let Some((_, standing, seen)) = standing.next() else { return Place::Free };
    let version = match standing {
        Object::Version(version) => version,
        Object::Malformed { why, .. } => return Place::Malformed(why.clone()),
        Object::Module(_) | Object::Locks(_) => return Place::Free,
    };
    let module = assemble::module_object(objects, name).map(|(module, _)| module);
    let VersionObject { uid, leaving, pushed_by, record: stands, .. } = version;
    if *leaving {
        return Place::Busy;
    }
    if !module.is_some_and(|module| assemble::exists(module, version)) {
        return Place::Left { uid: uid.clone() };
    }
    if same(stands, record) {
        return Place::Same(Arc::clone(stands));
    }
    match pushed_by {
        None => Place::Taken,
        Some(_) if STALE <= now.saturating_duration_since(seen) => Place::Left { uid: uid.clone() },
        Some(_) => Place::Busy,
    }
}

/// The same but for when it was pushed.
fn same(one: &VersionRecord, other: &VersionRecord) -> bool {
    let timeless =
        |record: &VersionRecord| VersionRecord { published_unix_ms: 0, ..record.clone() };
    timeless(one) == timeless(other)
}

#[cfg(test)]
#[path = "ground_tests.rs"]
mod tests;
