//! Throwing away what no host needs any more of what a pool shares.
//!
//! Marked first, deleted a grace later, by the store's own clock: each look writes a mark and reads
//! when the store says that was. An object goes if it was named by nothing at a look that lies a
//! grace back, and is named by nothing now. Objects of blobs are never written again under the same
//! name, so a host that was held up between its look and its deletions deletes nothing that was
//! stored since. Who stores what is to be published must have published it within half a grace, or
//! store it again.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::{ObjectMeta, ObjectStoreExt as _, path::Path as Key};
use roadstead_domain::Digest;

use crate::{
    BlobError, Kind, code,
    shared::{LONG, SHORT, Shared, bounded},
    upload::blocking,
};

/// Deletions at the same time.
const AT_ONCE: usize = 8;

/// A look at all that a pool shares.
pub struct SharedSweep<'a> {
    shared: &'a Shared,
    grace: i64,
    /// The store's time of this look, in seconds.
    now: i64,
    blobs: Vec<(Kind, Digest, ObjectMeta)>,
    /// Of engines that some host still runs.
    code: Vec<(Digest, ObjectMeta)>,
    /// Of other engines.
    old: Vec<ObjectMeta>,
    /// Since when nothing names what, as former looks have it.
    noted: BTreeMap<String, i64>,
}

impl std::fmt::Debug for SharedSweep<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedSweep").field("blobs", &self.blobs.len()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Says that this engine is in use, so that others keep its code.
    pub(crate) async fn mark_engine(&self, fingerprint: &str) -> Result<(), BlobError> {
        self.check().await?;
        let key = Key::from_iter(["engines", &code::directory_name(fingerprint)]);
        bounded("mark an engine", SHORT, self.objects.put(&key, Bytes::new().into())).await?;
        Ok(())
    }

    /// Looks at all that is stored. None if the last look is younger than `pause`.
    pub(crate) async fn begin_sweep(
        &self,
        grace: Duration,
        pause: Duration,
    ) -> Result<Option<SharedSweep<'_>>, BlobError> {
        let grace = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let pause = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
        self.check().await?;
        let now = self.now().await?;
        let (noted, last) = self.noted().await?;
        if last.is_some_and(|last| now.saturating_sub(last) < pause) {
            return Ok(None);
        }
        let mut sweep = SharedSweep {
            shared: self,
            grace,
            now,
            blobs: Vec::new(),
            code: Vec::new(),
            old: Vec::new(),
            noted,
        };
        for kind in Kind::ALL {
            for object in self.list_all(kind.directory()).await? {
                let digest = object.location.parts().nth(1).and_then(|part| digest(part.as_ref()));
                sweep.blobs.extend(digest.map(|digest| (kind, digest, object)));
            }
        }
        let used =
            |engine: &ObjectMeta| now.saturating_sub(engine.last_modified.timestamp()) < grace;
        let (engines, old) = self.list_all("engines").await?.into_iter().partition(used);
        sweep.old = old;
        let engines: Vec<ObjectMeta> = engines;
        let engines: HashSet<&str> =
            engines.iter().filter_map(|engine| engine.location.filename()).collect();
        for object in self.list_all("compiled").await? {
            let engine = object.location.parts().nth(1);
            let used = engine.is_some_and(|engine| engines.contains(engine.as_ref()));
            match object.location.filename().and_then(digest) {
                Some(key) if used => sweep.code.push((key, object)),
                _ => sweep.old.push(object),
            }
        }
        Ok(Some(sweep))
    }

    async fn list_all(&self, directory: &str) -> Result<Vec<ObjectMeta>, BlobError> {
        self.list("list blobs", &Key::from(directory), LONG).await
    }

    /// What the store's clock says.
    async fn now(&self) -> Result<i64, BlobError> {
        let (key, doing) = (Key::from("sweep/clock"), "tell the time");
        // Other bytes each time: a store may keep the time of equal ones.
        let bytes = Bytes::from(format!("{:032x}\n", rand::random::<u128>()));
        bounded(doing, SHORT, self.objects.put(&key, bytes.into())).await?;
        Ok(bounded(doing, SHORT, self.objects.head(&key)).await?.last_modified.timestamp())
    }

    /// What former looks noted, and when the last one was. What does not read begins anew.
    async fn noted(&self) -> Result<(BTreeMap<String, i64>, Option<i64>), BlobError> {
        let read = async {
            let found = self.objects.get(&notes()).await?;
            let last = found.meta.last_modified.timestamp();
            Ok((found.bytes().await?, last))
        };
        let none = |error| match error {
            object_store::Error::NotFound { .. } => Ok(None),
            error => Err(error),
        };
        let read = async { read.await.map(Some).or_else(none) };
        let Some((bytes, last)) = bounded("read a sweep's notes", SHORT, read).await? else {
            return Ok((BTreeMap::new(), None));
        };
        Ok((serde_json::from_slice(&bytes).unwrap_or_default(), Some(last)))
    }
}

impl SharedSweep<'_> {
    /// Deletes what is named by nothing for a grace, and notes what is named by nothing now.
    /// `referenced` must be newer than the look. Says how many objects went.
    ///
    /// # Errors
    /// [`BlobError`] at the first object that could not be deleted.
    pub async fn finish(self, referenced: &HashSet<Digest>) -> Result<usize, BlobError> {
        let unnamed = self.unnamed(referenced);
        let notes_now = serde_json::to_vec(&unnamed)
            .map_err(|error| BlobError::io("note what a sweep found", error))?;
        let objects = &self.shared.objects;
        let doing = "note what a sweep found";
        bounded(doing, SHORT, objects.put(&notes(), Bytes::from(notes_now).into())).await?;
        let gone = unnamed.into_iter().filter(|(_, since)| self.is_over(*since));
        let gone = gone.filter_map(|(name, _)| Key::parse(name).ok());
        let deletions = futures::stream::iter(gone).map(|key| async move {
            let delete = async {
                match objects.delete(&key).await {
                    Err(object_store::Error::NotFound { .. }) => Ok(()),
                    other => other,
                }
            };
            bounded("delete a blob", SHORT, delete).await
        });
        let mut deletions = deletions.buffer_unordered(AT_ONCE);
        let mut swept = 0;
        while let Some(deleted) = deletions.next().await {
            deleted?;
            swept += 1;
        }
        drop(deletions);
        Ok(swept + self.leftovers().await?)
    }

    /// What nothing names, and since when: of what is named, all but the newest object.
    fn unnamed(&self, referenced: &HashSet<Digest>) -> BTreeMap<String, i64> {
        let mut newest: HashMap<(Kind, Digest), &ObjectMeta> = HashMap::new();
        for (kind, digest, object) in &self.blobs {
            let best = newest.entry((*kind, *digest)).or_insert(object);
            let order = |object: &ObjectMeta| (object.last_modified, object.location.to_string());
            if order(best) < order(object) {
                *best = object;
            }
        }
        let is_spare = |kind: Kind, digest: Digest, object: &ObjectMeta| {
            newest.get(&(kind, digest)).is_some_and(|newest| newest.location != object.location)
        };
        let blobs = self.blobs.iter().filter(|(kind, digest, object)| {
            !referenced.contains(digest) || is_spare(*kind, *digest, object)
        });
        let code = self.code.iter().filter(|(key, _)| !referenced.contains(key));
        let since = |object: &ObjectMeta| {
            let name = object.location.to_string();
            let since = self.noted.get(&name).copied().unwrap_or(self.now);
            (name, since)
        };
        let blobs = blobs.map(|(_, _, object)| since(object));
        // Code is written again under its name, which begins a new grace.
        let code = code.map(|(_, object)| object).chain(&self.old).map(|object| {
            let (name, since) = since(object);
            (name, since.max(object.last_modified.timestamp()))
        });
        blobs.chain(code).collect()
    }

    fn is_over(&self, since: i64) -> bool {
        self.grace <= self.now.saturating_sub(since)
    }

    /// What hosts that ended in the middle left in a directory.
    async fn leftovers(&self) -> Result<usize, BlobError> {
        let Some(mounted) = &self.shared.mounted else { return Ok(0) };
        let root = mounted.directory.clone();
        let before = self.now.saturating_sub(self.grace);
        let swept = blocking(move || remove_unfinished(&root, before)).await?;
        swept.map_err(|error| BlobError::unavailable("delete what is unfinished", error))
    }
}

fn notes() -> Key {
    Key::from("sweep/unnamed.json")
}

fn digest(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

/// Files that were begun `before`, in seconds of the file system's clock, and never came to their
/// name: the object store writes them with a `#`.
fn remove_unfinished(directory: &Path, before: i64) -> io::Result<usize> {
    let mut swept = 0;
    let mut left: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                left.push(entry.path());
                continue;
            }
            let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH);
            let seconds =
                modified.map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
            if entry.file_name().to_string_lossy().contains('#') && seconds <= before {
                crate::durable::remove(&entry.path())?;
                swept += 1;
            }
        }
    }
    Ok(swept)
}
