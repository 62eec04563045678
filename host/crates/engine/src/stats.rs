//! Counters of one module, for `top` and metrics.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use roadstead_domain::Fault;

use crate::{BreakerState, Outcome, module::Common};

/// What a module has done and does, at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Calls that were answered or given up, whatever the answer.
    pub calls: u64,
    pub running: u64,
    pub queued: u64,
    /// Answers that were faults, by `reason` of the contract (`CANCELLED` for cancelled ones).
    pub faults: BTreeMap<&'static str, u64>,
    pub fuel: u64,
    /// Thread time spent on the module's guests, all versions together.
    pub cpu: Duration,
    /// The most that one instance had.
    pub peak_memory: u64,
    /// Memory of the module's instances now, all versions together, reservations included.
    pub memory: u64,
    /// The most that they may have together.
    pub memory_limit: u64,
    /// Pooled instances that wait for a call.
    pub idle_instances: u64,
    /// Instances made ahead of the calls that will use them.
    pub spare_instances: u64,
    /// Instances that live on because callers hold handles of their resources.
    pub sessions: u64,
    /// Streaming calls that are open.
    pub streams: u64,
    /// Items and chunks that guests took from callers' streams.
    pub messages_in: u64,
    /// Those that guests gave to callers.
    pub messages_out: u64,
    /// Whether the compiled code is mapped now.
    pub loaded: bool,
    /// Whether the version is cut off for its traps.
    pub breaker: BreakerState,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    running: AtomicU64,
    fuel: AtomicU64,
    peak_memory: AtomicU64,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    streams: AtomicU64,
    messages: [AtomicU64; 2],
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the caller to the guest.
    In,
    Out,
}

/// Counts a streaming call as open for as long as it lives.
pub(crate) struct OpenStream(Arc<Common>);

impl OpenStream {
    pub(crate) fn new(module: &Arc<Common>) -> Self {
        module.counters.streams.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(module))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.counters.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn started(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing of a started call is left.
    pub(crate) fn stopped(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, outcome: &Outcome) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.fuel.fetch_add(outcome.usage.fuel, Ordering::Relaxed);
        self.peak_memory.fetch_max(outcome.usage.peak_memory, Ordering::Relaxed);
        if let Err(fault) = &outcome.result {
            self.fault(fault);
        }
    }

    /// Messages of a streaming call went by.
    pub(crate) fn streamed(&self, way: Way, messages: usize) {
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        let [taken, given] = &self.messages;
        let counter = if way == Way::In { taken } else { given };
        counter.fetch_add(messages, Ordering::Relaxed);
    }

    /// A call that was answered before it began.
    pub(crate) fn refused(&self, fault: &Fault) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.fault(fault);
    }

    fn fault(&self, fault: &Fault) {
        *self.faults.lock().entry(fault.reason().unwrap_or("CANCELLED")).or_default() += 1;
    }

    pub(crate) fn read(&self) -> Stats {
        let [messages_in, messages_out] =
            self.messages.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        Stats {
            calls: self.calls.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
            faults: self.faults.lock().clone(),
            fuel: self.fuel.load(Ordering::Relaxed),
            peak_memory: self.peak_memory.load(Ordering::Relaxed),
            streams: self.streams.load(Ordering::Relaxed),
            messages_in,
            messages_out,
            ..Stats::default()
        }
    }
}
