//! `[blobs]`: where components, locks and compiled code are kept.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use http::Uri;
use roadstead_blobs::{Bucket, Place};
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
    /// `local` [default], or what hosts share: `directory`, `s3` or `gcs`.
    kind: Option<String>,
    /// Of a directory
    path: Option<PathBuf>,
    /// Of S3 and GCS
    bucket: Option<String>,
    /// Begins the names of all that is stored [default: none]
    prefix: Option<String>,
    /// Of S3 [default: the environment's]
    region: Option<String>,
    /// Where the store is, if its cloud does not say so
    endpoint: Option<String>,
    /// Whether the endpoint may be asked in plain text
    allow_http: Option<bool>,
    /// How long what nothing names any more is kept [default: 24h]
    grace: Option<Span>,
    /// The most compiled code that this host keeps of it [default: 8Gi]
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
        let (grace, cache) = (self.grace, self.cache);
        let place = self.place(&kind)?;
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

    fn place(self, kind: &str) -> anyhow::Result<Place> {
        let of_bucket = [
            ("bucket", self.bucket.is_some()),
            ("prefix", self.prefix.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("allow_http", self.allow_http.is_some()),
        ];
        let (path, region) = (("path", self.path.is_some()), ("region", self.region.is_some()));
        let foreign: Vec<_> = match kind {
            "directory" => of_bucket.into_iter().chain([region]).collect(),
            "s3" => vec![path],
            "gcs" => vec![path, region],
            other => bail!("blobs.kind is `{other}`: it must be local, directory, s3 or gcs"),
        };
        if let Some((name, _)) = foreign.into_iter().find(|(_, set)| *set) {
            bail!("blobs.{name} means nothing where blobs.kind is `{kind}`: leave it out");
        }
        if kind == "directory" {
            let path = self.path.context("blobs.path is missing: name the directory")?;
            return Ok(Place::Directory(path));
        }
        let bucket = Bucket {
            name: self.bucket.context("blobs.bucket is missing: name the bucket")?,
            prefix: self.prefix.unwrap_or_default(),
            endpoint: self.endpoint,
            allow_http: self.allow_http.unwrap_or_default(),
        };
        if let Some(endpoint) = &bucket.endpoint {
            check_endpoint(endpoint, bucket.allow_http)?;
        }
        Ok(match kind {
            "s3" => Place::S3 { bucket, region: self.region },
            _ => Place::Gcs { bucket },
        })
    }
}

fn check_endpoint(endpoint: &str, allow_http: bool) -> anyhow::Result<()> {
    let form = || format!("blobs.endpoint is `{endpoint}`: it must be https://HOST[:PORT]");
    let uri: Uri = endpoint.parse().with_context(form)?;
    // A password would stand in logs.
    let bare = uri.authority().is_some_and(|at| !at.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") if bare => Ok(()),
        Some("http") if bare && allow_http => Ok(()),
        Some("http") if bare => bail!(
            "blobs.endpoint is http, where others may listen and answer: use https, or set \
             blobs.allow_http if the network is closed"
        ),
        _ => bail!("{}", form()),
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
        let bucket = Bucket {
            name: "b".to_owned(),
            prefix: "p/q".to_owned(),
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            allow_http: true,
        };
        let text = "bucket = 'b'\nprefix = 'p/q'\nendpoint = 'http://127.0.0.1:9000'\n\
                    allow_http = true\n";
        let region = Some("eu-1".to_owned());
        let s3 = read(&format!("kind = 's3'\nregion = 'eu-1'\n{text}")).unwrap().unwrap();
        assert_eq!(s3.place, Place::S3 { bucket: bucket.clone(), region });
        let gcs = read(&format!("kind = 'gcs'\n{text}")).unwrap().unwrap();
        assert_eq!(gcs.place, Place::Gcs { bucket });
        let text = "kind = 'directory'\npath = '/blobs'\ngrace = '10m'\ncache = '64Mi'";
        let shared = read(text).unwrap().unwrap();
        assert_eq!((shared.grace, shared.cache), (LEAST_GRACE, ByteSize::mib(64)));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, part) in [
            ("kind = 'nfs'", "`nfs`"),
            ("kind = 'directory'", "blobs.path"),
            ("kind = 's3'", "blobs.bucket"),
            ("kind = 's3'\nbucket = 'b'\npath = '/b'", "blobs.path"),
            ("kind = 'gcs'\nbucket = 'b'\nregion = 'eu-1'", "blobs.region"),
            ("kind = 'directory'\npath = '/b'\nbucket = 'b'", "blobs.bucket"),
            ("kind = 's3'\nbucket = 'b'\nendpoint = 'http://s3:1'", "blobs.allow_http"),
            ("kind = 's3'\nbucket = 'b'\nendpoint = 'https://u:p@s3'", "blobs.endpoint"),
            ("kind = 's3'\nbucket = 'b'\nendpoint = 's3:1'", "blobs.endpoint"),
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
