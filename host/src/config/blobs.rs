//! `[blobs]`: where components, locks and compiled code are kept.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use roadstead_blobs::Place;
use roadstead_domain::{ByteSize, Span};
use serde::Deserialize;

/// Compiled code that a host keeps of what its pool shares.
const CACHE: ByteSize = ByteSize::mib(8 << 10);

/// How long the pool keeps what nothing names any more.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a host may be behind the catalog, and a push may take, must fit into a grace by far.
const LEAST_GRACE: Duration = Duration::from_secs(10 * 60);

/// The section as it is written.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Section {
    /// `local` [default], or what hosts share: `directory`.
    kind: Option<String>,
    path: Option<PathBuf>,
    grace: Option<Span>,
    cache: Option<ByteSize>,
}

/// A store that the hosts of a pool share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedBlobs {
    pub place: Place,
    /// How long what nothing names any more is kept.
    pub grace: Duration,
    /// The most compiled code that this host keeps of it.
    pub cache: ByteSize,
}

impl Section {
    /// The store that hosts share, unless this host keeps its blobs for itself.
    ///
    /// # Errors
    /// Says which setting is wrong and what it should be.
    pub(super) fn read(self, pool: bool, cluster: bool) -> anyhow::Result<Option<SharedBlobs>> {
        let kind = self.kind.clone().unwrap_or_else(|| "local".to_owned());
        if kind == "local" {
            if self != (Self { kind: self.kind.clone(), ..Self::default() }) {
                bail!("blobs.kind is `local`, which has no settings: name another kind");
            }
            return Ok(None);
        }
        let Self { path, grace, cache, .. } = self;
        let place = match &*kind {
            "directory" => {
                Place::Directory(path.context("blobs.path is missing: name the directory")?)
            }
            other => bail!("blobs.kind is `{other}`: it must be local or directory"),
        };
        if !pool {
            bail!(
                "blobs.kind is `{kind}`: hosts that share blobs need a [pool] with a key_file, by \
                 which they know each other's compiled code"
            );
        }
        if !cluster {
            bail!(
                "blobs.kind is `{kind}`, but the catalog is this host's alone: set \
                 [catalog] kubernetes, or leave [blobs] out"
            );
        }
        let grace = grace.map_or(GRACE, Span::duration);
        if grace < LEAST_GRACE {
            bail!("blobs.grace is too short: it must be 10m at least");
        }
        let cache = cache.unwrap_or(CACHE);
        if cache < ByteSize::mib(64) {
            bail!("blobs.cache is {cache}: it must be 64Mi at least");
        }
        Ok(Some(SharedBlobs { place, grace, cache }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Option<SharedBlobs>> {
        toml::from_str::<Section>(text)?.read(true, true)
    }

    #[test]
    fn blobs_are_local_unless_a_place_is_named() {
        for text in ["", "kind = 'local'"] {
            assert_eq!(toml::from_str::<Section>(text).unwrap().read(false, false).unwrap(), None);
        }
        let shared = read("kind = 'directory'\npath = '/blobs'").unwrap().unwrap();
        assert_eq!(shared.place, Place::Directory("/blobs".into()));
        assert_eq!((shared.grace, shared.cache), (GRACE, CACHE));
        let text = "kind = 'directory'\npath = '/blobs'\ngrace = '10m'\ncache = '64Mi'";
        let shared = read(text).unwrap().unwrap();
        assert_eq!((shared.grace, shared.cache), (LEAST_GRACE, ByteSize::mib(64)));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, part) in [
            ("kind = 'nfs'", "`nfs`"),
            ("kind = 'directory'", "blobs.path"),
            ("path = '/blobs'", "local"),
            ("kind = 'local'\ngrace = '24h'", "local"),
            ("kind = 'directory'\npath = '/b'\ngrace = '599s'", "blobs.grace"),
            ("kind = 'directory'\npath = '/b'\ncache = '63Mi'", "blobs.cache"),
            ("knd = 'directory'", "knd"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
        let shared: Section = toml::from_str("kind = 'directory'\npath = '/b'").unwrap();
        let error = shared.clone().read(false, true).unwrap_err().to_string();
        assert!(error.contains("[pool]"), "{error}");
        let error = shared.read(true, false).unwrap_err().to_string();
        assert!(error.contains("[catalog]"), "{error}");
    }
}
