//! How old a connection gets.
//!
//! HTTP/2 connections last for as long as their clients, so a host that joins a fleet would stay
//! idle while others are busy. Each connection is told to go after a while, and its client connects
//! again, to whichever host is next. The ages differ, so that clients which came together, as all
//! do when a host ends, do not come together again.

use std::time::Duration;

/// The age of one connection: `age` and up to a fifth more or less, by a random number of 64 bits.
pub(crate) fn jittered(age: Duration, random: u64) -> Duration {
    let least = age / 5 * 4;
    let spread = (age / 5 * 2).as_nanos();
    let part = spread.saturating_mul(u128::from(random)) >> 64;
    least.saturating_add(Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ages_are_spread_over_a_fifth_to_both_sides() {
        let age = Duration::from_secs(600);
        assert_eq!(jittered(age, 0), Duration::from_secs(480));
        assert_eq!(jittered(age, 1 << 63), age);
        let most = jittered(age, u64::MAX);
        assert!(Duration::from_secs(719) < most && most <= Duration::from_secs(720), "{most:?}");
        assert_eq!(jittered(Duration::ZERO, u64::MAX), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_age_is_out_of_bounds(ms in 1_u64..1 << 40, random in any::<u64>()) {
            let age = Duration::from_millis(ms);
            let one = jittered(age, random);
            prop_assert!(age / 5 * 4 <= one && one <= age / 5 * 6);
        }
    }
}
