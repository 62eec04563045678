//! What hosts of a pool share: blobs by digest, compiled code with its signature.
//!
//! No name is ever written twice with blobs: each [`Shared::put`] makes a new object,
//! `<kind>/<digest>/<generation>`. So whoever deletes what was garbage when it was looked at can
//! never hit what was stored since, however long ago that look was. Readers take the newest
//! generation whose bytes have the digest. Compiled code can be made again: it has one name,
//! `compiled/<fingerprint>/<key>`, and is its signature and the code.
//!
//! Every request is bounded in time.

use std::{fs::File, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt as _, buffered::BufWriter, path::Path as Key,
    prefix::PrefixStore,
};
use roadstead_domain::Digest;
use tokio::{io::AsyncWriteExt as _, runtime::Handle};

use crate::{
    BlobError, Kind, OpenError, Place, StagedCode,
    code::{self, SIGNATURE},
    mounted::Mounted,
    upload::blocking,
};

/// How long a question may take that moves few bytes.
pub(crate) const SHORT: Duration = Duration::from_secs(20);

/// How long a transfer may take.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// What is larger was not stored by a host.
const LARGEST_BLOB: u64 = 1 << 30;

/// Bytes of one part of a large object on its way.
const PART: usize = 8 << 20;

/// Generations of one digest that are tried before it counts as damaged.
const TRIED: usize = 4;

/// The store of a pool.
pub(crate) struct Shared {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) runtime: Handle,
    /// Where the objects are files: their directory.
    pub(crate) mounted: Option<Mounted>,
    /// How long what nothing names any more is kept.
    pub(crate) grace: Duration,
}

impl Shared {
    /// The part of a store that belongs to `pool`.
    pub(crate) fn open(place: &Place, pool: &str, grace: Duration) -> Result<Self, OpenError> {
        let objects = Arc::new(PrefixStore::new(place.open()?, pool));
        let mounted = match place {
            Place::Directory(path) => Some(Mounted::open(path, pool)?),
            Place::S3 { .. } | Place::Gcs { .. } => None,
        };
        Ok(Self { objects, runtime: Handle::current(), mounted, grace })
    }

    /// Whether a directory is still there.
    pub(crate) async fn check(&self) -> Result<(), BlobError> {
        match &self.mounted {
            Some(mounted) => {
                let checked = tokio::time::timeout(SHORT, mounted.check()).await;
                checked.unwrap_or_else(|late| Err(BlobError::unavailable("be asked", late)))
            }
            None => Ok(()),
        }
    }

    /// Stores bytes anew, whatever is there.
    pub(crate) async fn put(
        &self,
        kind: Kind,
        digest: Digest,
        bytes: Bytes,
    ) -> Result<(), BlobError> {
        self.check().await?;
        let generation = format!("{:032x}", rand::random::<u128>());
        let key = Key::from_iter([kind.directory(), &digest.hex(), &generation]);
        bounded("store a blob", LONG, self.objects.put(&key, bytes.into())).await?;
        Ok(())
    }

    /// The bytes of a digest, checked.
    pub(crate) async fn get(&self, kind: Kind, digest: Digest) -> Result<Bytes, BlobError> {
        let mut damaged = false;
        // A second look where a generation went between the list and the reading.
        for _ in 0..2 {
            let mut gone = false;
            for found in self.generations(kind, digest).await?.into_iter().take(TRIED) {
                match self.read(&found).await {
                    Ok(Some(bytes)) => {
                        let checked = bytes.clone();
                        if blocking(move || Digest::of(&checked)).await? == digest {
                            return Ok(bytes);
                        }
                        damaged = true;
                    }
                    Ok(None) => gone = true,
                    Err(error) => return Err(error),
                }
            }
            if !gone {
                break;
            }
        }
        self.check().await?;
        Err(if damaged { BlobError::Damaged(digest) } else { BlobError::Missing(digest) })
    }

    /// All objects of a digest, the newest first.
    async fn generations(&self, kind: Kind, digest: Digest) -> Result<Vec<ObjectMeta>, BlobError> {
        let prefix = Key::from_iter([kind.directory(), &digest.hex()]);
        let mut found = self.list("find a blob", &prefix, SHORT).await?;
        found.retain(|object| object.size <= LARGEST_BLOB);
        found.sort_by_key(|object| std::cmp::Reverse(object.last_modified));
        Ok(found)
    }

    pub(crate) async fn list(
        &self,
        doing: &'static str,
        prefix: &Key,
        limit: Duration,
    ) -> Result<Vec<ObjectMeta>, BlobError> {
        bounded(doing, limit, self.objects.list(Some(prefix)).try_collect()).await
    }

    /// None if it is gone.
    async fn read(&self, object: &ObjectMeta) -> Result<Option<Bytes>, BlobError> {
        let read = async { self.objects.get(&object.location).await?.bytes().await };
        found(bounded_raw("read a blob", LONG, read).await?, "read a blob")
    }

    /// Stores code with its signature.
    pub(crate) async fn put_code(
        &self,
        fingerprint: &str,
        component: Digest,
        code: File,
        signature: [u8; SIGNATURE],
    ) -> Result<(), BlobError> {
        let doing = "store compiled code";
        self.check().await?;
        let store = Arc::clone(&self.objects);
        let mut writer = BufWriter::with_capacity(store, code_key(fingerprint, component), PART);
        let mut code = tokio::fs::File::from_std(code);
        let write = async {
            writer.write_all(&signature).await?;
            tokio::io::copy(&mut code, &mut writer).await?;
            writer.shutdown().await
        };
        let written = tokio::time::timeout(LONG, write).await;
        let error = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => BlobError::unavailable(doing, error),
            Err(late) => BlobError::unavailable(doing, late),
        };
        // What was sent of it would only take room.
        drop(tokio::time::timeout(SHORT, writer.abort()).await);
        Err(error)
    }

    /// Writes stored code of at most `limit` bytes to `into`, and returns the signature that came
    /// with it; none if there is no such code. Nothing of it is checked.
    pub(crate) async fn get_code(
        &self,
        fingerprint: &str,
        component: Digest,
        limit: u64,
        into: &StagedCode,
    ) -> Result<Option<[u8; SIGNATURE]>, BlobError> {
        let doing = "read compiled code";
        let key = code_key(fingerprint, component);
        let get = self.objects.get(&key);
        let Some(object) = found(bounded_raw(doing, SHORT, get).await?, doing)? else {
            self.check().await?;
            return Ok(None);
        };
        if limit < object.meta.size {
            tracing::warn!(%component, size = object.meta.size, "stored code is too large: not used");
            return Ok(None);
        }
        let file = into.file().try_clone().map_err(|error| BlobError::io(doing, error))?;
        let mut file = tokio::fs::File::from_std(file);
        let mut signature = Vec::with_capacity(SIGNATURE);
        let copy = async {
            let mut chunks = object.into_stream();
            while let Some(chunk) = chunks.next().await {
                let mut chunk = chunk.map_err(|error| BlobError::unavailable(doing, error))?;
                let head = chunk.split_to(chunk.len().min(SIGNATURE - signature.len()));
                signature.extend_from_slice(&head);
                file.write_all(&chunk).await.map_err(|error| BlobError::io(doing, error))?;
            }
            file.flush().await.map_err(|error| BlobError::io(doing, error))
        };
        match tokio::time::timeout(LONG, copy).await {
            Ok(copied) => copied?,
            Err(late) => return Err(BlobError::unavailable(doing, late)),
        }
        Ok(signature.try_into().ok())
    }
}

fn code_key(fingerprint: &str, component: Digest) -> Key {
    Key::from_iter(["compiled", &code::directory_name(fingerprint), &component.hex()])
}

/// None for what is not there.
fn found<T>(answer: object_store::Result<T>, doing: &'static str) -> Result<Option<T>, BlobError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(BlobError::unavailable(doing, error)),
    }
}

async fn bounded_raw<T>(
    doing: &'static str,
    limit: Duration,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<object_store::Result<T>, BlobError> {
    let late = |late| BlobError::unavailable(doing, late);
    tokio::time::timeout(limit, work).await.map_err(late)
}

pub(crate) async fn bounded<T>(
    doing: &'static str,
    limit: Duration,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, BlobError> {
    let answer = bounded_raw(doing, limit, work).await?;
    answer.map_err(|error| BlobError::unavailable(doing, error))
}
