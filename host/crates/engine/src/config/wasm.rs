//! What wasm is here: the features, the settings of code generation and the fingerprint of both.

use std::hash::{Hash, Hasher};

use roadstead_domain::ByteSize;
use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, WasmFeatures};

use super::{EngineConfig, pool};
use crate::EngineError;

/// Fewer slots than this serve nobody.
const FEWEST_SLOTS: u32 = 16;

/// Raised when compiled code of earlier versions of this program must not be loaded any more for a
/// reason that neither wasmtime's hash nor the settings below show.
const GENERATION: u32 = 1;

/// Wasm as LLVM and the component tools emit it, without what needs a collector or threads; WASI 0.3
/// needs async, and the maps and fixed-length lists of WIT are types like any other. What is not
/// named here is as wasmtime's release has it.
const FEATURES: &[(WasmFeatures, bool)] = &[
    (WasmFeatures::THREADS, false),
    (WasmFeatures::MEMORY64, false),
    (WasmFeatures::RELAXED_SIMD, false),
    (WasmFeatures::WIDE_ARITHMETIC, false),
    (WasmFeatures::CUSTOM_PAGE_SIZES, false),
    (WasmFeatures::COMPONENT_MODEL, true),
    (WasmFeatures::CM_ASYNC, true),
    (WasmFeatures::CM_MAP, true),
    (WasmFeatures::CM_FIXED_LENGTH_LISTS, true),
];

/// NaN bits may differ between CPUs inside a guest; answers carry the canonical NaN anyway.
const CANONICAL_NAN: bool = false;

/// A wasmtime engine and what came out of making it.
pub(crate) struct Wasm {
    pub(crate) engine: Engine,
    pub(crate) fingerprint: String,
    /// Slots that the pool really has.
    pub(crate) slots: u32,
}

/// Makes the engine. Where the machine has no room for a pool of the size that was asked for, a
/// smaller one is made and said so in the log; there is no other way to allocate.
pub(crate) fn build(settings: &EngineConfig) -> Result<Wasm, EngineError> {
    let mut slots = settings.slots;
    loop {
        let mut config = codegen(settings.stack);
        runtime(&mut config, settings, slots);
        match Engine::new(&config) {
            Ok(engine) => {
                if slots < settings.slots {
                    tracing::warn!(
                        asked = settings.slots,
                        slots,
                        "no address space for the instance slots that were asked for: fewer \
                         instances can live at once (see ulimit -v and vm.max_map_count)"
                    );
                }
                let fingerprint = fingerprint(&engine, settings.stack);
                return Ok(Wasm { engine, fingerprint, slots });
            }
            Err(error) if slots <= FEWEST_SLOTS => return Err(EngineError::Wasmtime(error)),
            Err(error) => {
                tracing::warn!(slots, error = %format_args!("{error:#}"), "make the instance pool");
                slots = (slots / 2).max(FEWEST_SLOTS);
            }
        }
    }
}

/// An engine that makes the very code that [`build`]'s accept, and its fingerprint; it reserves
/// nothing for instances.
pub(crate) fn build_compiler(stack: ByteSize) -> Result<(Engine, String), EngineError> {
    let engine = Engine::new(&codegen(stack)).map_err(EngineError::Wasmtime)?;
    let fingerprint = fingerprint(&engine, stack);
    Ok((engine, fingerprint))
}

/// Everything that decides which code is made and accepted.
fn codegen(stack: ByteSize) -> Config {
    let mut config = Config::new();
    // Fuel bounds work, epochs give the thread back each tick: about a tenth of speed each.
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        .cranelift_nan_canonicalization(CANONICAL_NAN)
        .max_wasm_stack(stack.as_usize());
    for (feature, on) in FEATURES {
        config.wasm_features(*feature, *on);
    }
    // 32-bit memories whole in their reservation: no bounds checks, and a memory never moves.
    config.memory_reservation(4 << 30).memory_may_move(false).memory_init_cow(true);
    config
}

/// What may change without compiling again.
fn runtime(config: &mut Config, settings: &EngineConfig, slots: u32) {
    let host_frames = 1 << 20;
    config
        .async_stack_size(settings.stack.as_usize().saturating_add(host_frames))
        // A page of stack that one guest wrote is never handed to another, and a deep recursion
        // does not stay resident: the deeper pages go back to the system.
        .async_stack_zeroing(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool::config(settings, slots)));
}

/// wasmtime's own hash of version, target and code generation, and the settings that it leaves out.
fn fingerprint(engine: &Engine, stack: ByteSize) -> String {
    struct Collect(Sha256);
    impl Hasher for Collect {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut collect = Collect(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut collect);
    let ours = format!(
        "generation {GENERATION}, stack {stack}, NaN {CANONICAL_NAN}, features {FEATURES:?}"
    );
    collect.write(ours.as_bytes());
    let digest = collect.0.finalize();
    hex::encode(digest.get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_depends_on_what_compiled_code_depends_on() {
        let small = EngineConfig { slots: 16, ..EngineConfig::for_machine() };
        let of = |settings: &EngineConfig| build(settings).unwrap().fingerprint;
        assert_eq!(of(&small), of(&small));
        assert_eq!(of(&small), of(&EngineConfig { slots: 17, ..small.clone() }));
        let deep = EngineConfig { stack: ByteSize::mib(2), ..small.clone() };
        assert_ne!(of(&small), of(&deep));
        assert_eq!(of(&small).len(), 32);
        for settings in [small, deep] {
            assert_eq!(build_compiler(settings.stack).unwrap().1, of(&settings));
        }
    }
}
