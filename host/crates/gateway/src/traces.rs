//! Spans of calls, handed to a collector by OTLP.
//!
//! Which calls are traced is decided where they come in: as their caller says, else by chance, and
//! no more of them in a second than is set. Spans are made where a call ends, of what was measured
//! on its way; a call that is not traced costs the look at one setting. Spans hold names of what is
//! published, figures and words of this code: no messages, no metadata, no identities.

mod export;
mod sample;
mod span;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use opentelemetry_sdk::trace::SpanData;
use roadstead_domain::{CallId, HostName};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::trace::{Parent, TraceId};
pub use export::TracesError;
use sample::Sampler;
pub(crate) use span::{HopSpan, Recording};

/// Spans that wait for the collector at most; those that come then are dropped.
const WAITING: usize = 4096;

/// Where spans go, and of how many calls.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// The collector: `http` or `https`, with host and port.
    pub endpoint: String,
    /// Who vouches for the collector, as PEM; the system's authorities unless set.
    pub authority: Option<Vec<u8>>,
    /// The part of calls without a parent that are traced, of 0 to 1.
    pub sample: f64,
    /// Calls that are traced in a second at most, whoever wants them traced.
    pub max_per_second: u64,
    pub host: HostName,
    pub pool: String,
}

/// What came of spans so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    /// Spans that the collector took.
    pub sent: u64,
    /// Spans that found no room, as the collector was slow or away.
    pub no_room: u64,
    /// Spans that the collector did not take.
    pub refused: u64,
    /// Calls that were to be traced, and were too many in their second.
    pub too_many: u64,
}

/// The spans of one host on their way.
pub(crate) struct Traces {
    sampler: Sampler,
    queue: mpsc::Sender<SpanData>,
    counts: Arc<Counts>,
    closing: CancellationToken,
    exporting: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    no_room: AtomicU64,
    refused: AtomicU64,
}

impl Traces {
    /// Begins to export. The collector need not be there.
    ///
    /// # Errors
    /// [`TracesError`] if it cannot be connected to by what is set.
    pub(crate) fn start(config: &TracesConfig) -> Result<Arc<Self>, TracesError> {
        let exporter = export::exporter(config)?;
        let (queue, spans) = mpsc::channel(WAITING);
        let (counts, closing) = (Arc::<Counts>::default(), CancellationToken::new());
        let exporting = export::run(exporter, spans, Arc::clone(&counts), closing.clone());
        Ok(Arc::new(Self {
            sampler: Sampler::new(config.sample, config.max_per_second),
            queue,
            counts,
            closing,
            exporting: parking_lot::Mutex::new(Some(tokio::spawn(exporting))),
        }))
    }

    /// What records a call, if it is to be traced.
    pub(crate) fn record(
        self: &Arc<Self>,
        trace: TraceId,
        parent: Option<&Parent>,
        call: CallId,
    ) -> Option<Arc<Recording>> {
        self.sampler.takes(parent, call).then(|| Recording::new(self, trace, parent))
    }

    /// Hands a span over, or drops it: nobody waits for a collector.
    fn submit(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.counts.no_room.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn counted(&self) -> Exported {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Exported {
            sent: load(&self.counts.sent),
            no_room: load(&self.counts.no_room),
            refused: load(&self.counts.refused),
            too_many: self.sampler.too_many(),
        }
    }

    /// Exports what waits, as long as the collector takes it in time, and ends.
    pub(crate) async fn finish(&self) {
        self.closing.cancel();
        let exporting = self.exporting.lock().take();
        if let Some(exporting) = exporting
            && let Err(error) = exporting.await
        {
            tracing::error!(%error, "export spans");
        }
    }
}
