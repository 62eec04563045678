//! What the controller tells machines about itself, as OpenMetrics text. No label is a name of an
//! object or of a host, so nobody can make series.

use std::{fmt, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostState {
    state: &'static str,
}

/// Counters and gauges of one controller.
pub struct Metrics {
    registry: Mutex<Registry>,
    writes: Family<Label, Counter>,
    failures: Family<Label, Counter>,
    conflicts: Counter,
    leader: Gauge,
    current: Gauge,
    hosts: Family<HostState, Gauge>,
    streams: Gauge,
    objects: Family<Label, Gauge>,
    waits: Gauge,
    planned: Counter,
    plan_seconds: Histogram,
    apply_seconds: Histogram,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];
        let all = Self {
            registry: Mutex::new(Registry::with_prefix("roadstead_controller")),
            writes: Family::default(),
            failures: Family::default(),
            conflicts: Counter::default(),
            leader: Gauge::default(),
            current: Gauge::default(),
            hosts: Family::default(),
            streams: Gauge::default(),
            objects: Family::default(),
            waits: Gauge::default(),
            planned: Counter::default(),
            plan_seconds: Histogram::new(buckets),
            apply_seconds: Histogram::new(buckets),
        };
        all.register();
        all
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock();
        registry.register("writes", "Requests that changed the cluster.", self.writes.clone());
        let help = "Requests that came to nothing.";
        registry.register("failures", help, self.failures.clone());
        let help = "Writes that another was ahead of.";
        registry.register("conflicts", help, self.conflicts.clone());
        let help = "1 while this replica leads, else 0.";
        registry.register("leader", help, self.leader.clone());
        let help = "1 while all watches tell what changes, else 0.";
        registry.register("current", help, self.current.clone());
        registry.register("hosts", "Hosts that were heard.", self.hosts.clone());
        registry.register("streams", "Streams of hosts that are open.", self.streams.clone());
        registry.register("objects", "Objects that are looked after.", self.objects.clone());
        registry.register("waits", "Things that plans wait for.", self.waits.clone());
        registry.register("plans", "Modules that were planned anew.", self.planned.clone());
        let help = "How long planning one module took.";
        registry.register("plan_seconds", help, self.plan_seconds.clone());
        let help = "How long writing what one module needs took.";
        registry.register("apply_seconds", help, self.apply_seconds.clone());
    }

    /// All of it, as OpenMetrics text.
    ///
    /// # Errors
    /// None that is known: writing to memory does not fail.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut written = String::new();
        text::encode(&mut written, &self.registry.lock())?;
        Ok(written)
    }

    /// Writes of a kind so far.
    pub fn writes(&self, kind: &'static str) -> u64 {
        self.writes.get_or_create(&Label { kind }).get()
    }

    pub(crate) fn written(&self, kind: &'static str) {
        self.writes.get_or_create(&Label { kind }).inc();
    }

    pub(crate) fn failed(&self, kind: &'static str) {
        self.failures.get_or_create(&Label { kind }).inc();
    }

    pub(crate) fn conflict(&self) {
        self.conflicts.inc();
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    pub(crate) fn is_current(&self, current: bool) {
        self.current.set(current.into());
    }

    pub(crate) fn hosts(&self, live: usize, silent: usize) {
        for (state, count) in [("live", live), ("silent", silent)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.hosts.get_or_create(&HostState { state }).set(count);
        }
    }

    pub(crate) fn streams(&self, open: usize) {
        self.streams.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub(crate) fn sizes(&self, modules: usize, versions: usize, waits: usize) {
        for (kind, count) in [("module", modules), ("version", versions)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.objects.get_or_create(&Label { kind }).set(count);
        }
        self.waits.set(i64::try_from(waits).unwrap_or(i64::MAX));
    }

    pub(crate) fn planned(&self, took: Duration) {
        self.planned.inc();
        self.plan_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn applied(&self, took: Duration) {
        self.apply_seconds.observe(took.as_secs_f64());
    }
}
