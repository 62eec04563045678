//! One version of a native module, as it was registered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use roadstead_domain::{ModuleId, ModuleSpec, NativeSpec};
use roadstead_engine::{Contract, NativeSecrets, ServerLog};
use roadstead_native_plan::{Demand, Moment};
use roadstead_transcode::MethodPlan;

/// What its servers must be, and how much it is called.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) id: ModuleId,
    pub(crate) spec: Arc<ModuleSpec>,
    pub(crate) native: Arc<NativeSpec>,
    pub(crate) contract: Arc<Contract>,
    pub(crate) secrets: NativeSecrets,
    pub(crate) log: ServerLog,
    clock: Clock,
    calls: AtomicU64,
    /// In milliseconds on the clock.
    last: AtomicU64,
}

/// Counts moments from its making.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        Moment(self.0.elapsed())
    }

    pub(crate) fn instant(self, moment: Moment) -> Instant {
        self.0 + moment.0
    }
}

impl Version {
    pub(crate) fn new(
        id: ModuleId,
        spec: Arc<ModuleSpec>,
        native: NativeSpec,
        contract: Arc<Contract>,
        secrets: NativeSecrets,
        log: ServerLog,
        clock: Clock,
    ) -> Self {
        let version = Self {
            id,
            spec,
            native: Arc::new(native),
            contract,
            secrets,
            log,
            clock,
            calls: AtomicU64::new(0),
            last: AtomicU64::new(0),
        };
        version.touch();
        version
    }

    /// It is called, or to run, now.
    pub(crate) fn touch(&self) {
        let now = u64::try_from(self.clock.now().0.as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    pub(crate) fn demand(&self) -> Demand {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        Demand { calls: self.calls.load(Ordering::Relaxed), last: Moment(last) }
    }

    /// Counts a call until the guard is dropped.
    pub(crate) fn call(self: &Arc<Self>) -> Calling {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Calling(Arc::clone(self))
    }

    pub(crate) fn is_concurrent(&self, method: &MethodPlan) -> bool {
        let names = &self.native.concurrent;
        names.contains("*") || names.contains(&method.export.function)
    }

    pub(crate) fn is_idempotent(&self, method: &MethodPlan) -> bool {
        let names = &self.native.idempotent;
        names.contains("*") || names.contains(&method.export.function)
    }

    /// The most that a request and a response may be.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        let limits = &self.spec.limits;
        (limits.input.of(true).0, limits.output.of(true).0)
    }
}

/// A call that runs or waits.
#[derive(Debug)]
pub(crate) struct Calling(Arc<Version>);

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.touch();
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}
