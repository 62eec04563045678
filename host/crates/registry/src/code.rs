//! Where the engine gets a module's compiled code: from the store, or by compiling it again.

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use roadstead_blobs::{BlobError, BlobStore, Hold, Kind, StagedCode};
use roadstead_catalog::{Election, Office};
use roadstead_domain::{Digest, with_causes};
use roadstead_engine::{CodeError, CodeSource, CodeState, Engine, VerifiedCode};
use roadstead_transcode::Locks;
use roadstead_worker::{WorkerError, Workers};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};

use crate::{
    derive,
    recipe::{Codec, Recipe},
    turns::{Turn, Turns},
};

/// The compiled code of one component. While it lives, neither the component nor the code is swept.
pub(crate) struct StoredCode {
    pub(crate) recipe: Recipe,
    /// As in [`roadstead_catalog::VersionRecord`].
    pub(crate) component_instances: u64,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) engine: Arc<Engine>,
    /// Compilations at the same time, pushes included.
    pub(crate) turns: Turns,
    /// Places to wait for a turn, for all loads of the host together: who finds none is refused.
    pub(crate) waiting_loads: Arc<Semaphore>,
    pub(crate) workers: Arc<Workers>,
    /// How hosts agree on who compiles it, where several share what is compiled.
    pub(crate) election: Option<Arc<dyn Election>>,
    /// Told when the component may have become garbage.
    pub(crate) collect: Arc<Notify>,
    pub(crate) holds: Vec<Hold>,
    pub(crate) failed: Mutex<Option<Failed>>,
}

/// It did not compile, and why.
pub(crate) struct Failed {
    at: Instant,
    why: String,
}

/// Who compiles what no host has.
enum Chosen {
    /// This host for all, as long as it is at it.
    Here(Box<dyn Office>),
    /// Another one: it will store it.
    Elsewhere,
    /// This host for itself.
    Alone,
}

/// How often it is looked whether the host that compiles it has done so.
const LOOK: Duration = Duration::from_millis(500);

/// How long another host may take to compile, beyond all that its workers are allowed.
const PATIENCE: Duration = Duration::from_secs(12 * 60);

/// How long nobody tries again what did not compile: calls must not keep pushes from their turns.
const PAUSE: Duration = Duration::from_secs(60);

impl CodeSource for StoredCode {
    fn open(&self) -> Result<VerifiedCode, CodeError> {
        if let Some(file) = self.stored() {
            return Ok(VerifiedCode::File(file));
        }
        if let Some(failed) = &*self.failed.lock()
            && failed.at.elapsed() < PAUSE
        {
            return Err(CodeError::Uncompilable(failed.why.clone()));
        }
        let place = self.waiting_loads.try_acquire().map_err(|_| busy())?;
        let begun = Instant::now();
        loop {
            let turn = self.turns.take_blocking().map_err(other)?;
            // Another may have compiled it while this one waited for its turn.
            if let Some(file) = self.stored() {
                return Ok(VerifiedCode::File(file));
            }
            let chosen = match self.shared() {
                Ok(Some(file)) => return Ok(VerifiedCode::File(file)),
                Ok(None) if begun.elapsed() < PATIENCE => self.stand(),
                Ok(None) | Err(_) => Chosen::Alone,
            };
            match chosen {
                Chosen::Elsewhere => {
                    drop(turn);
                    std::thread::sleep(LOOK);
                }
                Chosen::Here(office) => {
                    // Who held the office before may have stored it just now.
                    if let Ok(Some(file)) = self.shared() {
                        return Ok(VerifiedCode::File(file));
                    }
                    drop(place);
                    let compiled = self.compile(turn);
                    drop(office);
                    return compiled;
                }
                Chosen::Alone => {
                    drop(place);
                    return self.compile(turn);
                }
            }
        }
    }

    fn state(&self) -> CodeState {
        if self.blobs.code().contains(self.engine.fingerprint(), self.recipe.key()) {
            return CodeState::There;
        }
        let failed = self.failed.lock();
        failed.as_ref().map_or(CodeState::Missing, |failed| CodeState::Failed(failed.why.clone()))
    }

    fn component_instances(&self) -> u64 {
        self.component_instances
    }

    fn has_codec(&self) -> bool {
        self.recipe.codec.is_some()
    }
}

impl StoredCode {
    /// Compiles and stores it. Blocks.
    fn compile(&self, turn: Turn) -> Result<VerifiedCode, CodeError> {
        let Recipe { component: digest, codec } = &self.recipe;
        tracing::warn!(component = %digest, "no trusted compiled code: compiling again");
        let component = self.read(Kind::Component, *digest)?;
        let upload = match codec {
            Some(codec) => Some(codec.upload(self.locks(codec)?)),
            None => None,
        };
        let code = self.blobs.code().stage().map_err(other)?;
        let file = code.file().try_clone()?;
        let (_leash, tether) = roadstead_worker::leash();
        self.workers
            .compile(&component, upload.as_ref(), &file, tether)
            .map_err(|error| self.not_compiled(error))?;
        drop(turn);
        self.store(code);
        Ok(VerifiedCode::File(file))
    }

    /// Agrees with the other hosts of the pool on who compiles it. Blocks.
    fn stand(&self) -> Chosen {
        let (Some(election), Some(_)) = (&self.election, self.blobs.grace()) else {
            return Chosen::Alone;
        };
        let Ok(runtime) = Handle::try_current() else { return Chosen::Alone };
        let made = format!("{}\n{}", self.engine.fingerprint(), self.recipe.key());
        let hex = Digest::of(made.as_bytes()).hex();
        let task = format!("compile-{}", hex.get(..40).unwrap_or(&hex));
        let standing = || runtime.block_on(election.stand(&task));
        // A thread of its own: the caller's may drive futures.
        let stood = std::thread::scope(|scope| scope.spawn(standing).join());
        match stood {
            Ok(Ok(Some(office))) => Chosen::Here(office),
            Ok(Ok(None)) => Chosen::Elsewhere,
            Ok(Err(error)) => {
                tracing::warn!(component = %self.recipe.component, error = with_causes(&error),
                    "nobody can be asked who compiles it: doing it here");
                Chosen::Alone
            }
            Err(_) => Chosen::Alone,
        }
    }

    fn not_compiled(&self, error: WorkerError) -> CodeError {
        match error {
            WorkerError::Refused(_) | WorkerError::Limit(_) | WorkerError::Crashed { .. } => {
                let why = error.to_string();
                *self.failed.lock() = Some(Failed { at: Instant::now(), why: why.clone() });
                CodeError::Uncompilable(why)
            }
            error => other(error),
        }
    }

    /// Code that another host of the pool made.
    fn shared(&self) -> Result<Option<File>, BlobError> {
        let fetched = self.blobs.fetch_code(self.engine.fingerprint(), self.recipe.key());
        fetched.inspect_err(|error| {
            tracing::warn!(component = %self.recipe.component, error = with_causes(error),
                "the pool's compiled code cannot be asked for");
        })
    }

    fn store(&self, code: StagedCode) {
        let (fingerprint, key) = (self.engine.fingerprint(), self.recipe.key());
        let stored = self.blobs.code().put(fingerprint, key, code);
        if let Err(error) = stored.and_then(|()| self.blobs.share_code(fingerprint, key)) {
            tracing::warn!(component = %self.recipe.component, error = with_causes(&error),
                "compiled code is not stored: serving it all the same");
        }
    }

    /// None where it must be compiled (again).
    fn stored(&self) -> Option<File> {
        self.blobs.code().open(self.engine.fingerprint(), self.recipe.key()).ok()
    }

    fn read(&self, kind: Kind, digest: Digest) -> Result<Bytes, CodeError> {
        self.blobs.read_blocking(kind, digest).map_err(|error| match error {
            BlobError::Missing(_) | BlobError::Damaged(_) => CodeError::Lost(Box::new(error)),
            error if error.is_unavailable() => CodeError::Unavailable(Box::new(error)),
            error => other(error),
        })
    }

    /// The text of a version's locks.
    fn locks(&self, codec: &Codec) -> Result<String, CodeError> {
        let mut locks = Locks::default();
        for digest in codec.locks.values() {
            let text = self.read(Kind::Lock, *digest)?;
            locks.extend(derive::lock_from(&text).map_err(other)?);
        }
        Ok(locks.to_string())
    }
}

impl Drop for StoredCode {
    fn drop(&mut self) {
        // The holds first: who is told must find them gone.
        self.holds.clear();
        self.collect.notify_one();
    }
}

/// Not remembered: the next call may find a place.
fn busy() -> CodeError {
    let why = "its code must be compiled again and too many others wait for that: try again";
    CodeError::Uncompilable(why.to_owned())
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> CodeError {
    CodeError::Other(Box::new(error))
}

#[cfg(test)]
mod tests {
    use roadstead_domain::ByteSize;
    use roadstead_engine::EngineConfig;
    use roadstead_worker::CompileConfig;

    use super::*;

    #[test]
    fn a_load_that_finds_no_place_to_wait_fails_at_once_and_may_be_tried_again() {
        let data = tempfile::tempdir().unwrap();
        let config = EngineConfig {
            guest_threads: 2,
            slots: 64,
            code_budget: ByteSize::mib(64),
            ..EngineConfig::for_machine()
        };
        let engine = Engine::new(config).unwrap();
        let workers = Workers::new(CompileConfig::for_machine(), engine.stack());
        let code = StoredCode {
            recipe: Recipe { component: Digest::of(b"lost code"), codec: None },
            component_instances: 1,
            blobs: Arc::new(BlobStore::open(data.path()).unwrap()),
            engine,
            turns: Turns::new(1),
            waiting_loads: Arc::new(Semaphore::new(0)),
            workers: Arc::new(workers),
            election: None,
            collect: Arc::default(),
            holds: Vec::new(),
            failed: Mutex::default(),
        };
        let error = code.open().unwrap_err();
        assert!(matches!(error, CodeError::Uncompilable(_)), "{error}");
        assert!(code.failed.lock().is_none());
        assert_eq!(code.state(), CodeState::Missing);
        code.waiting_loads.add_permits(1);
        let error = code.open().unwrap_err();
        assert!(matches!(error, CodeError::Lost(_)), "{error}");
        assert_eq!(code.waiting_loads.available_permits(), 1);
    }
}
