//! Clocks: real ones, or a time of the guest's own in which nothing passes but what it sleeps.
//!
//! Fixed clocks stand still while a guest computes, so that its results do not depend on how fast
//! the host is. A sleep is slept in real time (the deadline of the call ends it, if need be), and
//! afterwards both clocks of the guest stand later by exactly what it asked for. Without that step
//! every loop of the form "sleep until the clock shows the deadline", as in event loops, would
//! never end. Every call starts at the same time. Runs per host call; nothing blocks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use roadstead_domain::Clocks;
use wasmtime::component::{Accessor, HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::{DynPollable, Pollable, bindings::clocks as p2, subscribe};
use wasmtime_wasi::p3::bindings::clocks as p3;

/// What a fixed wall clock shows at first: the first second of 2025, UTC.
pub(crate) const FIXED_WALL: Duration = Duration::from_secs(1_735_689_600);

/// The clock of one instance.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    /// Monotonic time counts from the instance's making, so that it tells nothing of the host.
    Real(Instant),
    /// Nanoseconds slept so far in this call.
    Fixed(Arc<AtomicU64>),
}

/// Marks the clock interfaces in the linker.
pub(crate) struct HasClock;

/// A clock and the table for its pollables.
pub(crate) struct ClockView<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) table: &'a mut ResourceTable,
}

/// A sleep, and what it does to a fixed clock.
struct Sleep {
    /// None: further away than clocks can tell.
    until: Option<tokio::time::Instant>,
    wakes: Clock,
    at: u64,
    yielded: bool,
}

impl HasData for HasClock {
    type Data<'a> = ClockView<'a>;
}

impl Clock {
    pub(crate) fn new(clocks: Clocks) -> Self {
        match clocks {
            Clocks::Real => Self::Real(Instant::now()),
            Clocks::Fixed => Self::Fixed(Arc::default()),
        }
    }

    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// A reused instance starts another call: a fixed clock shows what it showed the first.
    pub(crate) fn begin_call(&mut self) {
        if let Self::Fixed(slept) = self {
            *slept = Arc::default();
        }
    }

    fn monotonic(&self) -> u64 {
        match self {
            Self::Real(start) => u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Self::Fixed(slept) => slept.load(Ordering::Relaxed),
        }
    }

    fn wall(&self) -> Duration {
        match self {
            Self::Real(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Self::Fixed(slept) => {
                FIXED_WALL.saturating_add(Duration::from_nanos(slept.load(Ordering::Relaxed)))
            }
        }
    }

    /// A sleep is over: a fixed clock shows at least its end.
    fn woke(&self, at: u64) {
        if let Self::Fixed(slept) = self {
            slept.fetch_max(at, Ordering::Relaxed);
        }
    }

    fn sleep(&self, span: u64, at: u64) -> Sleep {
        let until = tokio::time::Instant::now().checked_add(Duration::from_nanos(span));
        Sleep { until, wakes: self.clone(), at, yielded: false }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        match self.until {
            // One turn is given away first: else a guest that polls with a timeout of nothing
            // would never let its own sockets become ready.
            Some(until) if until <= tokio::time::Instant::now() && !self.yielded => {
                self.yielded = true;
                tokio::task::yield_now().await;
            }
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
        self.wakes.woke(self.at);
    }
}

impl ClockView<'_> {
    fn sleep(&mut self, span: u64, at: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let sleep = self.table.push(self.clock.sleep(span, at))?;
        subscribe(self.table, sleep)
    }
}

impl p2::wall_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<p2::wall_clock::Datetime> {
        let now = self.clock.wall();
        Ok(p2::wall_clock::Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() })
    }

    fn resolution(&mut self) -> wasmtime::Result<p2::wall_clock::Datetime> {
        Ok(p2::wall_clock::Datetime { seconds: 0, nanoseconds: 1 })
    }
}

impl p2::monotonic_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.clock.monotonic())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.sleep(when.saturating_sub(self.clock.monotonic()), when)
    }

    fn subscribe_duration(&mut self, span: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.sleep(span, self.clock.monotonic().saturating_add(span))
    }
}

impl p3::types::Host for ClockView<'_> {}

impl p3::system_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<p3::system_clock::Instant> {
        let now = self.clock.wall();
        Ok(p3::system_clock::Instant {
            seconds: now.as_secs().try_into()?,
            nanoseconds: now.subsec_nanos(),
        })
    }

    fn get_resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }
}

impl p3::monotonic_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.clock.monotonic())
    }

    fn get_resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }
}

impl<T: 'static> p3::monotonic_clock::HostWithStore<T> for HasClock {
    async fn wait_until(store: &Accessor<T, Self>, when: u64) -> wasmtime::Result<()> {
        let mut sleep = store.with(|mut store| {
            let clock = store.get().clock;
            clock.sleep(when.saturating_sub(clock.monotonic()), when)
        });
        sleep.ready().await;
        Ok(())
    }

    async fn wait_for(store: &Accessor<T, Self>, span: u64) -> wasmtime::Result<()> {
        let mut sleep = store.with(|mut store| {
            let clock = store.get().clock;
            clock.sleep(span, clock.monotonic().saturating_add(span))
        });
        sleep.ready().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fixed_clock_moves_by_what_was_slept_and_nothing_else() {
        let clock = Clock::new(Clocks::Fixed);
        let mut table = ResourceTable::new();
        let before = (clock.monotonic(), clock.wall());
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(before, (clock.monotonic(), clock.wall()));
        clock.sleep(250, 250).ready().await;
        assert_eq!(clock.monotonic(), 250);
        assert_eq!(clock.wall() - before.1, Duration::from_nanos(250));
        // A sleep that ends in the past never turns the clock back.
        clock.sleep(0, 100).ready().await;
        assert_eq!(clock.monotonic(), 250);
        let mut view = ClockView { clock: &clock, table: &mut table };
        p2::monotonic_clock::Host::subscribe_instant(&mut view, 300).unwrap();
    }

    #[test]
    fn real_clocks_move_on_their_own() {
        let clock = Clock::new(Clocks::Real);
        let before = clock.monotonic();
        while clock.monotonic() == before {}
        assert!(clock.wall() > FIXED_WALL);
    }
}
