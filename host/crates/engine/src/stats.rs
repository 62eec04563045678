//! Counters of one module, for `top` and metrics.

use std::{collections::BTreeMap, time::Duration};

/// What a module has done and does, at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Calls that were answered, whatever the answer.
    pub calls: u64,
    pub running: u64,
    pub queued: u64,
    /// Answers that were faults, by `reason` of the contract (`CANCELLED` for cancelled ones).
    pub faults: BTreeMap<&'static str, u64>,
    pub fuel: u64,
    /// Thread time spent on the module's guests.
    pub cpu: Duration,
    /// The most that one instance had.
    pub peak_memory: u64,
    /// Pooled instances that wait for a call.
    pub idle_instances: u64,
    /// Whether the compiled code is mapped now.
    pub loaded: bool,
}
