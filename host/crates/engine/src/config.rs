//! The engine's settings, and their sizes on this machine.

mod machine;
mod pool;
mod wasm;

use roadstead_domain::{ByteSize, Millicores, ModuleSpec, Span};

use crate::{
    BreakerConfig, EngineError, NamespaceShare, Offers, SessionKey, instance::besides,
    parts::part_of,
};

pub use machine::memory as machine_memory;
pub(crate) use pool::{STACKS_PER_SLOT, TABLES_PER_SLOT};
pub(crate) use wasm::{build, build_compiler};

use pool::TABLE_ELEMENTS;

/// Sizes of the engine. Every one is a bound; what it costs stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Threads that run guests. More than cores gain nothing: guests are never waited for.
    pub guest_threads: usize,
    /// Whether a module whose calls are short may start them on the caller's thread, which saves
    /// the hand-over. A module that abuses it takes a few milliseconds of that thread (at worst one
    /// bulk instruction or one conversion of values), once.
    pub start_at_caller: bool,
    /// Instances that may be made ahead of the calls of a module, at most.
    pub spares: usize,
    /// How much guests' threads step back for the others (0 to 19): the gateway's threads must get
    /// a core at once, however many guests spin.
    pub nice: i32,
    /// Instances that may live at once, idle pooled ones included; one with several memories
    /// counts for as many. Each slot reserves address space (4 GiB and guards, never touched
    /// memory) and, once used, keeps up to 256 KiB resident.
    pub slots: u32,
    /// The most that one linear memory can have: a module that asks for more never fits. Costs
    /// nothing until it is used; 4 GiB is what 32-bit wasm can address.
    pub slot_memory: ByteSize,
    /// Stack of a guest. Each live instance has one, touched as deep as it was used, and as much
    /// again for the host's own frames.
    pub stack: ByteSize,
    /// Memories and tables of all instances together, those of one module at most half of it;
    /// growth beyond is refused, and calls that need it are OVERLOADED.
    pub memory_budget: ByteSize,
    /// Values of all calls together, on their way between protobuf and guests; a call that needs
    /// what others have is OVERLOADED. Besides this, each call may have 1 MiB.
    pub value_budget: ByteSize,
    /// The longest deadline that a spec may ask for.
    pub max_deadline: Span,
    /// The longest `stream_deadline` that a spec may ask for.
    pub max_stream_deadline: Span,
    /// The most fuel that a spec may ask for.
    pub max_fuel: u64,
    /// Compiled code that stays mapped. What is beyond is dropped by least use and mapped again in
    /// milliseconds.
    pub code_budget: ByteSize,
    /// Captured output that is kept of all modules.
    pub log_budget: ByteSize,
    /// What modules may name in their specs.
    pub offers: Offers,
    /// The most that one namespace may have of all this.
    pub namespace: NamespaceShare,
    /// When a version that traps again and again is cut off for a while; none: never.
    pub breaker: Option<BreakerConfig>,
    /// What the ids of handles are sealed with. One that outlives the process makes a handle of a
    /// former life known as lost; with another it is a stranger's.
    pub session_key: SessionKey,
}

impl EngineConfig {
    /// Sizes for this machine, or for its control group where that is smaller.
    pub fn for_machine() -> Self {
        let memory = machine::memory();
        Self {
            guest_threads: std::thread::available_parallelism().map_or(1, usize::from),
            start_at_caller: true,
            spares: 16,
            nice: 5,
            slots: machine::slots(memory),
            slot_memory: ByteSize(4 << 30),
            stack: ByteSize::mib(1),
            memory_budget: ByteSize(memory.0 / 10 * 6),
            value_budget: ByteSize(memory.0 / 5),
            max_deadline: Span::secs(3600),
            max_stream_deadline: Span::secs(24 * 3600),
            max_fuel: 1_000_000_000_000_000,
            code_budget: ByteSize((memory.0 / 8).min(1 << 30)),
            log_budget: ByteSize((memory.0 / 64).min(64 << 20)),
            offers: Offers::default(),
            namespace: NamespaceShare::default(),
            breaker: Some(BreakerConfig::default()),
            session_key: SessionKey::random(),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), EngineError> {
        let refuse = |setting, problem: &str| {
            Err(EngineError::Setting { setting, problem: problem.to_owned() })
        };
        if self.guest_threads == 0 {
            return refuse("guest_threads", "must be more than 0");
        }
        if !(0..=19).contains(&self.nice) {
            return refuse("nice", "must be 0 to 19");
        }
        if self.slots < 2 {
            return refuse("slots", "must be 2 at least");
        }
        if self.slot_memory.0 < 64 << 10 || 4 << 30 < self.slot_memory.0 {
            return refuse("slot_memory", "must be 64Ki to 4Gi");
        }
        if self.stack.0 < 64 << 10 || 64 << 20 < self.stack.0 {
            return refuse("stack", "must be 64Ki to 64Mi");
        }
        if let Some(BreakerConfig { traps, window, pause }) = self.breaker {
            if traps == 0 {
                return refuse("breaker.traps", "must be more than 0");
            }
            if BreakerConfig::MOST < window.max(pause) {
                return refuse("breaker", "its window and its pause can be 1h at most");
            }
        }
        Ok(())
    }

    /// What can be promised of processors: the guest threads.
    pub(crate) fn cpu(&self) -> Millicores {
        Millicores(u64::try_from(self.guest_threads).unwrap_or(u64::MAX).saturating_mul(1000))
    }

    /// One instance at its limit, with what it takes besides, must fit into every part around it.
    fn memory_never_fits(&self, spec: &ModuleSpec) -> Option<String> {
        let besides = ByteSize(besides(self.stack, 1));
        let needed = spec.limits.memory.0.saturating_add(besides.0);
        let half = ByteSize(part_of(self.memory_budget.0));
        let parts = [
            ("quota.memory is", spec.quota.memory),
            ("its namespace's instances here together have", self.namespace.memory),
            ("one module's instances here together have", Some(half)),
        ];
        let (what, part) = parts
            .into_iter()
            .filter_map(|(what, part)| part.map(|part| (what, part)))
            .find(|(_, part)| part.0 < needed)?;
        let memory = spec.limits.memory;
        Some(format!(
            "limits.memory is {memory}, an instance takes {besides} besides, and {what} {part}"
        ))
    }

    /// Why calls of a spec last longer than any may here, in words for who pushes it.
    pub(crate) fn lasts_too_long(&self, spec: &ModuleSpec) -> Option<String> {
        let limits = &spec.limits;
        if self.max_deadline.duration() < limits.deadline.duration() {
            return Some(format!(
                "limits.deadline is {}, and no call here can last longer than {}",
                limits.deadline, self.max_deadline
            ));
        }
        if self.max_stream_deadline.duration() < limits.stream_deadline.duration() {
            return Some(format!(
                "limits.stream_deadline is {}, and no stream here can last longer than {}",
                limits.stream_deadline, self.max_stream_deadline
            ));
        }
        None
    }

    /// Why a spec can never fit these settings, in words for who pushes it.
    pub(crate) fn never_fits(&self, spec: &ModuleSpec) -> Option<String> {
        let limits = &spec.limits;
        if self.slot_memory < limits.memory {
            return Some(format!(
                "limits.memory is {}, and no memory here can have more than {}",
                limits.memory, self.slot_memory
            ));
        }
        if let Some(why) = self.memory_never_fits(spec).or_else(|| self.lasts_too_long(spec)) {
            return Some(why);
        }
        if self.max_fuel < limits.fuel_per_call {
            return Some(format!(
                "limits.fuel_per_call is {}, and no call here can have more than {}",
                limits.fuel_per_call, self.max_fuel
            ));
        }
        if let Some(cpu) = spec.quota.cpu.filter(|cpu| self.cpu() < *cpu) {
            return Some(format!("quota.cpu is {cpu}, and this host has {}", self.cpu()));
        }
        if TABLE_ELEMENTS < limits.tables {
            return Some(format!(
                "limits.tables is {}, and a table here can have {TABLE_ELEMENTS}",
                limits.tables
            ));
        }
        if pool::PARTS_OF_A_COMPONENT < limits.instances {
            return Some(format!(
                "limits.instances is {}, and a component here can have {}",
                limits.instances,
                pool::PARTS_OF_A_COMPONENT
            ));
        }
        None
    }
}
