//! The tick: 1,000 epochs a second while guests run, none while nobody does. At each one, seats
//! whose threads overstay are filled again.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{Builder, Thread},
    time::Duration,
};

use parking_lot::Mutex;
use wasmtime::EngineWeak;

use super::{Shared, worker};

const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest after which the thread sleeps: a caller that comes now and then does not
/// wake it for each call.
const QUIET_TICKS: u32 = 50;

#[derive(Default)]
pub(super) struct Ticker {
    /// Guests on a thread now.
    running: AtomicUsize,
    slices: AtomicU64,
    asleep: AtomicBool,
    closing: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

/// Starts the ticker's thread. It ends with the engine, with the scheduler or when told to.
pub(super) fn start(shared: &Arc<Shared>, engine: EngineWeak) -> io::Result<()> {
    let ticking = Arc::clone(shared);
    let thread = Builder::new().name("roadstead-tick".to_owned()).spawn(move || {
        let mut owed = 0;
        ticking.ticker.run(&engine, || ticking.fill_seats(&mut owed));
    })?;
    *shared.ticker.thread.lock() = Some(thread.thread().clone());
    shared.started(thread);
    Ok(())
}

impl Shared {
    /// Starts a thread for each seat that was lost; whether all are there. Those that the system
    /// does not give are owed, and asked for again.
    fn fill_seats(self: &Arc<Self>, owed: &mut usize) -> bool {
        let before = *owed;
        *owed += self.seats.look(self.now());
        repay(owed, || worker::start(self));
        match (before, *owed) {
            (0, 1..) => tracing::error!(threads = *owed, "guest threads cannot be replaced now"),
            (1.., 0) => tracing::info!("all guest threads are there again"),
            _ => {}
        }
        *owed == 0
    }
}

/// Starts as many as are owed, up to the first that fails.
fn repay(owed: &mut usize, mut start: impl FnMut() -> io::Result<()>) {
    while 0 < *owed {
        if let Err(error) = start() {
            tracing::debug!(%error, "replace a guest thread");
            return;
        }
        *owed -= 1;
    }
}

impl Ticker {
    pub(super) fn begin_slice(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.slices.fetch_add(1, Ordering::Relaxed);
        if self.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(super) fn end_slice(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
        }
    }

    fn run(&self, engine: &EngineWeak, mut each_tick: impl FnMut() -> bool) {
        let mut quiet = 0;
        let mut seen = 0;
        while !self.closing.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            drop(engine);
            let whole = each_tick();
            let slices = self.slices.load(Ordering::Relaxed);
            let runs = slices != seen || 0 < self.running.load(Ordering::SeqCst);
            // Nobody may be left to wake it for the next call.
            let active = runs || !whole;
            seen = slices;
            quiet = if active { 0 } else { quiet + 1 };
            if QUIET_TICKS <= quiet {
                self.sleep();
                quiet = 0;
            }
        }
    }

    /// Sleeps until a slice begins. A slice that begins at the same time either sees `asleep` and
    /// wakes, or is seen here.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.asleep.load(Ordering::SeqCst)
            && self.running.load(Ordering::SeqCst) == 0
            && !self.closing.load(Ordering::SeqCst)
        {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_the_system_refuses_are_asked_for_again() {
        let mut owed = 3;
        let mut given = 1;
        let mut start = || match given {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => {
                given -= 1;
                Ok(())
            }
        };
        repay(&mut owed, &mut start);
        repay(&mut owed, &mut start);
        assert_eq!(owed, 2);
        repay(&mut owed, || Ok(()));
        assert_eq!(owed, 0);
    }
}
