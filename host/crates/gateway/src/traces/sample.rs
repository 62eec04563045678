//! Which calls are traced.

use std::sync::atomic::{AtomicU64, Ordering};

use roadstead_domain::CallId;
use tokio::time::Instant;

use crate::{app::random, trace::Parent};

pub(super) struct Sampler {
    /// The part of calls without a parent, of 0 to 1.
    part: f64,
    seed: u64,
    per_second: u64,
    since: Instant,
    /// The second that is counted, after `since`, and calls taken in it.
    second: AtomicU64,
    taken: AtomicU64,
    too_many: AtomicU64,
}

impl Sampler {
    pub(super) fn new(part: f64, per_second: u64) -> Self {
        Self {
            part,
            seed: random(),
            per_second,
            since: Instant::now(),
            second: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            too_many: AtomicU64::new(0),
        }
    }

    /// Whether the call is traced: as its caller decided, else by chance.
    pub(super) fn takes(&self, parent: Option<&Parent>, call: CallId) -> bool {
        let wanted = match parent {
            Some(parent) => parent.sampled,
            None => fraction(call.0 ^ self.seed) < self.part,
        };
        wanted && self.has_room(self.since.elapsed().as_secs())
    }

    fn has_room(&self, second: u64) -> bool {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.taken.store(0, Ordering::Relaxed);
        }
        let room = self.taken.fetch_add(1, Ordering::Relaxed) < self.per_second;
        if !room {
            self.too_many.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    pub(super) fn too_many(&self) -> u64 {
        self.too_many.load(Ordering::Relaxed)
    }
}

/// A number of 0 to 1, spread evenly though calls are counted up (splitmix64).
fn fraction(call: u64) -> f64 {
    let mixed = call.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mixed = mixed ^ (mixed >> 31);
    f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(sampled: bool) -> Parent {
        Parent { trace: 1, span: 2, sampled }
    }

    #[test]
    fn a_caller_decides_and_chance_where_it_does_not() {
        for (part, expected) in [(0.0, 0..=0), (1.0, 10_000..=10_000), (0.25, 2_000..=3_000)] {
            let sampler = Sampler::new(part, u64::MAX);
            let taken = (0..10_000).filter(|call| sampler.takes(None, CallId(*call))).count();
            assert!(expected.contains(&taken), "{part}: {taken}");
            assert!(sampler.takes(Some(&parent(true)), CallId(1)));
            assert!(!sampler.takes(Some(&parent(false)), CallId(1)));
        }
    }

    #[test]
    fn a_second_has_so_many_whoever_wants_them() {
        let sampler = Sampler::new(1.0, 10);
        assert_eq!((0..100).filter(|_| sampler.has_room(1)).count(), 10);
        assert_eq!(sampler.too_many(), 90);
        assert!(sampler.has_room(2));
        let none = Sampler::new(1.0, 0);
        assert!(!none.takes(Some(&parent(true)), CallId(1)));
    }
}
