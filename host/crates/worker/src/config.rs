//! What compile workers may cost.

use roadstead_domain::{ByteSize, Span};

/// Bounds of compile workers. Each is a promise that holds whatever is uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileConfig {
    /// Workers at the same time: pushes that are checked or compiled, and modules whose compiled
    /// code was lost. Further ones wait.
    pub workers: usize,
    /// Memory that one worker may have beside its program, its input included. One that checks,
    /// which the host does again, gets a quarter of this and of the time, and 256 MiB at least.
    pub memory: ByteSize,
    /// Processor time of one worker, all its threads together. On the clock it may be five times as
    /// long: calls go first on a busy machine.
    pub time: Span,
    /// Threads that one worker compiles with.
    pub threads: usize,
    /// The most that the compiled code of one module may be.
    pub code: ByteSize,
}

impl CompileConfig {
    /// Sizes for this machine, or for its control group where that is smaller.
    pub fn for_machine() -> Self {
        let memory = roadstead_engine::machine_memory();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: 2,
            memory: ByteSize((memory.0 / 8).clamp(512 << 20, 2 << 30)),
            time: Span::secs(120),
            threads: cores.min(8),
            code: ByteSize::mib(512),
        }
    }
}
