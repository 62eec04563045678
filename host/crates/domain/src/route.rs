//! Which version of which module answers a call: the pure part of routing.
//!
//! Rules (contract, "Which module answers"): a service is served by the newest version of a module
//! that exports it, unless a version is pinned; a release counts as newer than any pre-release, so
//! that a pre-release answers only when nothing else can or when it is named or pinned.

use crate::{ModuleName, ModuleRef, Version};

/// A module that might answer, as the route table knows it.
pub struct Candidate<'a> {
    pub module: &'a ModuleName,
    pub pinned: Option<&'a Version>,
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
}
