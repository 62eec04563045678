//! The engine's settings, and their sizes on this machine.

use std::{collections::BTreeMap, path::PathBuf};

use roadstead_domain::{ByteSize, DirectoryMode};

/// A directory that the operator offers to modules under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedDirectory {
    pub path: PathBuf,
    /// The most that a module may ask for.
    pub mode: DirectoryMode,
}

/// Sizes of the engine. Every one is a bound; what it costs stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Threads that run guests.
    pub guest_threads: usize,
    /// Instances that may live at once, idle pooled ones included.
    pub slots: u32,
    /// The most that one linear memory can have: a module that asks for more never fits.
    pub slot_memory: ByteSize,
    /// Stack of a guest.
    pub stack: ByteSize,
    /// Memories and tables of all instances together.
    pub memory_budget: ByteSize,
    /// Compiled code that stays mapped.
    pub code_budget: ByteSize,
    /// Captured output that is kept of all modules.
    pub log_budget: ByteSize,
    /// Directories that modules may name.
    pub directories: BTreeMap<String, OfferedDirectory>,
}

impl EngineConfig {
    /// Sizes for this machine.
    pub fn for_machine() -> Self {
        Self {
            guest_threads: std::thread::available_parallelism().map_or(1, usize::from),
            slots: 1000,
            slot_memory: ByteSize::mib(4096),
            stack: ByteSize::mib(1),
            memory_budget: ByteSize::mib(4096),
            code_budget: ByteSize::mib(512),
            log_budget: ByteSize::mib(64),
            directories: BTreeMap::new(),
        }
    }
}
