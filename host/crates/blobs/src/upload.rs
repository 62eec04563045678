//! Bytes on their way in: counted, hashed and kept out of memory.

use std::{io::Write as _, path::Path};

use bytes::Bytes;
use roadstead_domain::{ByteSize, Digest, DigestHasher};

use crate::{BlobError, durable::Temporary};

/// An upload in progress. Dropping it deletes what came.
pub struct Upload {
    file: std::fs::File,
    temporary: Temporary,
    hasher: DigestHasher,
    size: u64,
    limit: ByteSize,
}

/// Bytes that arrived whole. Dropping it deletes them.
#[derive(Debug)]
pub struct Staged {
    temporary: Temporary,
    digest: Digest,
    size: u64,
}

impl Upload {
    pub(crate) async fn begin(staging: &Path, limit: ByteSize) -> Result<Self, BlobError> {
        let directory = staging.to_owned();
        let (temporary, file) = blocking(move || Temporary::create(&directory))
            .await?
            .map_err(|error| BlobError::io("begin an upload", error))?;
        Ok(Self { file, temporary, hasher: DigestHasher::default(), size: 0, limit })
    }

    /// Bytes that came so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes one chunk.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] over the limit, [`BlobError::Full`] without room. The upload is
    /// over then.
    pub async fn write(mut self, chunk: Bytes) -> Result<Self, BlobError> {
        let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.size = self.size.saturating_add(length);
        if self.size > self.limit.0 {
            return Err(BlobError::TooLarge(self.limit));
        }
        blocking(move || {
            self.hasher.update(&chunk);
            self.file.write_all(&chunk)?;
            Ok::<_, std::io::Error>(self)
        })
        .await?
        .map_err(|error| BlobError::io("write an upload", error))
    }

    pub fn finish(self) -> Staged {
        Staged { temporary: self.temporary, digest: self.hasher.finish(), size: self.size }
    }
}

impl Staged {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes, as they came. Blocks.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] if the file changed since, [`BlobError::Io`] if it does not read.
    pub fn read(&self) -> Result<Bytes, BlobError> {
        let bytes = std::fs::read(self.temporary.path())
            .map_err(|error| BlobError::io("read an upload", error))?;
        if Digest::of(&bytes) != self.digest {
            return Err(BlobError::Damaged(self.digest));
        }
        Ok(Bytes::from(bytes))
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BlobError::io("run file work", error))
}
