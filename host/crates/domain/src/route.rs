//! Which version of which module answers a call: the pure part of routing.
//!
//! Rules (contract, "Which module answers"): a service is served by the newest version of a module
//! that exports it, unless a version is pinned; a release counts as newer than any pre-release, so
//! that a pre-release answers only when nothing else can or when it is named or pinned.
//!
//! Where a split shares the calls of a module, its versions that export the service answer instead
//! of the newest, by their part; those that are gone, and those that do not export it, leave theirs
//! to the others. A pin goes before a split, and so does a call that names its version.

use crate::{ModuleName, ModuleRef, Traffic, Version};

/// A module that might answer, as the route table knows it.
pub struct Candidate<'a> {
    pub module: &'a ModuleName,
    pub pinned: Option<&'a Version>,
    pub traffic: Option<&'a Traffic>,
    /// Every published version, with whether it exports the service asked for.
    pub versions: &'a mut dyn Iterator<Item = (&'a Version, bool)>,
}

/// Why no single version answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteError {
    NoSuchVersion(ModuleRef),
    /// The module, or the pinned or named version, does not export the service.
    NotExported,
}

/// The version of `candidate` that answers, where `wanted` may name one.
///
/// # Errors
/// [`RouteError::NoSuchVersion`] if `wanted` was never published; [`RouteError::NotExported`] if
/// the version that would answer does not export the service.
pub fn select_version(
    candidate: Candidate<'_>,
    wanted: Option<&Version>,
) -> Result<Version, RouteError> {
    let fixed = wanted.or(candidate.pinned);
    let mut newest: Option<&Version> = None;
    for (version, exports) in candidate.versions {
        if fixed == Some(version) {
            return if exports { Ok(version.clone()) } else { Err(RouteError::NotExported) };
        }
        if exports && newest.is_none_or(|best| rank(best) < rank(version)) {
            newest = Some(version);
        }
    }
    if let Some(version) = fixed {
        return Err(RouteError::NoSuchVersion(ModuleRef {
            name: candidate.module.clone(),
            version: Some(version.clone()),
        }));
    }
    newest.cloned().ok_or(RouteError::NotExported)
}

/// The versions of `candidate` that answer calls which name none, with their weights: one, or those
/// of its split.
///
/// # Errors
/// As of [`select_version`].
pub fn select_versions(candidate: Candidate<'_>) -> Result<Vec<(Version, u8)>, RouteError> {
    let Candidate { module, pinned, traffic, versions } = candidate;
    let versions: Vec<(&Version, bool)> = versions.collect();
    let exports = |wanted: &Version| versions.iter().any(|(v, exports)| *exports && *v == wanted);
    let shares = traffic.filter(|_| pinned.is_none()).map(Traffic::shares).unwrap_or_default();
    let split: Vec<_> = shares.iter().filter(|(version, _)| exports(version)).cloned().collect();
    if !split.is_empty() {
        return Ok(split);
    }
    let versions = &mut versions.iter().copied();
    let one = select_version(Candidate { module, pinned, traffic, versions }, None)?;
    Ok(vec![(one, 100)])
}

fn rank(version: &Version) -> (bool, &Version) {
    (!version.is_prerelease(), version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(
        versions: &[(&str, bool)],
        pinned: Option<&str>,
        wanted: Option<&str>,
    ) -> Result<String, RouteError> {
        let parsed: Vec<(Version, bool)> =
            versions.iter().map(|(v, e)| (v.parse().unwrap(), *e)).collect();
        let pinned: Option<Version> = pinned.map(|v| v.parse().unwrap());
        let wanted: Option<Version> = wanted.map(|v| v.parse().unwrap());
        select_version(
            Candidate {
                module: &"m".parse().unwrap(),
                pinned: pinned.as_ref(),
                traffic: None,
                versions: &mut parsed.iter().map(|(v, e)| (v, *e)),
            },
            wanted.as_ref(),
        )
        .map(|v| v.to_string())
    }

    #[test]
    fn the_newest_version_that_exports_answers() {
        let versions = [("0.1.0", true), ("0.10.0", true), ("0.9.0", true), ("1.0.0", false)];
        assert_eq!(select(&versions, None, None).unwrap(), "0.10.0");
    }

    #[test]
    fn a_release_goes_before_a_prerelease() {
        let versions = [("1.0.0", true), ("1.1.0-rc.1", true)];
        assert_eq!(select(&versions, None, None).unwrap(), "1.0.0");
        assert_eq!(select(&versions[1..], None, None).unwrap(), "1.1.0-rc.1");
    }

    #[test]
    fn a_pin_or_a_named_version_decides() {
        let versions = [("0.1.0", true), ("0.2.0", true), ("0.3.0", false)];
        assert_eq!(select(&versions, Some("0.1.0"), None).unwrap(), "0.1.0");
        assert_eq!(select(&versions, Some("0.1.0"), Some("0.2.0")).unwrap(), "0.2.0");
        assert_eq!(select(&versions, None, Some("0.3.0")), Err(RouteError::NotExported));
        assert!(matches!(
            select(&versions, None, Some("9.9.9")),
            Err(RouteError::NoSuchVersion(_))
        ));
    }

    fn shared(
        versions: &[(&str, bool)],
        pinned: Option<&str>,
        shares: &[(&str, u8)],
    ) -> Result<Vec<(String, u8)>, RouteError> {
        let parsed: Vec<(Version, bool)> =
            versions.iter().map(|(v, e)| (v.parse().unwrap(), *e)).collect();
        let pinned: Option<Version> = pinned.map(|v| v.parse().unwrap());
        let shares = shares.iter().map(|(v, percent)| (v.parse().unwrap(), *percent));
        let traffic = Traffic::new(1, shares).unwrap();
        let selected = select_versions(Candidate {
            module: &"m".parse().unwrap(),
            pinned: pinned.as_ref(),
            traffic: Some(&traffic),
            versions: &mut parsed.iter().map(|(v, e)| (v, *e)),
        });
        Ok(selected?.into_iter().map(|(version, weight)| (version.to_string(), weight)).collect())
    }

    fn parts(parts: &[(&str, u8)]) -> Result<Vec<(String, u8)>, RouteError> {
        Ok(parts.iter().map(|(version, weight)| ((*version).to_owned(), *weight)).collect())
    }

    #[test]
    fn a_split_goes_before_the_newest_and_a_pin_before_a_split() {
        let versions = [("0.1.0", true), ("0.2.0", true), ("0.3.0", true)];
        let split = [("0.1.0", 95), ("0.2.0", 5)];
        assert_eq!(shared(&versions, None, &split), parts(&split));
        assert_eq!(shared(&versions, None, &[]), parts(&[("0.3.0", 100)]));
        assert_eq!(shared(&versions, Some("0.3.0"), &split), parts(&[("0.3.0", 100)]));
        let gone = shared(&versions, Some("0.9.0"), &split);
        assert!(matches!(gone, Err(RouteError::NoSuchVersion(_))));
    }

    #[test]
    fn what_of_a_split_cannot_answer_leaves_its_part_to_the_others() {
        let split = [("0.1.0", 70), ("0.2.0", 20), ("0.3.0", 10)];
        let some = [("0.1.0", true), ("0.3.0", true), ("0.4.0", true)];
        assert_eq!(shared(&some, None, &split), parts(&[("0.1.0", 70), ("0.3.0", 10)]));
        let without = [("0.1.0", false), ("0.2.0", true), ("0.4.0", true)];
        assert_eq!(shared(&without, None, &split), parts(&[("0.2.0", 20)]));
        // All of it is gone, or none of it exports the service: the newest that does answers.
        assert_eq!(shared(&[("0.4.0", true)], None, &split), parts(&[("0.4.0", 100)]));
        let late = [("0.1.0", false), ("0.2.0", false), ("0.4.0", true)];
        assert_eq!(shared(&late, None, &split), parts(&[("0.4.0", 100)]));
        assert_eq!(shared(&[("0.1.0", false)], None, &split), Err(RouteError::NotExported));
    }
}
