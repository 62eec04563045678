//! Which modules' code is mapped: loaded on the first call by one loader, dropped by least use.
//!
//! Dropping code that calls still run on is fine: they hold it, and its memory goes when the last
//! of them ends.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use futures::{FutureExt as _, future::BoxFuture, future::Shared};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::{LoadError, code::Loaded};

/// Loading, as everybody who waits for it sees it.
type Loading = Shared<BoxFuture<'static, Result<Arc<Loaded>, Arc<LoadError>>>>;

/// The code of one module, or the place where it would be.
#[derive(Default)]
pub(crate) struct CodeSlot {
    state: Mutex<State>,
    used: AtomicU64,
}

#[derive(Default)]
enum State {
    #[default]
    Absent,
    Loading(Loading),
    Ready(Arc<Loaded>),
}

/// Somebody with a [`CodeSlot`].
pub(crate) trait HoldsCode: Send + Sync {
    fn slot(&self) -> &CodeSlot;
    /// The code was dropped: so must be whatever else keeps it mapped and can be done without.
    fn evicted(&self);
}

/// All slots that have code, and how much they may have together.
pub(crate) struct CodeCache {
    budget: u64,
    /// Where loading goes on, whether or not the caller that asked for it still waits.
    runtime: Handle,
    clock: AtomicU64,
    holders: Mutex<Vec<Weak<dyn HoldsCode>>>,
}

impl CodeSlot {
    pub(crate) fn is_loaded(&self) -> bool {
        matches!(*self.state.lock(), State::Ready(_))
    }

    /// Whether `loaded` is the code that the next call would get.
    pub(crate) fn holds(&self, loaded: &Arc<Loaded>) -> bool {
        matches!(&*self.state.lock(), State::Ready(ready) if Arc::ptr_eq(ready, loaded))
    }

    fn ready(&self) -> Option<Arc<Loaded>> {
        match &*self.state.lock() {
            State::Ready(loaded) => Some(Arc::clone(loaded)),
            _ => None,
        }
    }

    fn size(&self) -> Option<u64> {
        match &*self.state.lock() {
            State::Ready(loaded) => Some(loaded.size),
            _ => None,
        }
    }

    fn clear(&self) {
        let state = std::mem::take(&mut *self.state.lock());
        drop(state);
    }
}

impl CodeCache {
    pub(crate) fn new(budget: u64, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { budget, runtime, clock: AtomicU64::new(0), holders: Mutex::default() })
    }

    /// The code of `holder`, if it is loaded.
    pub(crate) fn ready(&self, holder: &impl HoldsCode) -> Option<Arc<Loaded>> {
        let slot = holder.slot();
        slot.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        slot.ready()
    }

    /// The code of `holder`, loaded by `load` if need be, by one caller for all that wait.
    pub(crate) async fn get<H: HoldsCode + 'static>(
        self: &Arc<Self>,
        holder: &Arc<H>,
        load: impl FnOnce() -> BoxFuture<'static, Result<Loaded, LoadError>>,
    ) -> Result<Arc<Loaded>, Arc<LoadError>> {
        let slot = holder.slot();
        let loading = {
            let mut state = slot.state.lock();
            match &*state {
                State::Ready(loaded) => return Ok(Arc::clone(loaded)),
                State::Loading(loading) => loading.clone(),
                State::Absent => {
                    let loading = self.start(holder, load());
                    *state = State::Loading(loading.clone());
                    loading
                }
            }
        };
        loading.await
    }

    fn start<H: HoldsCode + 'static>(
        self: &Arc<Self>,
        holder: &Arc<H>,
        load: BoxFuture<'static, Result<Loaded, LoadError>>,
    ) -> Loading {
        let cache = Arc::clone(self);
        let holder: Arc<dyn HoldsCode> = Arc::clone(holder) as _;
        let loading = self.runtime.spawn(async move {
            let loaded = load.await.map(Arc::new).map_err(Arc::new);
            *holder.slot().state.lock() = match &loaded {
                Ok(loaded) => State::Ready(Arc::clone(loaded)),
                Err(_) => State::Absent,
            };
            if loaded.is_ok() {
                cache.added(&holder);
            }
            loaded
        });
        let joined = async { loading.await.unwrap_or_else(|error| Err(interrupted(error))) };
        joined.boxed().shared()
    }

    /// Makes room for what `newest` has loaded.
    fn added(&self, newest: &Arc<dyn HoldsCode>) {
        let mut holders = self.holders.lock();
        holders.retain(|holder| holder.upgrade().is_some_and(|holder| holder.slot().is_loaded()));
        let mut loaded: Vec<_> = holders
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|holder| !std::ptr::addr_eq(Arc::as_ptr(holder), Arc::as_ptr(newest)))
            .collect();
        holders.retain(|holder| !std::ptr::addr_eq(holder.as_ptr(), Arc::as_ptr(newest)));
        holders.push(Arc::downgrade(newest));
        drop(holders);
        least_used_first(&mut loaded);
        let size = |holder: &Arc<dyn HoldsCode>| holder.slot().size().unwrap_or(0);
        let mut total = loaded.iter().map(size).sum::<u64>().saturating_add(size(newest));
        for holder in loaded {
            if total <= self.budget {
                break;
            }
            total = total.saturating_sub(size(&holder));
            holder.slot().clear();
            holder.evicted();
        }
    }
}

/// Calls go on using code meanwhile, so each is looked at once: an order that changes under the
/// sorting is none.
fn least_used_first<H: HoldsCode + ?Sized>(holders: &mut [Arc<H>]) {
    holders.sort_by_cached_key(|holder| holder.slot().used.load(Ordering::Relaxed));
}

fn interrupted(error: tokio::task::JoinError) -> Arc<LoadError> {
    Arc::new(LoadError::Interrupted(error))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    struct Holder(CodeSlot);

    impl HoldsCode for Holder {
        fn slot(&self) -> &CodeSlot {
            &self.0
        }

        fn evicted(&self) {}
    }

    #[test]
    fn use_may_change_while_the_least_used_is_looked_for() {
        let holders: Vec<_> = (0..200).map(|_| Arc::new(Holder(CodeSlot::default()))).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut clock = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    for holder in &holders {
                        clock = clock.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        holder.0.used.store(clock, Ordering::Relaxed);
                    }
                }
            });
            let mut sorted = holders.clone();
            let sorting = || (0..2000).for_each(|_| least_used_first(&mut sorted));
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(sorting));
            done.store(true, Ordering::Relaxed);
            assert!(panicked.is_ok());
        });
    }
}
