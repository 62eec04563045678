//! Where the engine gets a module's compiled code: from the store, or by compiling it again.

use std::sync::Arc;

use bytes::Bytes;
use roadstead_blobs::{BlobStore, Hold, Kind};
use roadstead_domain::Digest;
use roadstead_engine::{CodeError, CodeSource, Engine, VerifiedCode};
use tokio::sync::{Notify, Semaphore};

/// The compiled code of one component. While it lives, neither the component nor the code is swept.
pub(crate) struct StoredCode {
    pub(crate) component: Digest,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) engine: Arc<Engine>,
    /// Compilations at the same time, pushes included.
    pub(crate) compilations: Arc<Semaphore>,
    /// Told when the component may have become garbage.
    pub(crate) collect: Arc<Notify>,
    pub(crate) hold: Option<Hold>,
}

impl CodeSource for StoredCode {
    fn open(&self) -> Result<VerifiedCode, CodeError> {
        if let Some(file) = self.stored() {
            return Ok(VerifiedCode::File(file));
        }
        let turn = futures::executor::block_on(self.compilations.acquire());
        // Another may have compiled it while this one waited for its turn.
        if let Some(file) = self.stored() {
            return Ok(VerifiedCode::File(file));
        }
        tracing::warn!(component = %self.component, "no trusted compiled code: compiling again");
        let component = self
            .blobs
            .read_blocking(Kind::Component, self.component)
            .map_err(|error| CodeError::Other(Box::new(error)))?;
        let code =
            self.engine.compile(&component).map_err(|error| CodeError::Other(Box::new(error)))?;
        drop(turn);
        let fingerprint = self.engine.fingerprint();
        if let Err(error) = self.blobs.code().put(fingerprint, self.component, &code) {
            tracing::warn!(component = %self.component, error = &error as &dyn std::error::Error,
                "compiled code is not stored: serving it from memory");
        } else if let Some(file) = self.stored() {
            return Ok(VerifiedCode::File(file));
        }
        Ok(VerifiedCode::Bytes(Bytes::from(code)))
    }
}

impl StoredCode {
    /// None where it must be compiled (again).
    fn stored(&self) -> Option<std::fs::File> {
        self.blobs.code().open(self.engine.fingerprint(), self.component).ok()
    }
}

impl Drop for StoredCode {
    fn drop(&mut self) {
        // The hold first: who is told must find it gone.
        self.hold = None;
        self.collect.notify_one();
    }
}
