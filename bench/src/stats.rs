//! Percentiles, medians and ratios. Pure.

use std::time::Duration;

/// The latency that so many of a hundred calls did not exceed (nearest rank); nothing of nothing.
pub(crate) fn percentile(latencies: &mut [Duration], part: usize) -> Option<Duration> {
    latencies.sort_unstable();
    let rank = (latencies.len() * part).div_ceil(100).max(1);
    latencies.get(rank - 1).copied()
}

/// The middle one, or what lies between the two middle ones.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// The median of the rounds' ratios: a noisy moment hits both of a round, so it cancels out.
pub(crate) fn ratio(values: &[f64], of: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> =
        values.iter().zip(of).filter(|(_, of)| **of != 0.0).map(|(value, of)| value / of).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut ms(&hundred), 50), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&mut ms(&hundred), 99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&mut ms(&hundred), 100), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&mut ms(&[7]), 99), Some(Duration::from_millis(7)));
        assert_eq!(percentile(&mut ms(&[7, 9]), 0), Some(Duration::from_millis(7)));
        assert_eq!(percentile(&mut [], 50), None);
    }

    #[test]
    fn medians_lie_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was half as fast in the second round: the ratio is the same.
        assert_eq!(ratio(&[80.0, 40.0], &[100.0, 50.0]), Some(0.8));
        assert_eq!(ratio(&[1.0], &[0.0]), None);
        assert_eq!(ratio(&[], &[]), None);
    }
}
