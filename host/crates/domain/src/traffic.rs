//! How the calls of a module that name no version are shared between its versions. Pure.
//!
//! Who decides on a split says at which revision; of two, the one of the higher revision holds.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Version;

/// Versions that one module's calls may be shared between.
pub const MOST_SHARES: usize = 16;

/// A split of a module's calls as of one revision; without shares, the word that there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Traffic {
    revision: u64,
    shares: Vec<(Version, u8)>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    revision: u64,
    shares: Vec<(Version, u8)>,
}

/// Why shares are no split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrafficError {
    #[error("a split has {MOST_SHARES} versions at most, not {0}")]
    TooMany(usize),
    #[error("version {0} is named twice")]
    Twice(Version),
    #[error("the percent of all versions must sum to 100, not to {0}")]
    Sum(u32),
}

impl Traffic {
    /// A split; versions with nothing are left out of it.
    ///
    /// # Errors
    /// [`TrafficError`].
    pub fn new(
        revision: u64,
        shares: impl IntoIterator<Item = (Version, u8)>,
    ) -> Result<Self, TrafficError> {
        let mut shares: Vec<_> = shares.into_iter().collect();
        if MOST_SHARES < shares.len() {
            return Err(TrafficError::TooMany(shares.len()));
        }
        let mut known = BTreeSet::new();
        if let Some((twice, _)) = shares.iter().find(|(version, _)| !known.insert(version)) {
            return Err(TrafficError::Twice(twice.clone()));
        }
        let sum: u32 = shares.iter().map(|(_, percent)| u32::from(*percent)).sum();
        if sum != 100 && !shares.is_empty() {
            return Err(TrafficError::Sum(sum));
        }
        shares.retain(|(_, percent)| *percent != 0);
        Ok(Self { revision, shares })
    }

    /// The word that there is no split.
    pub fn none(revision: u64) -> Self {
        Self { revision, shares: Vec::new() }
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Versions with their percent, none of them 0. Empty where calls are not split.
    pub fn shares(&self) -> &[(Version, u8)] {
        &self.shares
    }

    /// The one of two that holds: of the higher revision; of the same one, the first.
    pub fn newer(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) if one.revision < other.revision => Some(other),
            (Some(one), _) => Some(one),
            (None, other) => other,
        }
    }
}

impl TryFrom<Written> for Traffic {
    type Error = TrafficError;

    fn try_from(Written { revision, shares }: Written) -> Result<Self, TrafficError> {
        Self::new(revision, shares)
    }
}

impl From<Traffic> for Written {
    fn from(Traffic { revision, shares }: Traffic) -> Self {
        Self { revision, shares }
    }
}

/// Who of several gets which turn: by weight, and spread out.
///
/// Of every `total` turns that begin at a multiple of it, each gets exactly its weight. Where it
/// begins is another place each time, so that callers with a rhythm do not always meet the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turns {
    /// The end of each one's part of the turns, in order; the last is the total.
    ends: Vec<u64>,
    /// The step from one place to the next, which has no divisor in common with the total.
    step: u64,
}

impl Turns {
    /// None without any weight.
    pub fn new(weights: impl IntoIterator<Item = u8>) -> Option<Self> {
        let sum = |sum: &mut u64, weight: u8| {
            *sum += u64::from(weight);
            Some(*sum)
        };
        let ends: Vec<u64> = weights.into_iter().scan(0, sum).collect();
        let total = ends.last().copied().filter(|total| *total != 0)?;
        // Near the golden section, by which points on a circle are spread the most evenly.
        let near = total * 618 / 1000;
        let step = (near.max(1)..=total).find(|step| coprime(*step, total)).unwrap_or(1);
        Some(Self { ends, step })
    }

    /// Whose turn it is.
    pub fn whose(&self, turn: u64) -> usize {
        let total = self.ends.last().copied().unwrap_or(1);
        let (round, at) = (turn / total, turn % total);
        let place = (at * self.step + mixed(round) % total) % total;
        self.ends.partition_point(|end| *end <= place)
    }
}

fn coprime(a: u64, b: u64) -> bool {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// A number that looks like chance (SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(shares: &[(&str, u8)]) -> Result<Traffic, TrafficError> {
        let parsed = shares.iter().map(|(version, percent)| (version.parse().unwrap(), *percent));
        Traffic::new(7, parsed)
    }

    #[test]
    fn a_split_sums_to_all_calls() {
        let both = split(&[("0.1.0", 95), ("0.2.0", 5)]).unwrap();
        assert_eq!(both.shares().len(), 2);
        let one = split(&[("0.1.0", 100), ("0.2.0", 0)]).unwrap();
        assert_eq!(one.shares().len(), 1);
        assert_eq!(split(&[]).unwrap(), Traffic::none(7));
        assert_eq!(split(&[("0.1.0", 99)]), Err(TrafficError::Sum(99)));
        assert_eq!(split(&[("0.1.0", 0)]), Err(TrafficError::Sum(0)));
        assert_eq!(split(&[("0.1.0", 200), ("0.2.0", 156)]), Err(TrafficError::Sum(356)));
        let twice = split(&[("0.1.0", 50), ("0.1.0", 50)]);
        assert_eq!(twice, Err(TrafficError::Twice("0.1.0".parse().unwrap())));
        let many = (0..17).map(|patch| (format!("0.0.{patch}").parse().unwrap(), 1));
        assert_eq!(Traffic::new(7, many), Err(TrafficError::TooMany(17)));
    }

    #[test]
    fn what_is_kept_reads_as_it_was_or_not_at_all() {
        let both = split(&[("0.1.0", 95), ("0.2.0", 5)]).unwrap();
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<Traffic>(&text).unwrap(), both);
        assert!(serde_json::from_str::<Traffic>(&text.replace("95", "94")).is_err());
    }

    #[test]
    fn the_smaller_part_is_spread_over_the_turns() {
        let turns = Turns::new([95, 5]).unwrap();
        let smaller: Vec<u64> = (0..100).filter(|turn| turns.whose(*turn) == 1).collect();
        assert_eq!(smaller.len(), 5);
        assert!(smaller.windows(2).all(|pair| 10 < pair[1] - pair[0]), "{smaller:?}");
        // A caller with a rhythm of 20 calls meets it in one of 20, over many rounds.
        let met = (0..100_000).filter(|turn| turns.whose(turn * 20) == 1).count();
        assert!((4500..5500).contains(&met), "{met}");
        assert_eq!(Turns::new([]), None);
        assert_eq!(Turns::new([0, 0]), None);
        assert_eq!(Turns::new([0, 1]).unwrap().whose(3), 1);
    }

    fn some() -> impl Strategy<Value = Option<Traffic>> {
        let shares =
            prop_oneof![Just(vec![]), Just(vec![("0.1.0", 100)]), Just(vec![("0.2.0", 100)])];
        let one = (0..4_u64, shares).prop_map(|(revision, shares)| {
            let shares = shares.into_iter().map(|(version, part)| (version.parse().unwrap(), part));
            Traffic::new(revision, shares).unwrap()
        });
        proptest::option::of(one)
    }

    proptest! {
        #[test]
        fn each_gets_exactly_its_part(
            weights in proptest::collection::vec(0..=100_u8, 1..8),
            round in 0..u64::MAX / 1000,
        ) {
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let Some(turns) = Turns::new(weights.iter().copied()) else {
                prop_assert_eq!(total, 0);
                return Ok(());
            };
            let mut got = vec![0_u64; weights.len()];
            for turn in 0..total {
                got[turns.whose(round * total + turn)] += 1;
            }
            let expected: Vec<u64> = weights.iter().map(|weight| u64::from(*weight)).collect();
            prop_assert_eq!(got, expected);
            // No turn is nobody's, the very last ones among them.
            prop_assert!(turns.whose(u64::MAX) < weights.len());
        }

        #[test]
        fn the_newest_holds_in_whatever_order_they_come(all in proptest::collection::vec(some(), 0..6)) {
            let held = all.iter().cloned().fold(None, Traffic::newer);
            let highest = all.iter().flatten().map(Traffic::revision).max();
            prop_assert_eq!(held.as_ref().map(Traffic::revision), highest);
            // Of the same revision, the first.
            let first = all.iter().flatten().find(|one| Some(one.revision()) == highest);
            prop_assert_eq!(held.as_ref(), first);
        }
    }
}
