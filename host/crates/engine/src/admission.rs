//! The one bounded queue of a module, and the places for instances on the whole host.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use roadstead_domain::{Fault, Quota};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::overload;

/// Who may run calls of one module.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    concurrency: u64,
    queue: u64,
    waiting: AtomicU64,
    /// Nanoseconds that calls took lately, the newest counting most.
    typical: AtomicU64,
}

/// A call that may run. Held until nothing of it is left.
pub(crate) struct Admitted {
    _place: OwnedSemaphorePermit,
}

/// Counts a waiting call while it waits, however that ends.
struct Waiting<'a>(&'a AtomicU64);

impl Admission {
    /// `most` caps what the spec asks for.
    pub(crate) fn new(quota: &Quota, most: u32) -> Self {
        let concurrency = quota.concurrency.min(u64::from(most)).max(1);
        let places = usize::try_from(concurrency).unwrap_or(1);
        Self {
            places: Arc::new(Semaphore::new(places)),
            concurrency,
            queue: quota.queue,
            waiting: AtomicU64::new(0),
            typical: AtomicU64::new(0),
        }
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for a place, first come, first served.
    pub(crate) async fn enter(&self) -> Result<Admitted, Fault> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Admitted { _place: place });
        }
        let room = |waiting: u64| (waiting < self.queue).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::AcqRel, Ordering::Relaxed, room).is_err() {
            return Err(overload::queue(self.patience()));
        }
        let _waiting = Waiting(&self.waiting);
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map(|place| Admitted { _place: place }).map_err(|_| Fault::Draining)
    }

    pub(crate) fn took(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let typical = self.typical.load(Ordering::Relaxed);
        self.typical.store(typical / 8 * 7 + nanos / 8, Ordering::Relaxed);
    }

    /// How long half of a full queue takes.
    fn patience(&self) -> Duration {
        let turns = (self.queue / 2 / self.concurrency).saturating_add(1);
        Duration::from_nanos(self.typical.load(Ordering::Relaxed).saturating_mul(turns))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The places for live instances on this host.
pub(crate) struct Slots {
    places: Arc<Semaphore>,
    total: u32,
    waiting: AtomicU64,
}

impl Slots {
    pub(crate) fn new(total: u32) -> Self {
        let places = usize::try_from(total).unwrap_or(1).min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(places)), total, waiting: AtomicU64::new(0) }
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn taken(&self) -> u32 {
        let left = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        self.total.saturating_sub(left)
    }

    /// Whether somebody waits: idle instances must go.
    pub(crate) fn contended(&self) -> bool {
        0 < self.waiting.load(Ordering::SeqCst)
    }

    /// Takes `count` places; where there are none, `evict` drops one idle instance after another
    /// and says when there are no more.
    pub(crate) async fn take(
        &self,
        count: u32,
        evict: impl Fn() -> bool,
    ) -> Result<OwnedSemaphorePermit, Fault> {
        let places = || Arc::clone(&self.places);
        if let Ok(taken) = places().try_acquire_many_owned(count) {
            return Ok(taken);
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        while evict() {
            if let Ok(taken) = places().try_acquire_many_owned(count) {
                return Ok(taken);
            }
        }
        places().acquire_many_owned(count).await.map_err(|_| Fault::Draining)
    }
}
