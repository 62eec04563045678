//! What is wanted of a version, and how many servers that makes.

use std::sync::Arc;

use roadstead_domain::NativeSpec;

use crate::Moment;

/// A version that is to run.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub spec: Arc<NativeSpec>,
    pub demand: Demand,
}

/// How much a version is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Calls that run, or wait for a server.
    pub calls: u64,
    /// When the last one ended, or the version was to run from.
    pub last: Moment,
}

/// How many servers there should be, and until when that holds if nobody calls.
pub fn target(spec: &NativeSpec, demand: Demand, now: Moment) -> (u32, Option<Moment>) {
    let replicas = if spec.stateful { 1 } else { spec.replicas };
    let Some(idle) = spec.idle else { return (replicas, None) };
    if demand.calls > 0 {
        return (replicas, None);
    }
    let until = demand.last.after(idle.duration());
    if now < until { (replicas, Some(until)) } else { (0, None) }
}
