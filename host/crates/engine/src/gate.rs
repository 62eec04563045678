//! A counted resource of the host, in nested parts, handed out fairly.
//!
//! There is one gate for each resource: calls that run, instance slots, memory of instances, room
//! for values. What a module takes is taken of its namespace and of the whole at once, or not at
//! all. Guarantees:
//! - no part is ever over its bound;
//! - calls of a module are served first come, first served; of the modules that wait, the one that
//!   has the least for its weight is next, and nobody passes one that only waits for the whole;
//! - a module that its own part or its namespace's holds up keeps nobody else waiting;
//! - a lane for inner takes only of the module's part, and those that its namespace holds up do not
//!   keep it waiting either;
//! - whoever gives up waiting leaves nothing behind.
//!
//! Calls ask for resources in one order: a place to run, slots, room for values, memory. Whoever
//! holds one waits for later ones alone, and growth of what is held never waits, so there is no
//! circle. A call of another module begins anew while the first holds what it has: such calls wait
//! for a short time only.

mod part;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(crate) use self::part::{Ask, Level, Part};

/// One resource of the host.
#[derive(Debug)]
pub(crate) struct Gate {
    whole: Arc<Part>,
    /// Lanes with somebody in them. Every change of a part or a lane is made under this lock.
    waiting: Mutex<Vec<Arc<Queue>>>,
    /// Waiters that ever were.
    joined: AtomicU64,
    /// How many lanes wait, to be looked at without the lock.
    crowd: AtomicUsize,
}

/// One module's way to a resource, shared by its versions.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    gate: Arc<Gate>,
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    /// Shared by the two lanes of a module.
    part: Arc<Part>,
    /// Whether only the module's part counts.
    is_inner: bool,
    weight: Arc<AtomicU64>,
    /// Locked only by who holds the gate's lock.
    waiters: Mutex<VecDeque<Waiter>>,
    waiting: AtomicU64,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    ask: Ask,
    granted: oneshot::Sender<Taken>,
}

/// What was taken; given back on drop.
#[derive(Debug)]
pub(crate) struct Taken {
    lane: Lane,
    count: u64,
}

/// A place in a lane; left on drop.
pub(crate) struct Waiting {
    lane: Lane,
    id: u64,
    granted: oneshot::Receiver<Taken>,
}

/// Grants to be sent once the lock is released: giving up takes the lock again.
type Grants = Vec<(oneshot::Sender<Taken>, Taken)>;

impl Gate {
    pub(crate) fn new(most: u64) -> Arc<Self> {
        let whole = Part::new(Level::Whole, most, None);
        Arc::new(Self {
            whole: Arc::new(whole),
            waiting: Mutex::default(),
            joined: AtomicU64::new(0),
            crowd: AtomicUsize::new(0),
        })
    }

    /// A namespace's part.
    pub(crate) fn part(&self, most: u64) -> Arc<Part> {
        let around = Some(Arc::clone(&self.whole));
        Arc::new(Part::new(Level::Namespace, most, around))
    }

    /// A module's lane; what it takes is taken of `namespace`, too.
    pub(crate) fn lane(self: &Arc<Self>, namespace: &Arc<Part>, most: u64) -> Lane {
        let around = Some(Arc::clone(namespace));
        let part = Part::new(Level::Module, most, around);
        let queue = Queue {
            part: Arc::new(part),
            is_inner: false,
            weight: Arc::new(AtomicU64::new(1)),
            waiters: Mutex::default(),
            waiting: AtomicU64::new(0),
        };
        Lane { gate: Arc::clone(self), queue: Arc::new(queue) }
    }

    pub(crate) fn most(&self) -> u64 {
        self.whole.most
    }

    pub(crate) fn taken(&self) -> u64 {
        self.whole.taken.load(Ordering::Relaxed)
    }

    /// Whether somebody waits: what lies idle must go.
    pub(crate) fn contended(&self) -> bool {
        0 < self.crowd.load(Ordering::SeqCst)
    }

    /// Serves whom it can, until the next in turn does not fit.
    fn dispatch(self: &Arc<Self>, waiting: &mut Vec<Arc<Queue>>) -> Grants {
        let mut grants = Grants::new();
        while let Some(queue) = next_in_turn(waiting) {
            let mut waiters = queue.waiters.lock();
            let fits = waiters.front().is_some_and(|first| queue.fits(first.ask).is_ok());
            if !fits {
                break;
            }
            let Some(Waiter { ask, granted, .. }) = waiters.pop_front() else { break };
            queue.add(ask.count);
            queue.left(waiters.len());
            drop(waiters);
            let lane = Lane { gate: Arc::clone(self), queue };
            grants.push((granted, Taken { lane, count: ask.count }));
            waiting.retain(|queue| 0 < queue.waiting.load(Ordering::Relaxed));
        }
        self.crowd.store(waiting.len(), Ordering::SeqCst);
        grants
    }
}

/// Of the lanes that nothing but the whole holds up, the one that has the least for its weight; of
/// those with as much, the one whose first came first.
fn next_in_turn(waiting: &[Arc<Queue>]) -> Option<Arc<Queue>> {
    let eligible = waiting.iter().filter(|queue| queue.held_up_by() != Some(Level::Module));
    let eligible = eligible.filter(|queue| queue.held_up_by() != Some(Level::Namespace));
    let share = |one: &Queue, other: &Queue| one.share(other).cmp(&other.share(one));
    eligible.min_by(|one, other| share(one, other).then(one.first().cmp(&other.first()))).cloned()
}

fn send(grants: Grants) {
    for (granted, taken) in grants {
        // Whoever gave up meanwhile does not take it: it goes back and to the next.
        drop(granted.send(taken));
    }
}

impl Queue {
    fn fits(&self, ask: Ask) -> Result<(), Level> {
        if self.is_inner { self.part.fits_alone(ask) } else { self.part.fits(ask) }
    }

    fn add(&self, count: u64) {
        if self.is_inner {
            self.part.add_alone(count);
        } else {
            self.part.add(count);
        }
    }

    fn sub(&self, count: u64) {
        if self.is_inner {
            self.part.sub_alone(count);
        } else {
            self.part.sub(count);
        }
    }

    fn held_up_by(&self) -> Option<Level> {
        let ask = self.waiters.lock().front().map(|first| first.ask);
        ask.and_then(|ask| self.fits(ask).err())
    }

    /// Who came first of those that wait.
    fn first(&self) -> Option<u64> {
        self.waiters.lock().front().map(|first| first.id)
    }

    /// What it has, to be compared with the same of `other`.
    fn share(&self, other: &Self) -> u128 {
        let taken = self.part.taken.load(Ordering::Relaxed);
        u128::from(taken) * u128::from(other.weight.load(Ordering::Relaxed))
    }

    fn left(&self, waiting: usize) {
        self.waiting.store(u64::try_from(waiting).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Lane {
    /// Another way to the module's part, for what its namespace and the whole have given a place
    /// already.
    pub(crate) fn inner(&self) -> Self {
        let queue = Queue {
            part: Arc::clone(&self.queue.part),
            is_inner: true,
            weight: Arc::clone(&self.queue.weight),
            waiters: Mutex::default(),
            waiting: AtomicU64::new(0),
        };
        Self { gate: Arc::clone(&self.gate), queue: Arc::new(queue) }
    }

    pub(crate) fn taken(&self) -> u64 {
        self.queue.part.taken.load(Ordering::Relaxed)
    }

    /// The most that it could take if nobody else had any.
    pub(crate) fn largest(&self) -> u64 {
        self.queue.part.largest()
    }

    /// What is used up for such an ask, leaving aside who waits.
    pub(crate) fn lacks(&self, ask: Ask) -> Option<Level> {
        self.queue.fits(ask).err()
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.queue.waiting.load(Ordering::Relaxed)
    }

    /// How much of a contended resource this module gets beside others.
    pub(crate) fn set_weight(&self, weight: u64) {
        self.queue.weight.store(weight.max(1), Ordering::Relaxed);
    }

    /// Takes without waiting, and without passing those who do.
    ///
    /// # Errors
    /// What is used up.
    pub(crate) fn try_take(&self, ask: Ask) -> Result<Taken, Level> {
        let waiting = self.gate.waiting.lock();
        self.queue.fits(ask)?;
        let passes = |queue: &Arc<Queue>| {
            Arc::ptr_eq(queue, &self.queue) || queue.held_up_by() == Some(Level::Whole)
        };
        if waiting.iter().any(passes) {
            return Err(Level::Whole);
        }
        self.queue.add(ask.count);
        drop(waiting);
        Ok(Taken { lane: self.clone(), count: ask.count })
    }

    /// Joins the queue, if fewer than `most` wait in it.
    pub(crate) fn join(&self, ask: Ask, most: u64) -> Option<Waiting> {
        let (granted, receiver) = oneshot::channel();
        let mut waiting = self.gate.waiting.lock();
        let mut waiters = self.queue.waiters.lock();
        if most <= u64::try_from(waiters.len()).unwrap_or(u64::MAX) {
            return None;
        }
        let id = self.gate.joined.fetch_add(1, Ordering::Relaxed);
        waiters.push_back(Waiter { id, ask, granted });
        if waiters.len() == 1 {
            waiting.push(Arc::clone(&self.queue));
        }
        self.queue.left(waiters.len());
        drop(waiters);
        let grants = self.gate.dispatch(&mut waiting);
        drop(waiting);
        send(grants);
        Some(Waiting { lane: self.clone(), id, granted: receiver })
    }
}

impl Waiting {
    /// Whether it is not this one's turn yet.
    pub(crate) fn pending(&self) -> bool {
        self.granted.is_empty()
    }

    /// Waits for the turn. None only if the lane is torn down, which nobody does while it is used.
    pub(crate) async fn granted(mut self) -> Option<Taken> {
        (&mut self.granted).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Lane { gate, queue } = &self.lane;
        let mut waiting = gate.waiting.lock();
        let mut waiters = queue.waiters.lock();
        let Some(at) = waiters.iter().position(|waiter| waiter.id == self.id) else { return };
        let left = waiters.remove(at);
        queue.left(waiters.len());
        drop(waiters);
        waiting.retain(|queue| 0 < queue.waiting.load(Ordering::Relaxed));
        // It may have held others up.
        let grants = gate.dispatch(&mut waiting);
        drop((waiting, left));
        send(grants);
    }
}

impl Taken {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Makes it `count` at the least, without waiting: who has begun goes before who has not.
    pub(crate) fn grow_to(&mut self, count: u64, most: u64) -> Result<(), Level> {
        let more = count.saturating_sub(self.count);
        if more == 0 {
            return Ok(());
        }
        let gate = &self.lane.gate;
        let mut waiting = gate.waiting.lock();
        self.lane.queue.fits(Ask { count: more, most })?;
        self.lane.queue.add(more);
        self.count += more;
        // One that the whole held up may be held up by its part now, and others no more by it.
        let grants = if waiting.is_empty() { Grants::new() } else { gate.dispatch(&mut waiting) };
        drop(waiting);
        send(grants);
        Ok(())
    }

    /// Gives back what is over `count`.
    pub(crate) fn shrink_to(&mut self, count: u64) {
        let less = self.count.saturating_sub(count);
        if less == 0 {
            return;
        }
        self.count -= less;
        let gate = &self.lane.gate;
        let mut waiting = gate.waiting.lock();
        self.lane.queue.sub(less);
        let grants = if waiting.is_empty() { Grants::new() } else { gate.dispatch(&mut waiting) };
        drop(waiting);
        send(grants);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests;
