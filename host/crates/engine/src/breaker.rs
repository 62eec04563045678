//! The breaker of one version of a module: answers for it while it traps again and again.
//!
//! Guarantees: what callers' mistakes, limits and deadlines do never opens it, and neither do the
//! traps of one bad input while others are answered: at least half of the calls in the window must
//! have trapped. Once open, calls are refused without an instance for a pause; then a few probes
//! run. If they are answered it closes, and a trap opens it again for twice as long, at most
//! [`LONGEST`]. It belongs to a version, since it is a version's code that is broken.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use roadstead_domain::Span;

/// Probes that run at once, and whose answers close the breaker.
const PROBES: u32 = 3;

/// No pause doubles beyond this.
const LONGEST: Duration = Duration::from_secs(60);

/// When a caller that finds all probes under way should come again.
const WHILE_PROBING: Duration = Duration::from_millis(100);

/// A probe that takes longer does not keep others from trying.
const PROBE: Duration = Duration::from_secs(1);

/// The window moves on by this part of itself.
const SLOTS: usize = 10;

/// When a module version is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Traps within the window that open it, if they are half of its calls at least.
    pub traps: u32,
    pub window: Span,
    /// How long calls are refused at first; each time that a probe traps it doubles.
    pub pause: Span,
}

impl BreakerConfig {
    /// No window or pause can be longer.
    pub const MOST: Span = Span::secs(3600);
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { traps: 20, window: Span::secs(10), pause: Span::secs(1) }
    }
}

/// Whether a module version is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BreakerState {
    #[default]
    Closed,
    /// Calls are refused.
    Open,
    /// Probes find out whether it still traps.
    HalfOpen,
}

/// How a call ended, as far as it tells whether the module is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answered,
    Trapped,
    /// A limit, a deadline, a caller that went away.
    Other,
}

/// Worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Opened { traps: u32, pause: Duration },
    Closed,
}

pub(crate) struct Breaker {
    /// None if the breaker is off.
    machine: Option<Mutex<Machine>>,
    /// Set while it is not closed, so that calls look at its lock only then.
    broken: AtomicBool,
}

/// A call that may run; dropping it without a word counts as [`Verdict::Other`].
pub(crate) struct Pass {
    breaker: Arc<Breaker>,
    /// The phase in which it was given.
    phase: u64,
    judged: bool,
}

impl Breaker {
    pub(crate) fn new(config: Option<BreakerConfig>) -> Arc<Self> {
        let machine = config.map(|config| Mutex::new(Machine::new(config, Instant::now())));
        Arc::new(Self { machine, broken: AtomicBool::new(false) })
    }

    /// Whether calls are refused now, and for how long: to be asked before anything is spent.
    pub(crate) fn refuses(&self) -> Option<Duration> {
        if !self.broken.load(Ordering::Relaxed) {
            return None;
        }
        self.machine.as_ref().and_then(|machine| machine.lock().refuses(Instant::now()))
    }

    /// Lets a call run.
    ///
    /// # Errors
    /// When to try again.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Pass, Duration> {
        let phase = match &self.machine {
            Some(machine) => machine.lock().enter(Instant::now())?,
            None => 0,
        };
        Ok(Pass { breaker: Arc::clone(self), phase, judged: false })
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.machine.as_ref().map_or(BreakerState::Closed, |machine| machine.lock().state())
    }

    fn judge(&self, phase: u64, verdict: Verdict) -> Option<Change> {
        let mut machine = self.machine.as_ref()?.lock();
        let change = machine.ended(phase, verdict, Instant::now());
        if change.is_some() {
            self.broken.store(machine.state() != BreakerState::Closed, Ordering::Relaxed);
        }
        change
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { traps, pause } => {
                let pause = pause.as_secs_f64();
                write!(f, "breaker open after {traps} traps: calls are refused for {pause} s")
            }
            Self::Closed => f.write_str("breaker closed: calls run again"),
        }
    }
}

impl Pass {
    pub(crate) fn ended(mut self, verdict: Verdict) -> Option<Change> {
        self.judged = true;
        self.breaker.judge(self.phase, verdict)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.judged {
            self.breaker.judge(self.phase, Verdict::Other);
        }
    }
}

/// The breaker without clock and lock. Time never goes backwards.
#[derive(Debug)]
struct Machine {
    config: BreakerConfig,
    place: Place,
    /// Counts changes of place: what began in an earlier one says nothing about this one.
    phase: u64,
    /// Of the last time that it opened.
    pause: Duration,
}

#[derive(Debug)]
enum Place {
    Closed {
        since: Instant,
        window: Window,
    },
    Open {
        until: Instant,
    },
    /// `newest` is when the last probe began.
    HalfOpen {
        newest: Instant,
        running: u32,
        answered: u32,
    },
}

/// Calls of the last [`SLOTS`] parts of the window.
#[derive(Debug)]
struct Window {
    start: Instant,
    width: Duration,
    newest: u128,
    slots: [Counts; SLOTS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    calls: u32,
    traps: u32,
}

impl Machine {
    fn new(config: BreakerConfig, now: Instant) -> Self {
        let window = Window::new(config.window.duration(), now);
        let place = Place::Closed { since: now, window };
        Self { config, place, phase: 0, pause: Duration::ZERO }
    }

    fn state(&self) -> BreakerState {
        match self.place {
            Place::Closed { .. } => BreakerState::Closed,
            Place::Open { .. } => BreakerState::Open,
            Place::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn refuses(&self, now: Instant) -> Option<Duration> {
        match self.place {
            Place::Open { until } if now < until => Some(until.saturating_duration_since(now)),
            Place::HalfOpen { newest, running, answered }
                if PROBES <= running + answered
                    && now.saturating_duration_since(newest) < PROBE =>
            {
                Some(WHILE_PROBING)
            }
            _ => None,
        }
    }

    fn enter(&mut self, now: Instant) -> Result<u64, Duration> {
        if let Some(pause) = self.refuses(now) {
            return Err(pause);
        }
        if let Place::Open { .. } = self.place {
            self.go(Place::HalfOpen { newest: now, running: 0, answered: 0 });
        }
        if let Place::HalfOpen { newest, running, answered } = &mut self.place {
            if PROBES <= *running + *answered {
                *running = 0;
            }
            (*newest, *running) = (now, *running + 1);
        }
        Ok(self.phase)
    }

    fn ended(&mut self, phase: u64, verdict: Verdict, now: Instant) -> Option<Change> {
        if phase != self.phase {
            return None;
        }
        match (&mut self.place, verdict) {
            (Place::Closed { since, window }, verdict) => {
                let Counts { calls, traps } = window.count(verdict == Verdict::Trapped, now);
                if verdict != Verdict::Trapped || traps < self.config.traps || traps < calls - traps
                {
                    return None;
                }
                // One that opens again soon was not mended.
                let lately = now.saturating_duration_since(*since) < self.config.window.duration();
                Some(self.open(traps, lately, now))
            }
            (Place::HalfOpen { .. }, Verdict::Trapped) => Some(self.open(1, true, now)),
            (Place::HalfOpen { running, answered, .. }, verdict) => {
                *running = running.saturating_sub(1);
                *answered += u32::from(verdict == Verdict::Answered);
                (PROBES <= *answered).then(|| self.close(now))
            }
            (Place::Open { .. }, _) => None,
        }
    }

    fn open(&mut self, traps: u32, longer: bool, now: Instant) -> Change {
        let first = self.config.pause.duration();
        let doubled = self.pause.saturating_mul(2).min(LONGEST);
        self.pause = if longer { first.max(doubled) } else { first };
        self.go(Place::Open { until: now + self.pause });
        Change::Opened { traps, pause: self.pause }
    }

    fn close(&mut self, now: Instant) -> Change {
        let window = Window::new(self.config.window.duration(), now);
        self.go(Place::Closed { since: now, window });
        Change::Closed
    }

    fn go(&mut self, place: Place) {
        self.place = place;
        self.phase += 1;
    }
}

impl Window {
    fn new(length: Duration, now: Instant) -> Self {
        let width = length.div_f64(SLOTS as f64).max(Duration::from_micros(1));
        Self { start: now, width, newest: 0, slots: [Counts::default(); SLOTS] }
    }

    /// Counts a call, and says what the window holds then.
    fn count(&mut self, trapped: bool, now: Instant) -> Counts {
        let slots = SLOTS as u128;
        let slot = now.saturating_duration_since(self.start).as_nanos() / self.width.as_nanos();
        let slot = slot.max(self.newest);
        for stale in (self.newest + 1..=slot).take(SLOTS) {
            self.at(stale % slots, |counts| *counts = Counts::default());
        }
        self.newest = slot;
        self.at(slot % slots, |counts| {
            counts.calls = counts.calls.saturating_add(1);
            counts.traps += u32::from(trapped);
        });
        self.slots.iter().fold(Counts::default(), |sum, counts| Counts {
            calls: sum.calls.saturating_add(counts.calls),
            traps: sum.traps.saturating_add(counts.traps),
        })
    }

    fn at(&mut self, slot: u128, change: impl FnOnce(&mut Counts)) {
        if let Some(counts) = usize::try_from(slot).ok().and_then(|slot| self.slots.get_mut(slot)) {
            change(counts);
        }
    }
}

#[cfg(test)]
mod tests;
