//! From a component to machine code. Loads and runs nothing, and reserves nothing for it.

use roadstead_domain::ByteSize;

use crate::{CompileError, EngineError, config};

/// Makes code that every [`crate::Engine`] of the same fingerprint accepts.
pub struct Compiler {
    wasm: wasmtime::Engine,
    fingerprint: String,
}

impl Compiler {
    /// For engines whose guests have `stack`.
    ///
    /// # Errors
    /// [`EngineError::Wasmtime`] if this machine has no such compiler.
    pub fn new(stack: ByteSize) -> Result<Self, EngineError> {
        let (wasm, fingerprint) = config::build_compiler(stack)?;
        Ok(Self { wasm, fingerprint })
    }

    /// The same text as that of [`crate::Engine::fingerprint`], if its code is for that engine.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Blocks, takes seconds for large components, and runs on the caller's rayon pool. Hostile
    /// components can make it take any time and memory: give it to a process with limits.
    ///
    /// # Errors
    /// [`CompileError`] if it is not a component that the engine can run.
    pub fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        self.wasm
            .precompile_component(component)
            .map_err(|error| CompileError::Invalid(format!("{error:#}")))
    }
}
