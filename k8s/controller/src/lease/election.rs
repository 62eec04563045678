//! Whether the Lease may be taken: pure, by what this replica saw change and when.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::LeaseSpec;

/// What to do about the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// It is this replica's: say so again.
    Renew,
    /// It is nobody's, or its holder is gone.
    Take,
    /// It is another's.
    Wait,
}

/// The Lease as it was last seen, and since when it looks like that.
#[derive(Debug, Default)]
pub(super) struct Observed {
    last: Option<(LeaseSpec, Instant)>,
}

impl Observed {
    pub(super) fn see(&mut self, spec: Option<&LeaseSpec>, now: Instant) {
        match (spec, &self.last) {
            (Some(spec), Some((last, _))) if spec == last => {}
            (Some(spec), _) => self.last = Some((spec.clone(), now)),
            (None, _) => self.last = None,
        }
    }

    pub(super) fn next(&self, me: &str, now: Instant) -> Move {
        let Some((lease, since)) = &self.last else { return Move::Take };
        match lease.holder_identity.as_deref() {
            None | Some("") => Move::Take,
            Some(holder) if holder == me => Move::Renew,
            Some(_) => {
                let seconds = lease.lease_duration_seconds.unwrap_or_default();
                let lasts = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
                let unchanged = now.saturating_duration_since(*since);
                if lasts < unchanged { Move::Take } else { Move::Wait }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};

    use super::*;

    fn lease(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_another_s_until_it_stood_still_for_its_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut observed = Observed::default();
        assert_eq!(observed.next("me", start), Move::Take, "there is none");
        // Whatever the holder's clock says: years ago, or years ahead.
        for (begin, renewed) in [(0, 0), (100, 4_000_000_000)] {
            observed.see(Some(&lease("other", renewed)), at(begin));
            observed.see(Some(&lease("other", renewed)), at(begin + 14));
            assert_eq!(observed.next("me", at(begin + 15)), Move::Wait);
            assert_eq!(observed.next("me", at(begin + 16)), Move::Take);
            observed.see(Some(&lease("other", renewed + 1)), at(begin + 16));
            assert_eq!(observed.next("me", at(begin + 30)), Move::Wait, "it was renewed");
        }
        observed.see(Some(&lease("me", 1)), at(200));
        assert_eq!(observed.next("me", at(1000)), Move::Renew);
        observed.see(Some(&lease("", 2)), at(201));
        assert_eq!(observed.next("me", at(201)), Move::Take, "it was given back");
        observed.see(None, at(202));
        assert_eq!(observed.next("me", at(202)), Move::Take);
    }
}
