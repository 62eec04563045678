//! What the instances of one module share of the network and of the host's descriptors, whichever
//! of its versions they are of.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Weak, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use roadstead_domain::{ByteRate, ModuleId, ModuleName, Namespace};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{sync::Semaphore, time::Instant};

use super::limit::Places;

/// Names that a module looks up at once. Few, because its own names may be slow on purpose, and
/// each lookup blocks a thread.
pub(super) const LOOKUPS: usize = 2;

/// Descriptors that a process may have where it has no limit.
const UNLIMITED: u64 = 1 << 20;

/// What may go out at once after a pause: so much of the rate.
const BURST: Duration = Duration::from_secs(1);

/// The shares of all modules that live. One per host.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    modules: Mutex<HashMap<(Namespace, ModuleName), Weak<Share>>>,
}

/// What the versions of one module have taken together.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) connections: Arc<AtomicU64>,
    /// Its part of the host's descriptors.
    pub(crate) descriptors: Arc<Places>,
    /// Turns to look up a name.
    pub(crate) lookups: Arc<Semaphore>,
    /// When what was sent so far is paid for.
    paid: Mutex<Instant>,
}

/// The rate at which a version may send, on the account of its module.
///
/// A sender never waits for bytes that it has not sent yet: it waits while the module is in debt.
/// So pieces of any size pass, and over time no more goes out than the rate allows.
#[derive(Debug, Clone)]
pub(crate) struct Egress {
    rate: ByteRate,
    share: Arc<Share>,
}

impl Shares {
    pub(crate) fn of(&self, id: &ModuleId) -> Arc<Share> {
        let mut modules = self.modules.lock();
        modules.retain(|_, share| 0 < share.strong_count());
        let place = modules.entry((id.namespace.clone(), id.name.clone())).or_default();
        place.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Share::new());
            *place = Arc::downgrade(&made);
            made
        })
    }
}

impl Share {
    fn new() -> Self {
        let now = Instant::now();
        let all = descriptors();
        Self {
            connections: Arc::default(),
            descriptors: Places::within((all.allowed() / 2).max(1), all),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            paid: Mutex::new(now.checked_sub(BURST).unwrap_or(now)),
        }
    }
}

/// Descriptors of the whole host that guests may have, so that the gateway never lacks them: half
/// of what the process may open.
fn descriptors() -> Arc<Places> {
    static PLACES: LazyLock<Arc<Places>> = LazyLock::new(|| Places::new(openable() / 2));
    Arc::clone(&PLACES)
}

/// What the process may open, after asking for all that it can get.
fn openable() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "raise the limit of file descriptors");
            limit.current
        }
    };
    allowed.unwrap_or(UNLIMITED)
}

impl Egress {
    pub(crate) fn new(rate: ByteRate, share: &Arc<Share>) -> Self {
        Self { rate, share: Arc::clone(share) }
    }

    /// When the module may send again; nothing if it may now.
    pub(crate) fn debt(&self) -> Option<Instant> {
        let paid = *self.share.paid.lock();
        (Instant::now() < paid).then_some(paid)
    }

    /// Waits until the module may send.
    pub(crate) async fn turn(&self) {
        while let Some(paid) = self.debt() {
            tokio::time::sleep_until(paid).await;
        }
    }

    /// Counts what goes out now.
    pub(crate) fn sent(&self, bytes: usize) {
        let nanos = u128::try_from(bytes)
            .unwrap_or(u128::MAX)
            .saturating_mul(1_000_000_000)
            .checked_div(self.rate.0.into())
            .and_then(|nanos| u64::try_from(nanos).ok())
            .unwrap_or(u64::MAX);
        let now = Instant::now();
        let mut paid = self.share.paid.lock();
        let from = (*paid).max(now.checked_sub(BURST).unwrap_or(now));
        // No call waits longer than its deadline, so that a day stands for ever.
        let cost = Duration::from_nanos(nanos).min(Duration::from_secs(86_400));
        *paid = from.checked_add(cost).unwrap_or(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::tests::harness::anyone;

    #[tokio::test(start_paused = true)]
    async fn a_module_sends_at_its_rate_after_a_second_in_advance() {
        let shares = Shares::default();
        let version = |name: &str| {
            let id = ModuleId { version: name.parse().unwrap(), ..anyone() };
            Egress::new(ByteRate(1000), &shares.of(&id))
        };
        let (old, new) = (version("0.1.0"), version("0.2.0"));
        let start = Instant::now();
        old.sent(1000);
        assert_eq!(new.debt(), None);
        // A piece of any size passes, and is paid for afterwards.
        old.sent(5000);
        new.turn().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        for _ in 0..10 {
            new.turn().await;
            new.sent(500);
        }
        assert!((9..=10).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        let other = ModuleId { name: "other".parse().unwrap(), ..anyone() };
        assert_eq!(Egress::new(ByteRate(1000), &shares.of(&other)).debt(), None);
    }

    #[tokio::test]
    async fn versions_share_descriptors_and_lookups_and_a_module_has_half_at_most() {
        let shares = Shares::default();
        let old = shares.of(&anyone());
        let new = shares.of(&ModuleId { version: "0.2.0".parse().unwrap(), ..anyone() });
        assert!(Arc::ptr_eq(&old.descriptors, &new.descriptors));
        assert!(Arc::ptr_eq(&old.lookups, &new.lookups));
        assert_eq!(old.descriptors.allowed(), descriptors().allowed() / 2);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[tokio::test(start_paused = true)]
    async fn huge_pieces_and_rates_do_not_overflow() {
        for rate in [1, u64::MAX] {
            let egress = Egress::new(ByteRate(rate), &Shares::default().of(&anyone()));
            egress.sent(usize::MAX);
            egress.sent(usize::MAX);
            assert!(egress.debt().is_some());
        }
    }
}
