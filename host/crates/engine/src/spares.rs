//! Instances made ahead of their calls, and taken apart after them, off the way of any call.
//!
//! A call that wants a fresh instance takes a spare one if there is one, as good as one made for
//! it: nobody has used it, and what its start took of the limits is put down to the call. A module
//! whose calls want fresh ones again and again gets as many spares as it was short of, up to
//! [`crate::EngineConfig::spares`]; they are dropped when nobody wants them for a while, and
//! before anybody waits for what they hold. One task at a time looks after a module, on the
//! guests' threads and on the module's own processor time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use roadstead_domain::CallId;

use crate::{
    capability::CallContext,
    code::Loaded,
    instance::{Guest, Site},
    module::Inner,
    store::Meter,
};

/// Calls that find no spare within so long of one another want more.
const AGAIN: Duration = Duration::from_secs(1);

/// A module is looked after for so long at a time: no caller waits for a spare that takes longer,
/// and nobody could end it.
const TURN: Duration = Duration::from_secs(1);

/// A module's spares may have this part of what its instances may have.
const PART: u64 = 16;

/// How many spares a module wants, and whether somebody looks after it.
#[derive(Default)]
pub(crate) struct Spares {
    wanted: AtomicUsize,
    /// Milliseconds of the engine's life at which a call last found none.
    missed: AtomicU64,
    looked_after: AtomicBool,
}

impl Spares {
    /// A call found no spare.
    fn miss(&self, now: Duration, most: usize) {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1);
        let before = self.missed.swap(now, Ordering::Relaxed);
        let again = before != 0 && Duration::from_millis(now.saturating_sub(before)) <= AGAIN;
        let wanted = self.wanted.load(Ordering::Relaxed);
        let more = if again { wanted.saturating_mul(2).clamp(1, most.max(1)).min(most) } else { 0 };
        if more != wanted {
            self.wanted.store(more, Ordering::Relaxed);
        }
    }
}

/// Says that nobody looks after the module any more, however that ends.
struct LooksAfter(Arc<Inner>);

impl Drop for LooksAfter {
    fn drop(&mut self) {
        let Self(module) = self;
        module.spares.looked_after.store(false, Ordering::SeqCst);
        // Whoever retired one just before took it for looked after.
        if module.idle().any_spent() && !module.engine.scheduler.closing() {
            module.look_after();
        }
    }
}

impl Inner {
    /// An instance that no call has used, if there is one.
    pub(crate) fn take_spare(self: &Arc<Self>) -> Option<Box<Guest>> {
        let most = self.engine.config.spares;
        if most == 0 {
            return None;
        }
        let taken = self.idle().take_spare();
        if taken.is_none() {
            self.spares.miss(self.engine.began.elapsed(), most);
        }
        let left = taken.as_ref().map_or(0, |(_, left)| *left);
        if left.saturating_mul(2) < self.spares.wanted.load(Ordering::Relaxed) {
            self.look_after();
        }
        taken.map(|(guest, _)| guest).filter(|guest| self.holds(&guest.loaded))
    }

    /// Takes an instance that must not be used again from a thread that has better things to do.
    pub(crate) fn retire(self: &Arc<Self>, guest: Guest) {
        if self.engine.config.spares == 0 || self.engine.contended() {
            return;
        }
        self.idle().put_spent(guest);
        self.engine.idle.kept();
        self.look_after();
    }

    fn look_after(self: &Arc<Self>) {
        if self.spares.looked_after.swap(true, Ordering::SeqCst) {
            return;
        }
        let looks_after = LooksAfter(Arc::clone(self));
        let began = Instant::now();
        let deadline = began + self.spec.limits.deadline.duration().min(TURN);
        let work = Box::pin(async move {
            let module = &looks_after.0;
            loop {
                let spent = module.idle().take_spent();
                let idle = spent.is_empty();
                drop(spent);
                if TURN / 2 < began.elapsed() || (!module.make_spare(deadline).await && idle) {
                    return;
                }
            }
        });
        self.engine.scheduler.spawn_detached(&self.parts.account, deadline, work);
    }

    /// Makes one spare if the module wants more than it has and nobody waits for what it takes.
    async fn make_spare(self: &Arc<Self>, deadline: Instant) -> bool {
        let have = self.idle().spares();
        if self.spares.wanted.load(Ordering::Relaxed) <= have || self.engine.scheduler.closing() {
            return false;
        }
        let Some(loaded) = self.engine.codes.ready(&**self) else { return false };
        if !self.may_have_spares(&loaded, have) {
            return false;
        }
        let Some(site) = Site::at_hand(self, &loaded) else { return false };
        let context = CallContext { id: CallId(0), deadline: Some(deadline), caller: None };
        // None are wanted of a module whose start does not come to its end in time.
        let wanted = self.spares.wanted.swap(0, Ordering::Relaxed);
        let made = Guest::make(self, &context, loaded, Arc::new(Meter::default()), site).await;
        // A call that fails to start says so to its caller; here nobody asked.
        let Ok(guest) = made else { return false };
        self.spares.wanted.fetch_max(wanted, Ordering::Relaxed);
        self.keep_spare(Box::new(guest));
        true
    }

    fn may_have_spares(&self, loaded: &Loaded, have: usize) -> bool {
        let each = self.besides(loaded.stacks).saturating_add(self.usual_memory());
        let all = u64::try_from(have).unwrap_or(u64::MAX).saturating_add(1).saturating_mul(each);
        all <= self.parts.memory.largest().min(self.memory()) / PART
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_misses_again_and_again_wants_more() {
        let spares = Spares::default();
        let wanted = || spares.wanted.load(Ordering::Relaxed);
        let at = |millis| Duration::from_millis(millis);
        spares.miss(at(0), 4);
        assert_eq!(wanted(), 0, "one call alone");
        for (millis, more) in [(500, 1), (600, 2), (700, 4), (800, 4)] {
            spares.miss(at(millis), 4);
            assert_eq!(wanted(), more);
        }
        spares.miss(at(5000), 4);
        assert_eq!(wanted(), 0, "a pause");
    }
}
