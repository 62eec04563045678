//! Random bytes: the operating system's, or a sequence that is the same for every call.
//!
//! Every way to draw them counts against `limits.random` of the call, and nothing is made before
//! it is paid for. Runs per host call.

use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use roadstead_domain::Random;
use wasmtime::component::HasData;
use wasmtime_wasi::p2::bindings::random as p2;
use wasmtime_wasi::p3::bindings::random as p3;

use super::limit::Account;

/// The most that one call may draw, whatever its spec asks for, and so the most that one host call
/// makes: it is one allocation of the host, and the guest's thread is not given back meanwhile.
pub(crate) const LARGEST: u64 = 16 << 20;

/// The seed of every seeded generator.
const SEED: u64 = 0x0052_6f61_6473_7465;

/// Where an instance's random bytes come from.
pub(crate) struct RandomSource {
    generator: Generator,
    account: Arc<Account>,
}

enum Generator {
    System,
    Seeded(Xoshiro256PlusPlus),
}

impl Generator {
    fn seeded() -> Self {
        Self::Seeded(Xoshiro256PlusPlus::seed_from_u64(SEED))
    }
}

/// Marks the random interfaces in the linker.
pub(crate) struct HasRandom;

impl HasData for HasRandom {
    type Data<'a> = &'a mut RandomSource;
}

impl RandomSource {
    pub(crate) fn new(random: Random, account: Arc<Account>) -> Self {
        let generator = match random {
            Random::Real => Generator::System,
            Random::Seeded => Generator::seeded(),
        };
        Self { generator, account }
    }

    /// A reused instance starts another call: it draws what the first one drew.
    pub(crate) fn begin_call(&mut self) {
        if matches!(self.generator, Generator::Seeded(_)) {
            self.generator = Generator::seeded();
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        match &mut self.generator {
            Generator::System => rand::rng().fill_bytes(bytes),
            Generator::Seeded(generator) => generator.fill_bytes(bytes),
        }
    }

    fn bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.account.draw(length)?;
        wasmtime::ensure!(length <= LARGEST, "more than {LARGEST} random bytes at once");
        let mut bytes = vec![0; usize::try_from(length)?];
        self.fill(&mut bytes);
        Ok(bytes)
    }

    fn word(&mut self) -> wasmtime::Result<u64> {
        self.account.draw(8)?;
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.word()?, self.word()?))
    }
}

impl p2::random::Host for RandomSource {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.word()
    }
}

impl p2::insecure::Host for RandomSource {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.word()
    }
}

impl p2::insecure_seed::Host for RandomSource {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.seed()
    }
}

impl p3::random::Host for RandomSource {
    /// 0.3 allows answers that are shorter than what was asked for.
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length.min(LARGEST))
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.word()
    }
}

impl p3::insecure::Host for RandomSource {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length.min(LARGEST))
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.word()
    }
}

impl p3::insecure_seed::Host for RandomSource {
    fn get_insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.seed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::limit::LimitTrap;
    use roadstead_domain::{ByteSize, LimitKind, Limits};

    fn source(random: Random, allowed: u64) -> RandomSource {
        let limits = Limits { random: ByteSize(allowed), ..Limits::default() };
        RandomSource::new(random, Account::new(&limits))
    }

    #[test]
    fn seeded_instances_draw_the_same_and_real_ones_do_not() {
        let draw = |random| source(random, 64).bytes(32).unwrap();
        assert_eq!(draw(Random::Seeded), draw(Random::Seeded));
        assert_ne!(draw(Random::Real), draw(Random::Real));
    }

    #[test]
    fn every_way_to_draw_counts() {
        let mut source = source(Random::Seeded, 100);
        p2::random::Host::get_random_bytes(&mut source, 10).unwrap();
        p2::random::Host::get_random_u64(&mut source).unwrap();
        p2::insecure::Host::get_insecure_random_bytes(&mut source, 10).unwrap();
        p2::insecure::Host::get_insecure_random_u64(&mut source).unwrap();
        p2::insecure_seed::Host::insecure_seed(&mut source).unwrap();
        p3::random::Host::get_random_bytes(&mut source, 10).unwrap();
        p3::random::Host::get_random_u64(&mut source).unwrap();
        p3::insecure::Host::get_insecure_random_bytes(&mut source, 4).unwrap();
        p3::insecure::Host::get_insecure_random_u64(&mut source).unwrap();
        p3::insecure_seed::Host::get_insecure_seed(&mut source).unwrap();
        let error = source.bytes(3).unwrap_err();
        let reached = error.downcast_ref::<LimitTrap>().unwrap().0;
        assert_eq!((reached.limit, reached.used), (LimitKind::Random, Some(101)));
    }

    #[test]
    fn no_spec_makes_one_host_call_allocate_without_bound() {
        assert!(source(Random::Seeded, u64::MAX).bytes(u64::MAX / 2).is_err());
    }
}
