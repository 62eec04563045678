//! The one bounded queue of a module, whichever of its versions is called.
//!
//! A call that would not get its turn within its deadline, by the pace of the calls before it, is
//! refused at once: waiting would only keep out others that can still be answered.
//!
//! A call that came through another module takes no place of the namespace: the outermost call has
//! one. It waits for a place of its module for a short time alone, since those that it came through
//! keep theirs meanwhile: calls that wait for each other's places come to an end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use roadstead_domain::{Fault, Quota};
use tokio::time::timeout;

use crate::{
    CallPath,
    gate::{Ask, Lane, Level, Taken},
    instance::PATIENCE,
    overload,
};

/// Who may run calls of one module.
pub(crate) struct Admission {
    pub(crate) lane: Lane,
    /// For calls that came through other modules.
    inner: Lane,
    /// Places that one module can have, whatever its specs ask for.
    most: u64,
    /// Nanoseconds that calls held their place lately, the newest counting most.
    held: AtomicU64,
}

/// A call that may run. Held until nothing of it is left.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    /// None for those whose time says nothing about the pace of calls.
    since: Option<Instant>,
    _place: Taken,
}

impl Admitted {
    /// Keeps the time that a stream is open out of what others must expect to wait.
    pub(crate) fn for_a_stream(&mut self) {
        self.since = None;
    }
}

impl Admission {
    pub(crate) fn new(lane: Lane, most: u64) -> Arc<Self> {
        let inner = lane.inner();
        Arc::new(Self { lane, inner, most: most.max(1), held: AtomicU64::new(0) })
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.lane.waiting().saturating_add(self.inner.waiting())
    }

    /// Waits for a place, first come, first served; `quota` is that of the version, `path` the
    /// call's.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        quota: &Quota,
        deadline: Instant,
        path: &CallPath,
    ) -> Result<Admitted, Fault> {
        let ask = self.ask(quota);
        let lane = if path.is_empty() { &self.lane } else { &self.inner };
        let place = match lane.try_take(ask) {
            Ok(place) => place,
            // Rare, and a future that every call carries should be small.
            Err(_) if path.is_empty() => Box::pin(self.queue(lane, quota, deadline)).await?,
            Err(_) => Box::pin(self.queue_shortly(quota, deadline)).await?,
        };
        Ok(Admitted { admission: Arc::clone(self), since: Some(Instant::now()), _place: place })
    }

    /// Waits in the inner lane.
    async fn queue_shortly(&self, quota: &Quota, deadline: Instant) -> Result<Taken, Fault> {
        let granted = timeout(PATIENCE, self.queue(&self.inner, quota, deadline)).await;
        granted.unwrap_or_else(|_| Err(overload::queue(self.patience(quota))))
    }

    async fn queue(&self, lane: &Lane, quota: &Quota, deadline: Instant) -> Result<Taken, Fault> {
        if let Some(fault) = self.refused(lane, quota, deadline) {
            return Err(fault);
        }
        let elsewhere = self.waiting().saturating_sub(lane.waiting());
        let joined = lane.join(self.ask(quota), quota.queue.saturating_sub(elsewhere));
        let waiting = joined.ok_or_else(|| overload::queue(self.patience(quota)))?;
        waiting.granted().await.ok_or(Fault::Draining)
    }

    /// Why a call from outside would be refused if it came now.
    pub(crate) fn refusal(&self, quota: &Quota, deadline: Instant) -> Option<Fault> {
        self.refused(&self.lane, quota, deadline)
    }

    fn refused(&self, lane: &Lane, quota: &Quota, deadline: Instant) -> Option<Fault> {
        let ask = self.ask(quota);
        let (waiting, lacks) = (self.waiting(), lane.lacks(ask));
        if waiting == 0 && lacks.is_none() {
            return None;
        }
        if quota.queue <= waiting {
            return Some(overload::queue(self.patience(quota)));
        }
        if lacks != Some(Level::Module) {
            // Others hold the places: how long its own calls took says nothing.
            return None;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = self.turns(waiting.saturating_add(1), self.lane.taken());
        (left < wait).then(|| overload::queue(wait.saturating_sub(left)))
    }

    fn ask(&self, quota: &Quota) -> Ask {
        Ask { count: 1, most: quota.concurrency.min(self.most).max(1) }
    }

    /// How long `calls` take in so many places.
    fn turns(&self, calls: u64, places: u64) -> Duration {
        let held = self.held.load(Ordering::Relaxed);
        Duration::from_nanos(held.saturating_mul(calls) / places.max(1))
    }

    /// How long half of a full queue takes.
    fn patience(&self, quota: &Quota) -> Duration {
        self.turns((quota.queue / 2).saturating_add(1), self.ask(quota).most)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some(since) = self.since else { return };
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let held = self.admission.held.load(Ordering::Relaxed);
        let newer = if held == 0 { nanos } else { held / 8 * 7 + nanos / 8 };
        self.admission.held.store(newer, Ordering::Relaxed);
    }
}
