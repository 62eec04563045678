//! The store as a whole: its directory, its blobs, and what is swept from it.

mod data;
mod pool;

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, path::Path as Key};
use roadstead_domain::{ByteSize, Digest};

use self::{
    data::{empty, lock, remove_half_written, warn_if_open},
    pool::wait,
};
use crate::{
    BlobError, CodeStore, Hold, OpenError, Place, Upload, durable::create_directory, holds::Holds,
    key::HostKey, shared::Shared, upload::blocking,
};

/// What a blob is; each kind has a directory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A component, as it is compiled.
    Component,
    /// The wire lock of one protobuf package.
    Lock,
    /// The interfaces of a component without its code.
    Interface,
    /// WIT texts that were pushed beside a component.
    Wit,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Component, Self::Lock, Self::Interface, Self::Wit];

    /// Whether hosts keep a copy of what they share: texts that every start needs.
    fn is_kept(self) -> bool {
        self != Self::Component
    }

    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Component => "components",
            Self::Lock => "locks",
            Self::Interface => "interfaces",
            Self::Wit => "wit",
        }
    }
}

/// What hosts of a pool share, and what this one may keep of it.
pub struct SharedConfig {
    pub place: Place,
    /// The pool's name: another pool has other blobs in the same place.
    pub pool: String,
    /// A secret of the pool: it signs compiled code.
    pub key: [u8; 32],
    /// The most compiled code that is kept here.
    pub cache: ByteSize,
    /// How long what nothing names any more is kept in the place.
    pub grace: Duration,
}

/// Everything that a host keeps by digest, in one data directory that is its alone. Where hosts
/// share a store, that has the blobs and the compiled code, and the directory has copies.
pub struct BlobStore {
    objects: Arc<dyn ObjectStore>,
    blobs: PathBuf,
    code: Arc<CodeStore>,
    staging: PathBuf,
    holds: Arc<Holds>,
    sweeping: tokio::sync::Mutex<()>,
    shared: Option<Shared>,
    cache: ByteSize,
    /// Locked as long as the process lives.
    _lock: File,
}

impl std::fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobStore").field("blobs", &self.blobs).finish_non_exhaustive()
    }
}

impl BlobStore {
    /// Opens the data directory, and makes it where it is missing. Uploads that a former process
    /// left unfinished are deleted.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process has it open; [`OpenError::Io`] names the path.
    pub fn open(data: &Path) -> Result<Self, OpenError> {
        Self::open_with(data, None)
    }

    /// As [`BlobStore::open`], for a host that shares a store with others. Must be called on a
    /// tokio runtime, which does the store's work from then on.
    ///
    /// # Errors
    /// As there, and if the store cannot be opened; whether it answers is not asked.
    pub fn open_shared(data: &Path, config: SharedConfig) -> Result<Self, OpenError> {
        Self::open_with(data, Some(config))
    }

    fn open_with(data: &Path, config: Option<SharedConfig>) -> Result<Self, OpenError> {
        let make = |path: PathBuf| match create_directory(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(OpenError::Io { doing: "make the directory", path, source }),
        };
        let data = make(data.to_owned())?;
        warn_if_open(&data);
        let lock = lock(&data)?;
        let staging = make(data.join("staging"))?;
        let blobs = make(data.join("blobs"))?;
        let compiled = make(data.join("compiled"))?;
        empty(&staging)
            .and_then(|()| remove_half_written(&blobs))
            .map_err(|source| OpenError::Io { doing: "clean up", path: staging.clone(), source })?;
        let own_key = || {
            let path = data.join("host.key");
            let doing = "open the host's key";
            HostKey::open(&path, &staging).map_err(|source| OpenError::Io { doing, path, source })
        };
        let (key, limit, shared) = match config {
            None => (own_key()?, None, None),
            Some(config) => {
                let SharedConfig { place, pool, key, cache, grace } = config;
                let shared = Shared::open(&place, &pool, grace)?;
                (HostKey::shared(key), Some(cache.0), Some(shared))
            }
        };
        let objects = LocalFileSystem::new_with_prefix(&blobs)
            .map_err(|source| OpenError::Store { path: blobs.clone(), source })?
            .with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            blobs,
            code: Arc::new(CodeStore::new(key, compiled, staging.clone(), limit)),
            staging,
            holds: Arc::default(),
            sweeping: tokio::sync::Mutex::default(),
            shared,
            cache: ByteSize(limit.unwrap_or(u64::MAX)),
            _lock: lock,
        })
    }

    /// Whether nothing is stored by digest. Blocks.
    ///
    /// # Errors
    /// If a directory does not read.
    pub fn is_empty(&self) -> io::Result<bool> {
        for kind in Kind::ALL {
            match fs::read_dir(self.blobs.join(kind.directory())) {
                Ok(mut entries) => {
                    if entries.next().is_some() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub fn code(&self) -> &Arc<CodeStore> {
        &self.code
    }

    /// Begins an upload of at most `limit` bytes.
    ///
    /// # Errors
    /// [`BlobError::Full`] or [`BlobError::Io`].
    pub async fn upload(&self, limit: ByteSize) -> Result<Upload, BlobError> {
        Upload::begin(&self.staging, limit).await
    }

    /// Keeps `digest` from being swept from now on, stored or not.
    pub async fn hold(&self, digest: Digest) -> Hold {
        self.holds.hold(digest).await
    }

    /// Stores bytes; durable when it returns. They stay at least as long as the [`Hold`]; where
    /// hosts share a store, for its grace from now on, whoever stored them before.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`] or [`BlobError::Io`]; nothing is left behind.
    pub async fn put(&self, kind: Kind, bytes: Bytes) -> Result<Hold, BlobError> {
        let hashed = bytes.clone();
        let digest = blocking(move || Digest::of(&hashed)).await?;
        let hold = self.hold(digest).await;
        match &self.shared {
            None => self.put_here(kind, digest, bytes).await?,
            Some(shared) => {
                shared.put(kind, digest, bytes.clone()).await?;
                self.keep(kind, digest, bytes).await;
            }
        }
        Ok(hold)
    }

    /// Stores bytes anew that are stored already, so that they are kept from being swept for
    /// another grace. Where nothing is shared, holds do the same.
    ///
    /// # Errors
    /// As [`BlobStore::get`] and [`BlobStore::put`].
    pub async fn renew(&self, kind: Kind, digest: Digest) -> Result<Hold, BlobError> {
        let hold = self.hold(digest).await;
        if let Some(shared) = &self.shared {
            shared.put(kind, digest, self.get(kind, digest).await?).await?;
        }
        Ok(hold)
    }

    async fn put_here(&self, kind: Kind, digest: Digest, bytes: Bytes) -> Result<(), BlobError> {
        // Stored bytes are trusted only as far as they read back: a damaged blob is written anew.
        match self.get_here(kind, digest).await {
            Ok(_) => return Ok(()),
            Err(BlobError::Missing(_) | BlobError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        let put = self.objects.put(&key(kind, digest), bytes.into()).await;
        put.map(drop).map_err(|error| BlobError::io("store a blob", error))
    }

    /// Keeps a copy of what hosts share.
    async fn keep(&self, kind: Kind, digest: Digest, bytes: Bytes) {
        if kind.is_kept()
            && let Err(error) = self.put_here(kind, digest, bytes).await
        {
            tracing::warn!(%digest, error = &error as &dyn std::error::Error,
                "no copy of a shared blob is kept here");
        }
    }

    /// The bytes of a digest, checked.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`], [`BlobError::Unavailable`] or
    /// [`BlobError::Io`].
    pub async fn get(&self, kind: Kind, digest: Digest) -> Result<Bytes, BlobError> {
        let here = self.get_here(kind, digest).await;
        let (Some(shared), Err(_)) = (&self.shared, &here) else { return here };
        let bytes = shared.get(kind, digest).await?;
        self.keep(kind, digest, bytes.clone()).await;
        Ok(bytes)
    }

    async fn get_here(&self, kind: Kind, digest: Digest) -> Result<Bytes, BlobError> {
        let bytes = self.fetch(kind, digest).await?;
        let checked = bytes.clone();
        if blocking(move || Digest::of(&checked)).await? != digest {
            return Err(BlobError::Damaged(digest));
        }
        Ok(bytes)
    }

    /// As [`BlobStore::get`], for threads that may block and know no async runtime.
    ///
    /// # Errors
    /// As there.
    pub fn read_blocking(&self, kind: Kind, digest: Digest) -> Result<Bytes, BlobError> {
        if let Some(shared) = &self.shared {
            return wait(&shared.runtime, self.get(kind, digest));
        }
        // A thread of its own: waiting for a future is not allowed on a thread that drives some.
        let bytes = std::thread::scope(|scope| {
            let read = || futures::executor::block_on(self.fetch(kind, digest));
            scope.spawn(read).join().unwrap_or_else(|_| Err(BlobError::Missing(digest)))
        })?;
        if Digest::of(&bytes) != digest {
            return Err(BlobError::Damaged(digest));
        }
        Ok(bytes)
    }

    /// The bytes of a digest, as they are stored here.
    async fn fetch(&self, kind: Kind, digest: Digest) -> Result<Bytes, BlobError> {
        let bytes = match self.objects.get(&key(kind, digest)).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        bytes.map_err(|error| match error {
            object_store::Error::NotFound { .. } => BlobError::Missing(digest),
            error => BlobError::io("read a blob", error),
        })
    }

    /// Lists what is stored, as the first half of a sweep. Only one sweep runs at a time.
    ///
    /// # Errors
    /// [`BlobError::Io`] if a directory does not read.
    pub async fn begin_sweep(&self) -> Result<Sweep<'_>, BlobError> {
        let turn = self.sweeping.lock().await;
        self.holds.begin_sweep();
        let mut sweep = Sweep { store: self, stored: Vec::new(), code: Vec::new(), _turn: turn };
        for kind in Kind::ALL {
            let prefix = Key::from(kind.directory());
            let objects: Vec<_> = self
                .objects
                .list(Some(&prefix))
                .try_collect()
                .await
                .map_err(|error| BlobError::io("list blobs", error))?;
            sweep.stored.extend(objects.into_iter().filter_map(|object| {
                let hex = object.location.filename()?;
                Some((kind, format!("sha256:{hex}").parse().ok()?))
            }));
        }
        let code = Arc::clone(&self.code);
        sweep.code = blocking(move || code.list())
            .await?
            .map_err(|error| BlobError::io("list compiled code", error))?;
        Ok(sweep)
    }
}

/// A sweep that has listed what is stored and deleted nothing yet. What is referenced must be
/// asked for after it was begun: whatever is published since is held, and so never deleted.
#[derive(Debug)]
pub struct Sweep<'a> {
    store: &'a BlobStore,
    stored: Vec<(Kind, Digest)>,
    code: Vec<Digest>,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Sweep<'_> {
    /// Deletes all that is neither referenced nor held, and says how many blobs those were.
    ///
    /// # Errors
    /// [`BlobError::Io`] at the first blob that could not be deleted.
    pub async fn finish(self, referenced: &HashSet<Digest>) -> Result<usize, BlobError> {
        let mut swept = 0;
        for (kind, digest) in &self.stored {
            let _gate = self.store.holds.gate.lock().await;
            if referenced.contains(digest) || self.store.holds.is_touched(*digest) {
                continue;
            }
            match self.store.objects.delete(&key(*kind, *digest)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => swept += 1,
                Err(error) => return Err(BlobError::io("delete a blob", error)),
            }
        }
        for digest in self.code.iter().copied() {
            let _gate = self.store.holds.gate.lock().await;
            if referenced.contains(&digest) || self.store.holds.is_touched(digest) {
                continue;
            }
            let code = Arc::clone(&self.store.code);
            blocking(move || code.remove(digest))
                .await?
                .map_err(|error| BlobError::io("delete compiled code", error))?;
            swept += 1;
        }
        Ok(swept)
    }
}

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        self.store.holds.end_sweep();
    }
}

fn key(kind: Kind, digest: Digest) -> Key {
    Key::from_iter([kind.directory(), &digest.hex()])
}
