//! Where the engine gets a module's compiled code: from the store, or by compiling it again.

use std::sync::Arc;

use roadstead_blobs::{BlobError, BlobStore, Hold, Kind};
use roadstead_domain::Digest;
use roadstead_engine::{CodeError, CodeSource, Engine, VerifiedCode};
use roadstead_worker::Workers;
use tokio::sync::Notify;

use crate::turns::Turns;

/// The compiled code of one component. While it lives, neither the component nor the code is swept.
pub(crate) struct StoredCode {
    pub(crate) component: Digest,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) engine: Arc<Engine>,
    /// Compilations at the same time, pushes included.
    pub(crate) turns: Turns,
    pub(crate) workers: Arc<Workers>,
    /// Told when the component may have become garbage.
    pub(crate) collect: Arc<Notify>,
    pub(crate) hold: Option<Hold>,
}

impl CodeSource for StoredCode {
    fn open(&self) -> Result<VerifiedCode, CodeError> {
        if let Some(file) = self.stored() {
            return Ok(VerifiedCode::File(file));
        }
        let turn = self.turns.take_blocking().map_err(other)?;
        // Another may have compiled it while this one waited for its turn.
        if let Some(file) = self.stored() {
            return Ok(VerifiedCode::File(file));
        }
        tracing::warn!(component = %self.component, "no trusted compiled code: compiling again");
        let component = self.blobs.read_blocking(Kind::Component, self.component).map_err(
            |error| match error {
                BlobError::Missing(_) | BlobError::Damaged(_) => CodeError::Lost(Box::new(error)),
                error => other(error),
            },
        )?;
        let code = self.blobs.code().stage().map_err(other)?;
        let file = code.file().try_clone()?;
        let (_leash, tether) = roadstead_worker::leash();
        self.workers.compile(&component, &file, tether).map_err(other)?;
        drop(turn);
        let fingerprint = self.engine.fingerprint();
        if let Err(error) = self.blobs.code().put(fingerprint, self.component, code) {
            tracing::warn!(component = %self.component, error = &error as &dyn std::error::Error,
                "compiled code is not stored: serving it without a name");
        }
        Ok(VerifiedCode::File(file))
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

fn other(error: impl std::error::Error + Send + Sync + 'static) -> CodeError {
    CodeError::Other(Box::new(error))
}
