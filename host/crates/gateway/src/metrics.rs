//! What the host tells machines about itself, as OpenMetrics text, which Prometheus reads.
//!
//! Labels are names and versions of published modules, and words of this code. Nothing that a
//! caller sends becomes a label, so callers cannot make series.

mod listener;

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry as Metrics,
};
use roadstead_domain::Quota;
use roadstead_engine::{BreakerState, CpuUsage, NativeStanding, NativeState, Stats};
use roadstead_registry::{LiveModule, Registry};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{Counted, Counters, peers::Peers, traces::Traces};

pub use listener::{MetricsBindError, MetricsListener};

/// Looks at a gateway and all that is behind it, for as long as it is asked.
#[derive(Clone)]
pub struct Monitor {
    pub(crate) registry: Arc<Registry>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) most_uploads: usize,
    pub(crate) unready: CancellationToken,
    pub(crate) traces: Option<Arc<Traces>>,
}

impl Monitor {
    /// Whether new calls are answered.
    pub fn ready(&self) -> bool {
        !self.unready.is_cancelled()
    }

    /// Until the host takes no new work, because it is about to end.
    pub async fn unready(&self) {
        self.unready.cancelled().await;
    }

    /// What the gateway counts.
    pub fn counted(&self) -> Counted {
        self.counters.read()
    }

    /// All metrics, as OpenMetrics text.
    ///
    /// # Errors
    /// None that is known: writing to memory does not fail.
    pub fn metrics(&self) -> Result<String, fmt::Error> {
        let mut metrics = Metrics::with_prefix("roadstead");
        metrics.register_collector(Box::new(self.clone()));
        let mut written = String::new();
        text::encode(&mut written, &metrics)?;
        Ok(written)
    }

    /// Versions that were ever called since the start, and those that answer for their module.
    fn versions(&self) -> Vec<Seen> {
        let routes = self.registry.routes();
        let mut all = Vec::new();
        for (namespace, module) in routes.all() {
            let current = module.current().map(|live| live.id().clone());
            for (version, live) in &module.versions {
                let Ok(loaded) = live.module() else { continue };
                let stats = loaded.stats();
                let idle = stats.calls == 0 && stats.running == 0 && stats.queued == 0;
                if idle && current.as_ref() != Some(live.id()) {
                    continue;
                }
                let labels = [
                    ("namespace", namespace.to_string()),
                    ("module", module.name.to_string()),
                    ("version", version.to_string()),
                ];
                let spec = &live.record().spec;
                let native = spec.native.as_ref().and_then(|_| self.registry.native(live.id()));
                all.push(Seen { labels, stats, native });
            }
        }
        all
    }

    /// What the versions that answer for their modules ask for.
    fn granted(&self) -> Vec<([(&'static str, String); 2], Quota)> {
        let routes = self.registry.routes();
        let labelled = routes.all().filter_map(|(namespace, module)| {
            let labels =
                [("namespace", namespace.to_string()), ("module", module.name.to_string())];
            Some((labels, module.current()?.record().spec.quota.clone()))
        });
        labelled.collect()
    }

    /// Modules that have a version which runs on guests' threads here.
    fn cpu(&self) -> Vec<([(&'static str, String); 2], CpuUsage)> {
        let routes = self.registry.routes();
        let used = |module: &LiveModule| {
            // Any version knows what all of them used.
            let mut components = module.versions.values();
            let loaded = components.find_map(|live| {
                live.record().spec.native.is_none().then(|| live.module().ok()).flatten()
            });
            loaded.map(|loaded| loaded.cpu())
        };
        let labelled = routes.all().filter_map(|(namespace, module)| {
            let labels =
                [("namespace", namespace.to_string()), ("module", module.name.to_string())];
            Some((labels, used(module)?))
        });
        labelled.collect()
    }
}

type Labels = [(&'static str, String); 3];

/// A version, and how its servers stand where it is native.
struct Seen {
    labels: Labels,
    stats: Stats,
    native: Option<NativeStanding>,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Monitor")
    }
}

impl Collector for Monitor {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        self.modules(&mut writer)?;
        self.gateway(&mut writer)?;
        self.spans(&mut writer)?;
        self.host(&mut writer)
    }
}

/// What instances of components take.
fn instances(versions: &[Seen], to: &mut Writer<'_>) -> fmt::Result {
    let inside = |value: fn(&Stats) -> u64| {
        let components = versions.iter().filter(|seen| seen.native.is_none());
        components.map(move |seen| (seen.labels.clone(), value(&seen.stats)))
    };
    to.counters("module_fuel", "Fuel that its calls used.", inside(|stats| stats.fuel))?;
    to.gauges(
        "module_peak_memory_bytes",
        "The most memory that one of its instances had.",
        inside(|stats| stats.peak_memory),
    )?;
    to.gauges(
        "module_idle_instances",
        "Pooled instances that wait for a call.",
        inside(|stats| stats.idle_instances),
    )?;
    to.gauges(
        "module_spare_instances",
        "Fresh instances made ahead of the calls that will use them.",
        inside(|stats| stats.spare_instances),
    )?;
    to.gauges(
        "module_sessions",
        "Instances that live on because callers hold handles of their resources.",
        inside(|stats| stats.sessions),
    )
}

/// How the servers of native modules stand.
fn servers(versions: &[Seen], to: &mut Writer<'_>) -> fmt::Result {
    let outside = |value: fn(&NativeStanding) -> u64| {
        let native = move |seen: &Seen| Some((seen.labels.clone(), value(seen.native.as_ref()?)));
        versions.iter().filter_map(native)
    };
    to.gauges(
        "module_native_ready",
        "1 while servers of a native version are ready, else 0.",
        outside(|native| u64::from(native.state == NativeState::Ready)),
    )?;
    to.gauges(
        "module_native_attempt",
        "The newest attempt of a native version's servers.",
        outside(|native| native.attempts.iter().map(|one| one.epoch).max().unwrap_or(0)),
    )
}

impl Monitor {
    fn modules(&self, to: &mut Writer<'_>) -> fmt::Result {
        let versions = self.versions();
        let each = |value: fn(&Stats) -> u64| {
            versions.iter().map(move |seen| (seen.labels.clone(), value(&seen.stats)))
        };
        to.counters(
            "module_calls",
            "Calls that were answered or given up, whatever the answer.",
            each(|stats| stats.calls),
        )?;
        let faults = versions.iter().flat_map(|Seen { labels, stats, .. }| {
            let [namespace, module, version] = labels;
            stats.faults.iter().map(move |(reason, count)| {
                let reason = ("reason", (*reason).to_owned());
                ([namespace.clone(), module.clone(), version.clone(), reason], *count)
            })
        });
        to.counters("module_faults", "Calls that ended in a fault, by its reason.", faults)?;
        to.gauges("module_running", "Calls that run now.", each(|stats| stats.running))?;
        to.gauges("module_queued", "Calls that wait for their turn.", each(|stats| stats.queued))?;
        let cpu = self.cpu();
        to.counters(
            "module_cpu_seconds",
            "Processor time of the module's guests, all versions together.",
            cpu.iter().map(|(labels, cpu)| (labels.clone(), cpu.total.as_secs_f64())),
        )?;
        to.counters(
            "module_cpu_throttled_seconds",
            "How long calls stood still because the module had used up its ceiling.",
            cpu.iter().map(|(labels, cpu)| (labels.clone(), cpu.throttled.as_secs_f64())),
        )?;
        let granted = self.granted();
        to.gauges(
            "module_cpu_guaranteed_millicores",
            "Processor time that the module is sure to get.",
            granted
                .iter()
                .map(|(labels, quota)| (labels.clone(), quota.cpu.map_or(0, |cpu| cpu.0))),
        )?;
        to.gauges(
            "module_breaker_open",
            "1 while calls are refused because the version trapped again and again, else 0.",
            each(|stats| u64::from(stats.breaker != BreakerState::Closed)),
        )?;
        instances(&versions, to)?;
        servers(&versions, to)?;
        to.gauges("module_streams", "Streaming calls that are open.", each(|stats| stats.streams))?;
        let passed = versions.iter().flat_map(|Seen { labels, stats, .. }| {
            let [namespace, module, version] = labels;
            [("in", stats.messages_in), ("out", stats.messages_out)].map(|(way, count)| {
                let way = ("direction", way.to_owned());
                ([namespace.clone(), module.clone(), version.clone(), way], count)
            })
        });
        to.counters(
            "module_stream_messages",
            "Items and chunks of streams that guests took from callers (in) and gave them (out).",
            passed,
        )
    }

    fn gateway(&self, to: &mut Writer<'_>) -> fmt::Result {
        let counted = self.counters.read();
        let reasons = |counts: Vec<(&'static str, u64)>| {
            counts.into_iter().map(|(why, count)| ([("reason", why)], count))
        };
        to.counter("connections", "Connections that were let in.", counted.connections)?;
        to.gauge("open_connections", "Connections that are open.", counted.open)?;
        to.counters(
            "connections_ended",
            "Connections that the host ended or turned away, by why.",
            reasons(counted.ended),
        )?;
        to.counter("requests", "Requests of every kind.", counted.requests)?;
        to.gauge("open_requests", "Requests not answered in full.", counted.open_requests)?;
        to.counters(
            "requests_refused",
            "Requests that were turned away before anything looked for what answers them, by why.",
            reasons(counted.refused),
        )?;
        to.counters(
            "calls_forwarded",
            "Calls that were forwarded to the hosts of their sessions, by how they ended.",
            counted.forwarded.into_iter().map(|(end, count)| ([("end", end)], count)),
        )?;
        let help = "Calls that other hosts of the pool forwarded.";
        to.counter("calls_arrived", help, counted.arrived)?;
        to.counter("calls", "Requests that reached a module.", counted.calls)?;
        to.counter("uploads", "Uploads that were begun.", counted.uploads)?;
        let busy = self.most_uploads.saturating_sub(self.uploads.available_permits());
        to.gauge("open_uploads", "Uploads that are on their way.", busy as u64)?;
        let compiling = self.registry.compile_counts();
        to.gauge("compile_workers", "Processes that check and compile.", compiling.running)?;
        let ended = [
            ("done", compiling.done),
            ("refused", compiling.refused),
            ("limit", compiling.limits),
            ("failed", compiling.failed),
        ];
        to.counters(
            "compile_tasks",
            "Checks and compilations that ended, by how.",
            ended.into_iter().map(|(end, count)| ([("end", end)], count)),
        )?;
        let help = "Bytes of requests and responses that are held.";
        to.gauge("message_bytes", help, self.peers.held())?;
        let help = "Bytes of requests and responses that may be held.";
        to.gauge("message_limit_bytes", help, self.peers.may_hold())?;
        let panics = counted.panics.saturating_add(roadstead_engine::panics_caught());
        to.counter("panics", "Panics of the host that were caught, each a bug.", panics)
    }

    fn spans(&self, to: &mut Writer<'_>) -> fmt::Result {
        let Some(counted) = self.traces.as_ref().map(|traces| traces.counted()) else {
            return Ok(());
        };
        to.counter("spans_sent", "Spans of calls that the collector took.", counted.sent)?;
        let dropped = [("no_room", counted.no_room), ("refused", counted.refused)];
        to.counters(
            "spans_dropped",
            "Spans that waited for no room, or that the collector did not take.",
            dropped.into_iter().map(|(why, count)| ([("reason", why)], count)),
        )?;
        let help = "Calls that were not traced because as many were in their second as may be.";
        to.counter("calls_not_traced", help, counted.too_many)
    }

    fn host(&self, to: &mut Writer<'_>) -> fmt::Result {
        let engine = self.registry.engine();
        let config = engine.config();
        let help = "Memory of all instances, what is reserved for them included.";
        to.gauge("instance_memory_bytes", help, engine.memory_taken())?;
        let help = "Memory that all instances may have.";
        to.gauge("instance_memory_limit_bytes", help, config.memory_budget.0)?;
        let help = "Room that is reserved for the values of calls.";
        to.gauge("value_bytes", help, engine.values_taken())?;
        let help = "Room that there is for the values of calls.";
        to.gauge("value_limit_bytes", help, config.value_budget.0)?;
        to.gauge("instance_slots", "Slots of instances taken.", engine.slots_taken().into())?;
        to.gauge("instance_slots_limit", "Slots of instances.", config.slots.into())?;
        to.gauge("ready", "1 if new calls are answered, else 0.", self.ready().into())
    }
}

/// Writes one metric after the other.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn counters<L: EncodeLabelSet, V>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result
    where
        ConstCounter<V>: EncodeMetric,
    {
        let mut family = self.begin(name, help, MetricType::Counter)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.begin(name, help, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.begin(name, help, MetricType::Counter)?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstGauge::new(value).encode(self.begin(name, help, MetricType::Gauge)?)
    }

    fn begin<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}
