//! When the calls of an open loop are due. Pure.

use std::time::Duration;

/// Calls at a steady rate, from the start on.
pub(crate) fn steady(rate: f64, time: Duration) -> impl Iterator<Item = Duration> {
    let gap = (0.0 < rate).then(|| Duration::from_secs_f64(1.0 / rate));
    gap.into_iter().flat_map(move |gap| {
        (0_u32..).map(move |number| gap * number).take_while(move |due| *due < time)
    })
}

/// Calls that come independently of each other (a Poisson process), the same for the same seed.
pub(crate) fn random(rate: f64, time: Duration, seed: u64) -> impl Iterator<Item = Duration> {
    let mut random = Random(seed);
    let mut due = 0.0;
    std::iter::from_fn(move || {
        // The gaps of a Poisson process are distributed exponentially.
        due -= (1.0 - random.fraction()).ln() / rate;
        Duration::try_from_secs_f64(due).ok().filter(|due| *due < time)
    })
}

/// SplitMix64: numbers that only look random, which is enough to choose among modules and moments.
pub(crate) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a fraction has")]
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `bound`, or 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_calls_have_the_same_gap() {
        let due: Vec<_> = steady(4.0, Duration::from_secs(1)).collect();
        assert_eq!(due, [0, 250, 500, 750].map(Duration::from_millis));
        assert_eq!(steady(0.0, Duration::from_secs(1)).count(), 0);
    }

    #[test]
    fn random_calls_come_in_order_at_their_rate_and_repeat_with_their_seed() {
        let minute = Duration::from_secs(60);
        let due: Vec<_> = random(1000.0, minute, 1).collect();
        assert!(due.is_sorted() && due.iter().all(|due| *due < minute));
        // Three standard deviations of a Poisson count of 60,000 are 735.
        assert!((59_265..=60_735).contains(&due.len()), "{}", due.len());
        let gaps: Vec<_> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let long = gaps.iter().filter(|gap| Duration::from_millis(1) < **gap).count();
        // Of exponential gaps, 1 in e is longer than the mean.
        let part =
            f64::from(u32::try_from(long).unwrap()) / f64::from(u32::try_from(gaps.len()).unwrap());
        assert!((part - (-1.0_f64).exp()).abs() < 0.01, "{part}");
        assert_eq!(random(1000.0, minute, 1).collect::<Vec<_>>(), due);
        assert_ne!(random(1000.0, minute, 2).collect::<Vec<_>>(), due);
        assert_eq!(random(0.0, minute, 1).count(), 0);
    }

    #[test]
    fn choices_are_below_their_bound() {
        let mut random = Random(7);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            seen[random.below(10)] = true;
        }
        assert_eq!(seen, [true; 10]);
        assert_eq!(random.below(0), 0);
    }
}
