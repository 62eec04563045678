//! Versions of modules (semver, without build metadata) and the track each belongs to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a version was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("`{0}` is not a version like 1.2.3 or 1.2.3-rc.1: {1}")]
    Syntax(String, String),
    #[error("`{0}` carries build metadata, which versions here cannot")]
    BuildMetadata(String),
    #[error("`{0}` is longer than 64 characters")]
    Length(String),
}

/// A semantic version without build metadata. Ordered by semver precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

/// A semver-compatible range, named as a segment of a protobuf package: `v1`, `v0_3`, `v0_0_7`;
/// a pre-release is a track of its own, `v1_0_0_rc_1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Track(String);

impl Version {
    /// The version that an unnamed first push gets.
    pub fn first() -> Self {
        Self(semver::Version::new(0, 1, 0))
    }

    /// The next patch after this version; of a pre-release, its release.
    pub fn next_patch(&self) -> Self {
        let v = &self.0;
        let patch = if v.pre.is_empty() { v.patch.saturating_add(1) } else { v.patch };
        Self(semver::Version::new(v.major, v.minor, patch))
    }

    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    pub fn track(&self) -> Track {
        let semver::Version { major, minor, patch, pre, .. } = &self.0;
        Track(if !pre.is_empty() {
            let pre: String = pre
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
                .collect();
            format!("v{major}_{minor}_{patch}_{pre}")
        } else if *major > 0 {
            format!("v{major}")
        } else if *minor > 0 {
            format!("v0_{minor}")
        } else {
            format!("v0_0_{patch}")
        })
    }
}

impl Track {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&semver::Version> for Version {
    /// Build metadata is dropped: it carries no precedence (semver 2.0.0, item 10).
    fn from(version: &semver::Version) -> Self {
        let mut version = version.clone();
        version.build = semver::BuildMetadata::EMPTY;
        Self(version)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        if text.len() > 64 {
            return Err(VersionError::Length(text.chars().take(80).collect()));
        }
        let version = semver::Version::parse(text)
            .map_err(|error| VersionError::Syntax(text.to_owned(), error.to_string()))?;
        if !version.build.is_empty() {
            return Err(VersionError::BuildMetadata(text.to_owned()));
        }
        Ok(Self(version))
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_follow_semver_compatibility() {
        for (version, track) in [
            ("1.4.2", "v1"),
            ("0.3.1", "v0_3"),
            ("0.0.7", "v0_0_7"),
            ("1.0.0-rc.1", "v1_0_0_rc_1"),
            ("10.0.0", "v10"),
        ] {
            assert_eq!(version.parse::<Version>().unwrap().track().as_str(), track);
        }
    }

    #[test]
    fn the_next_patch_is_higher() {
        for (version, next) in [("0.1.0", "0.1.1"), ("1.2.3-rc.1", "1.2.3")] {
            assert_eq!(version.parse::<Version>().unwrap().next_patch().to_string(), next);
        }
    }

    #[test]
    fn build_metadata_and_nonsense_are_refused() {
        for bad in ["1", "1.2", "v1.2.3", "1.2.3+x", "", &"1".repeat(65)] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
