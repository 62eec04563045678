//! One traced call, and the spans that are made of it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use http::HeaderMap;
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{
        SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId as OtelTraceId, TraceState,
    },
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use roadstead_domain::{Fault, HostName, InstanceOrigin};
use roadstead_engine::Usage;
use roadstead_registry::LiveVersion;
use roadstead_transcode::MethodPlan;
use tonic::Code;

use super::Traces;
use crate::{
    app::random,
    status::from_fault,
    trace::{Parent, TraceId},
};

/// A call that is traced. Its span ends with it: if nothing else was said, as one whose caller left.
pub(crate) struct Recording {
    traces: Arc<Traces>,
    trace: TraceId,
    span: u64,
    parent: Option<u64>,
    began: (SystemTime, Instant),
    about: OnceLock<About>,
    over: AtomicBool,
}

/// What is called.
#[derive(Clone)]
struct About {
    namespace: String,
    module: String,
    version: String,
    service: String,
    method: String,
}

/// Another host's part of a call; ends with the answer.
pub(crate) struct HopSpan {
    call: Arc<Recording>,
    pub(crate) id: u64,
    to: HostName,
    began: Instant,
    status: Option<i32>,
    answered: bool,
}

impl Recording {
    pub(super) fn new(traces: &Arc<Traces>, trace: TraceId, parent: Option<&Parent>) -> Arc<Self> {
        Arc::new(Self {
            traces: Arc::clone(traces),
            trace,
            span: random().max(1),
            parent: parent.map(|parent| parent.span),
            began: (SystemTime::now(), Instant::now()),
            about: OnceLock::new(),
            over: AtomicBool::new(false),
        })
    }

    /// The call's own span.
    pub(crate) fn id(&self) -> u64 {
        self.span
    }

    /// The call may be made, of that method.
    pub(crate) fn permitted(&self, live: &LiveVersion, plan: &MethodPlan) {
        self.about.set(About::of(live, plan)).ok();
    }

    /// The call was answered here; `asked` is when the module was asked.
    pub(crate) fn ended(
        &self,
        (live, plan): (&LiveVersion, &MethodPlan),
        asked: Instant,
        (fault, usage): (Option<&Fault>, &Usage),
    ) {
        let now = Instant::now();
        let code = fault.map_or(0, |fault| from_fault(fault, false).code() as i32);
        let about = About::of(live, plan);
        let waited = match usage.run {
            Some(run) => Some(run.began),
            None => {
                matches!(fault, Some(Fault::Deadline(_) | Fault::Overloaded { .. })).then_some(now)
            }
        };
        if let Some(until) = waited {
            self.submit(self.part("queue", (asked, until)));
        }
        if let Some(run) = usage.run {
            let mut span = self.part("run", (run.began, run.ended));
            span.attributes = vec![
                number("roadstead.fuel", usage.fuel),
                number("roadstead.cpu_us", u64::try_from(run.cpu.as_micros()).unwrap_or(u64::MAX)),
                number("roadstead.peak_memory_bytes", usage.peak_memory),
            ];
            let origin = usage.instance.map(InstanceOrigin::as_str);
            span.attributes
                .extend(origin.map(|origin| KeyValue::new("roadstead.instance", origin)));
            self.submit(span);
        }
        self.end(&about, code, fault.and_then(Fault::reason), now);
    }

    /// The call goes on to another host.
    pub(crate) fn hop(self: &Arc<Self>, to: &HostName) -> HopSpan {
        let (id, began) = (random().max(1), Instant::now());
        HopSpan { call: Arc::clone(self), id, to: to.clone(), began, status: None, answered: false }
    }

    /// The span of the request itself, once.
    fn end(&self, about: &About, code: i32, reason: Option<&'static str>, now: Instant) {
        if self.over.swap(true, Ordering::Relaxed) {
            return;
        }
        let About { namespace, module, version, service, method } = about.clone();
        let name = format!("{service}/{method}");
        let mut span = self.span(self.span, name, SpanKind::Server, (self.began.1, now));
        span.parent_span_id = self.parent.map_or(SpanId::INVALID, id);
        span.parent_span_is_remote = self.parent.is_some();
        span.attributes = vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service),
            KeyValue::new("rpc.method", method),
            KeyValue::new("rpc.grpc.status_code", i64::from(code)),
            KeyValue::new("roadstead.namespace", namespace),
            KeyValue::new("roadstead.module", module),
            KeyValue::new("roadstead.version", version),
        ];
        span.attributes.extend(reason.map(|reason| KeyValue::new("roadstead.reason", reason)));
        span.status = outcome(code);
        self.submit(span);
    }

    /// A span within the request's, on this host.
    fn part(&self, name: &'static str, during: (Instant, Instant)) -> SpanData {
        let mut span = self.span(random().max(1), name.to_owned(), SpanKind::Internal, during);
        span.parent_span_id = id(self.span);
        span
    }

    fn span(
        &self,
        span: u64,
        name: String,
        span_kind: SpanKind,
        (began, ended): (Instant, Instant),
    ) -> SpanData {
        let trace = OtelTraceId::from_bytes(self.trace.bytes());
        let (sampled, state) = (TraceFlags::SAMPLED, TraceState::default());
        SpanData {
            span_context: SpanContext::new(trace, id(span), sampled, false, state),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind,
            name: name.into(),
            start_time: self.at(began),
            end_time: self.at(ended.max(began)),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("roadstead").build(),
        }
    }

    fn at(&self, instant: Instant) -> SystemTime {
        self.began.0 + instant.saturating_duration_since(self.began.1)
    }

    fn submit(&self, span: SpanData) {
        self.traces.submit(span);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(about) = self.about.get().cloned() {
            self.end(&about, Code::Cancelled as i32, None, Instant::now());
        }
    }
}

impl HopSpan {
    /// Looks for the status, in the answer's headers or trailers.
    pub(crate) fn saw(&mut self, headers: &HeaderMap) {
        let said = headers.get("grpc-status").and_then(|value| value.to_str().ok());
        self.status = said.and_then(|said| said.parse().ok()).or(self.status);
    }

    /// The host answers, and with its answer the call ends.
    pub(crate) fn answered(mut self, headers: &HeaderMap) -> Self {
        self.answered = true;
        self.saw(headers);
        self
    }

    /// The host does not answer; how the call ends is told by this one.
    pub(crate) fn failed(mut self, fault: &Fault) {
        self.status = Some(from_fault(fault, false).code() as i32);
    }
}

impl Drop for HopSpan {
    fn drop(&mut self) {
        let (now, code) = (Instant::now(), self.status.unwrap_or(Code::Cancelled as i32));
        let during = (self.began, now);
        let mut span = self.call.span(self.id, "forward".to_owned(), SpanKind::Client, during);
        span.parent_span_id = id(self.call.span);
        span.attributes = vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.grpc.status_code", i64::from(code)),
            KeyValue::new("roadstead.to", self.to.to_string()),
        ];
        span.status = outcome(code);
        self.call.submit(span);
        if self.answered
            && let Some(about) = self.call.about.get()
        {
            self.call.end(about, code, None, now);
        }
    }
}

impl About {
    fn of(live: &LiveVersion, plan: &MethodPlan) -> Self {
        let about = live.id();
        Self {
            namespace: about.namespace.to_string(),
            module: about.name.to_string(),
            version: about.version.to_string(),
            service: plan.service.clone(),
            method: plan.method.clone(),
        }
    }
}

fn id(span: u64) -> SpanId {
    SpanId::from_bytes(span.to_be_bytes())
}

fn number(name: &'static str, value: u64) -> KeyValue {
    KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX))
}

fn outcome(code: i32) -> Status {
    if code == 0 { Status::Unset } else { Status::error(Code::from_i32(code).description()) }
}
