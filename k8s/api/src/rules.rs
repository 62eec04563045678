//! Which objects exist, and which versions are published: pure, and the same for everyone.
//!
//! * A module exists unless its object is being deleted or is marked with [`DELETED`] as a whole,
//!   or an older one of the other kind that exists has its name.
//! * A version exists while its module does, unless its object is being deleted, is marked as
//!   deleted on the module, or belongs to an earlier module of the same name.
//! * A version that exists is published if each lock that it names is in the chain of its package.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    str::FromStr,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use roadstead_domain::{Digest, Version};
use serde::{Deserialize, Serialize};

use crate::{DELETED, HIGHEST, WireLocksSpec};

/// What [`DELETED`] says of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deleted {
    /// The module with all its versions.
    All,
    Versions(BTreeSet<Version>),
}

impl Default for Deleted {
    fn default() -> Self {
        Self::Versions(BTreeSet::new())
    }
}

impl Deleted {
    pub fn holds(&self, version: &Version) -> bool {
        match self {
            Self::All => true,
            Self::Versions(versions) => versions.contains(version),
        }
    }

    /// The annotation's text; none where nothing is deleted.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::All => Some("*".to_owned()),
            Self::Versions(versions) if versions.is_empty() => None,
            Self::Versions(versions) => {
                let texts: Vec<String> = versions.iter().map(Version::to_string).collect();
                Some(texts.join(","))
            }
        }
    }
}

impl FromStr for Deleted {
    type Err = Infallible;

    /// What is no version marks nothing.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        let versions = text.split(',').filter_map(|text| text.trim().parse().ok());
        Ok(Self::Versions(versions.collect()))
    }
}

/// What is deleted of the module whose object has this metadata.
pub fn deleted(module: &ObjectMeta) -> Deleted {
    if module.deletion_timestamp.is_some() {
        return Deleted::All;
    }
    let text = annotation(module, DELETED).unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// The highest version number that the module ever gave out, as far as its object says.
pub fn highest(module: &ObjectMeta) -> Option<Version> {
    annotation(module, HIGHEST)?.parse().ok()
}

/// Whether a version of the module exists.
pub fn version_exists(module: &ObjectMeta, object: &ObjectMeta, version: &Version) -> bool {
    let uid = module.uid.as_deref().unwrap_or_default();
    object.deletion_timestamp.is_none() && exists(uid, &deleted(module), owner(object), version)
}

/// Whether a version that Kubernetes is not deleting exists with the module of this uid; `owner` is
/// the uid of the module that its object belongs to.
pub fn exists(uid: &str, deleted: &Deleted, owner: Option<&str>, version: &Version) -> bool {
    owner.is_none_or(|owner| owner == uid) && !deleted.holds(version)
}

/// Whether a module keeps its name where one of the other kind has it too: the older one does, and
/// of two that are as old the one that is not native. Both are there and not deleted; seconds since
/// 1970 say when each was created.
pub fn keeps_name(native: bool, created: i64, other: i64) -> bool {
    created < other || (created == other && !native)
}

/// When an object was created, in seconds since 1970.
pub fn created(object: &ObjectMeta) -> i64 {
    object.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

/// The uid of the module that a version's object belongs to; none if it does not say.
pub fn owner(object: &ObjectMeta) -> Option<&str> {
    let owners = object.owner_references.iter().flatten();
    let mut modules = owners.filter(|owner| {
        matches!(&*owner.kind, "Module" | "NativeModule")
            && owner.api_version.split('/').next() == Some(crate::GROUP)
    });
    modules.next().map(|owner| owner.uid.as_str())
}

/// Whether a version with these locks is published.
pub fn published(locks: &BTreeMap<String, Digest>, chains: &WireLocksSpec) -> bool {
    locks.iter().all(|(package, lock)| chains.held(package, lock))
}

fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn module() -> ObjectMeta {
        let annotations = [(DELETED.to_owned(), "0.1.0,0.3.0".to_owned())];
        ObjectMeta {
            uid: Some("u1".to_owned()),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        }
    }

    fn owned(uid: &str) -> ObjectMeta {
        let owner = OwnerReference {
            api_version: "roadstead.dev/v1alpha1".to_owned(),
            kind: "Module".to_owned(),
            name: "m".to_owned(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        };
        ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() }
    }

    #[test]
    fn a_version_exists_with_its_own_module_until_it_is_deleted() {
        let exists =
            |object: &ObjectMeta, text: &str| version_exists(&module(), object, &version(text));
        assert!(exists(&owned("u1"), "0.2.0"));
        assert!(exists(&ObjectMeta::default(), "0.2.0"), "applied without an owner");
        assert!(!exists(&owned("u1"), "0.1.0"), "marked");
        assert!(!exists(&owned("u0"), "0.2.0"), "of an earlier module");
        let now = Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
        let leaving = ObjectMeta { deletion_timestamp: Some(now.clone()), ..owned("u1") };
        assert!(!exists(&leaving, "0.2.0"));
        let gone = ObjectMeta { deletion_timestamp: Some(now), ..module() };
        assert!(!version_exists(&gone, &owned("u1"), &version("0.2.0")));
    }

    #[test]
    fn a_name_is_of_the_older_module() {
        for (native, created, other, keeps) in
            [(true, 1, 2, true), (false, 2, 1, false), (false, 2, 2, true), (true, 2, 2, false)]
        {
            assert_eq!(keeps_name(native, created, other), keeps);
            assert_eq!(keeps_name(!native, other, created), !keeps, "exactly one keeps it");
        }
    }

    #[test]
    fn deleted_versions_are_written_as_they_are_read() {
        for text in ["*", "0.1.0", "0.1.0,0.3.0-rc.1"] {
            let deleted: Deleted = text.parse().unwrap();
            assert_eq!(deleted.to_text().as_deref(), Some(text));
        }
        assert_eq!(Deleted::default().to_text(), None);
        let Ok(sloppy) = " 0.1.0 , nonsense ".parse::<Deleted>();
        assert_eq!(sloppy.to_text().as_deref(), Some("0.1.0"));
    }

    #[test]
    fn a_version_is_published_when_all_its_locks_ever_held() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let chain = vec![digest("p1"), digest("p2")];
        let chains = WireLocksSpec { packages: [("p".to_owned(), chain)].into() };
        let locks = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(p, lock)| ((*p).to_owned(), digest(lock))).collect()
        };
        for (names, expected) in [
            (&[][..], true),
            (&[("p", "p1")], true),
            (&[("p", "p2")], true),
            (&[("p", "p3")], false),
            (&[("p", "p1"), ("q", "q1")], false),
        ] {
            assert_eq!(published(&locks(names), &chains), expected, "{names:?}");
        }
        assert_eq!(chains.newest("p"), Some(digest("p2")));
    }
}
