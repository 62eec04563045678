//! What names a call in logs, and how its end is told there.
//!
//! A call belongs to the trace that its caller names (W3C `traceparent`), else to one of its own.
//! The trace is in the `ErrorInfo` of every failure, so that whoever meets one can quote it.
//!
//! A caller must not be able to fill the log: its own mistakes and a host that is busy are told at
//! `debug`, and what goes wrong within a module at `info`, so many times a second. Nothing is
//! written, and no text is made, for calls that succeed unless `debug` is on.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::HeaderMap;
use roadstead_domain::{CallId, Fault, LimitKind};
use roadstead_engine::Usage;
use roadstead_registry::LiveVersion;
use roadstead_transcode::MethodPlan;
use tokio::time::Instant;
use tracing::{Level, Span};

use crate::traces::Recording;

/// Failures of modules that are told in a second.
const TOLD: u64 = 20;

/// A trace, as W3C Trace Context has it: never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId(u128);

/// The caller's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parent {
    pub trace: u128,
    /// Of its span: never zero.
    pub span: u64,
    /// Whether the caller records it.
    pub sampled: bool,
}

/// What names one call.
#[derive(Clone)]
pub(crate) struct Named {
    pub id: CallId,
    pub trace: TraceId,
    /// Where the caller is: `loopback`, `private` or `public`.
    pub peer: &'static str,
    pub parent: Option<Parent>,
    /// What becomes spans, where the call is traced.
    pub recording: Option<Arc<Recording>>,
    /// Whether this host decided that, or only passes on what its caller decided.
    pub decides: bool,
    /// Whether it says something about how its version does in a rollout: a call that names the
    /// version goes there whatever a split says.
    pub counted: bool,
}

impl Parent {
    /// The one that the headers name; None if they name none, or not as they should.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        parse(headers.get("traceparent")?.as_bytes())
    }
}

impl TraceId {
    /// The trace of a call with a parent, or one of its own; `host` tells hosts apart.
    pub(crate) fn new(parent: Option<&Parent>, host: u64, call: CallId) -> Self {
        let own = || u128::from(host | 1) << 64 | u128::from(call.0);
        Self(parent.map_or_else(own, |parent| parent.trace))
    }

    pub(crate) fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// `version-trace-parent-flags`, each in lower-case hexadecimal; later versions may say more.
fn parse(text: &[u8]) -> Option<Parent> {
    let (head, rest) = text.split_at_checked(55)?;
    let hex = |range: std::ops::Range<usize>| {
        let part = head.get(range)?;
        let lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let text = std::str::from_utf8(part).ok().filter(|_| part.iter().all(lower))?;
        u128::from_str_radix(text, 16).ok()
    };
    let dashes = [2, 35, 52].into_iter().all(|at| head.get(at) == Some(&b'-'));
    let (version, trace, span) = (hex(0..2)?, hex(3..35)?, hex(36..52)?);
    let sampled = hex(53..55)? & 1 == 1;
    let more = rest.is_empty() || (version > 0 && rest.starts_with(b"-"));
    let good = dashes && more && version != 0xff && trace != 0 && span != 0;
    good.then_some(Parent { trace, span: u64::try_from(span).ok()?, sampled })
}

impl Named {
    /// The `traceparent` of the call on its way to another host, whose span `hop` is.
    pub(crate) fn onward(&self, hop: Option<u64>) -> String {
        let caller = self.parent.as_ref();
        let from = hop.or(caller.map(|parent| parent.span)).unwrap_or(self.id.0).max(1);
        let sampled = match self.decides {
            true => hop.is_some(),
            false => caller.is_some_and(|parent| parent.sampled),
        };
        format!("00-{}-{from:016x}-{:02x}", self.trace, u8::from(sampled))
    }

    /// The `traceparent` of what the call does here, where it belongs to a trace that somebody
    /// else knows of.
    pub(crate) fn traceparent(&self) -> Option<Arc<str>> {
        let own = self.recording.as_ref().map(|recording| recording.id());
        (own.is_some() || self.parent.is_some()).then(|| self.onward(own).into())
    }

    /// The span of the call in the log.
    pub(crate) fn span(&self, live: &LiveVersion, method: &str) -> Span {
        let Self { id, trace, peer, .. } = self;
        tracing::debug_span!("call", call = %id, %trace, peer, module = %live.label(), method)
    }

    /// Counts the call and tells how it ended.
    pub(crate) fn ended(
        &self,
        (live, plan): (&LiveVersion, &MethodPlan),
        began: Instant,
        (fault, usage): (Option<&Fault>, &Usage),
    ) {
        if self.counted {
            live.count(fault);
        }
        if let Some(recording) = &self.recording {
            recording.ended((live, plan), began.into_std(), (fault, usage));
        }
        let method = &plan.method;
        let level = fault.map_or(Level::DEBUG, level);
        if level == Level::DEBUG && !tracing::enabled!(Level::DEBUG) {
            return;
        }
        let left_out = match level {
            Level::INFO => match LIMIT.at(seconds()) {
                Some(left_out) => left_out,
                None => return,
            },
            _ => 0,
        };
        let reason = fault.map_or("OK", |fault| fault.reason().unwrap_or("CANCELLED"));
        let Self { id, trace, peer, .. } = self;
        let Usage { fuel, peak_memory, .. } = usage;
        let duration = began.elapsed();
        macro_rules! tell {
            ($tell:ident) => {
                tracing::$tell!(
                    call = %id, %trace, peer, module = %live.label(), method, reason, fuel,
                    peak_memory, ?duration, left_out, "call ended"
                )
            };
        }
        match level {
            Level::WARN => tell!(warn),
            Level::INFO => tell!(info),
            _ => tell!(debug),
        }
    }
}

/// How loud a fault is: by whose it is.
fn level(fault: &Fault) -> Level {
    match fault {
        Fault::Host { .. } => Level::WARN,
        Fault::GuestTrap { .. } => Level::INFO,
        Fault::Limit(reached) if reached.limit != LimitKind::Input => Level::INFO,
        _ => Level::DEBUG,
    }
}

static LIMIT: Limit =
    Limit { second: AtomicU64::new(0), told: AtomicU64::new(0), left_out: AtomicU64::new(0) };

/// So many lines a second, for the process: so is the log.
struct Limit {
    second: AtomicU64,
    told: AtomicU64,
    left_out: AtomicU64,
}

impl Limit {
    /// How many were left out before this one, which may be told; None if it is left out, too.
    fn at(&self, second: u64) -> Option<u64> {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.told.store(0, Ordering::Relaxed);
        }
        if self.told.fetch_add(1, Ordering::Relaxed) < TOLD {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Seconds since some moment.
fn seconds() -> u64 {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_secs() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", text.parse().ok()?);
        Parent::of(&headers).map(|parent| TraceId(parent.trace).to_string())
    }

    #[test]
    fn traces_are_taken_as_the_standard_writes_them() {
        let trace = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
        assert_eq!(of(GOOD), trace);
        assert_eq!(of(&GOOD.replace("00-4b", "01-4b")), trace);
        assert_eq!(of(&format!("{}-more", GOOD.replace("00-4b", "cc-4b"))), trace);
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD.replace("00-4b", "ff-4b"),
            &GOOD.replace('-', "_"),
            &format!("{GOOD}-more"),
            &format!("{}more", GOOD.replace("00-4b", "01-4b")),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473+-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        let own = TraceId::new(None, 0, CallId(7)).to_string();
        assert_eq!((of(&own), own.len()), (None, 32));
    }

    #[test]
    fn the_caller_says_its_span_and_whether_it_is_recorded() {
        let parent = |text: &str| parse(text.as_bytes()).map(|found| (found.span, found.sampled));
        assert_eq!(parent(GOOD), Some((0x00f0_67aa_0ba9_02b7, true)));
        assert_eq!(parent(&GOOD.replace("b7-01", "b7-02")), Some((0x00f0_67aa_0ba9_02b7, false)));
    }

    #[test]
    fn what_goes_on_to_another_host_belongs_to_the_callers_trace() {
        let parent = parse(GOOD.as_bytes());
        let trace = TraceId::new(parent.as_ref(), 1, CallId(7));
        let named = |decides| {
            let id = CallId(7);
            Named { id, trace, peer: "public", parent, recording: None, decides, counted: true }
        };
        assert_eq!(named(false).onward(None), GOOD);
        // Too many were traced already.
        assert_eq!(named(true).onward(None), GOOD.replace("b7-01", "b7-00"));
        assert_eq!(
            named(true).onward(Some(9)),
            GOOD.replace("00f067aa0ba902b7", "0000000000000009")
        );
        let alone = Named { parent: None, ..named(false) };
        assert!(alone.onward(None).ends_with("-0000000000000007-00"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            parse(&bytes);
        }
    }

    #[test]
    fn a_second_has_so_many_lines_and_the_rest_are_counted() {
        let limit = Limit { second: 0.into(), told: 0.into(), left_out: 0.into() };
        let told = (0..1000).filter_map(|_| limit.at(1)).count();
        assert_eq!(told as u64, TOLD);
        assert_eq!(limit.at(2), Some(1000 - TOLD));
        assert_eq!(limit.at(2), Some(0));
    }
}
