//! What a host does with the store that its pool shares.

use std::{fs::File, io, time::Duration};

use roadstead_domain::Digest;
use tokio::runtime::Handle;

use super::BlobStore;
use crate::{BlobError, SharedSweep};

impl BlobStore {
    /// How long what nothing names any more is kept, where hosts share a store.
    pub fn grace(&self) -> Option<Duration> {
        self.shared.as_ref().map(|shared| shared.grace)
    }

    /// Says to the other hosts of the pool that this engine is in use, so that its code is kept.
    ///
    /// # Errors
    /// [`BlobError`]
    pub async fn mark_engine(&self, fingerprint: &str) -> Result<(), BlobError> {
        match &self.shared {
            Some(shared) => shared.mark_engine(fingerprint).await,
            None => Ok(()),
        }
    }

    /// Looks at what hosts share, as the first half of a sweep of it. None where nothing is shared,
    /// or the last look of any host is younger than `pause`.
    ///
    /// # Errors
    /// [`BlobError`]
    pub async fn begin_shared_sweep(
        &self,
        pause: Duration,
    ) -> Result<Option<SharedSweep<'_>>, BlobError> {
        match &self.shared {
            Some(shared) => shared.begin_sweep(shared.grace, pause).await,
            None => Ok(None),
        }
    }

    /// Code that another host of the pool has stored; from then on it is kept here. None where
    /// there is none that the pool's key signed, or nothing is shared. Blocks.
    ///
    /// # Errors
    /// [`BlobError`]
    pub fn fetch_code(
        &self,
        fingerprint: &str,
        component: Digest,
    ) -> Result<Option<File>, BlobError> {
        let Some(shared) = &self.shared else { return Ok(None) };
        let staged = self.code.stage()?;
        let get = shared.get_code(fingerprint, component, self.cache.0, &staged);
        let Some(signature) = wait(&shared.runtime, get)? else { return Ok(None) };
        let adopted = self.code.adopt(fingerprint, component, staged, &signature)?;
        if adopted.is_none() {
            tracing::warn!(%component, "shared code without the pool's signature: not used");
        }
        Ok(adopted)
    }

    /// Stores the code that is kept here where other hosts of the pool find it. Blocks.
    ///
    /// # Errors
    /// [`BlobError`]
    pub fn share_code(&self, fingerprint: &str, component: Digest) -> Result<(), BlobError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let signed = self.code.signed_code(fingerprint, component);
        let (file, signature) = signed.map_err(|_| BlobError::Missing(component))?;
        wait(&shared.runtime, shared.put_code(fingerprint, component, file, signature))
    }
}

/// Waits for work of the shared store, on a thread of its own: the caller's may drive futures.
pub(super) fn wait<T: Send>(
    runtime: &Handle,
    work: impl Future<Output = Result<T, BlobError>> + Send,
) -> Result<T, BlobError> {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| runtime.block_on(work));
        waiting.join().unwrap_or_else(|_| {
            let ended = io::Error::other("the runtime has ended");
            Err(BlobError::unavailable("be asked", ended))
        })
    })
}
