//! What becomes of a version that is written and not published: pure.

use std::time::Duration;

use roadstead_catalog::{LockChange, Refusal, Verdict};

use crate::assemble::STALE;

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// The host that pushed it may still be at work.
    Wait,
    /// Move the locks, which publishes it.
    Publish(Vec<LockChange>),
    /// Nobody will ever publish it, and nobody wrote it by hand.
    Delete,
    /// It is someone's own object: say what is wrong with it.
    Report(Refusal, String),
}

/// Decides about a version that this host has known for `age`. What hosts pushed is theirs for a
/// while; then it is completed if its locks still fit, and deleted if not: whoever pushed it was
/// never told that it is published. What was applied by hand is never deleted.
pub(crate) fn judge(verdict: Verdict, pushed: bool, age: Duration) -> Action {
    if pushed && age < STALE {
        return Action::Wait;
    }
    match verdict {
        Verdict::Follows(locks) => Action::Publish(locks),
        Verdict::Refused(_, _) if pushed => Action::Delete,
        Verdict::Refused(why, message) => Action::Report(why, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_while_for_its_own_push_and_a_person_keeps_the_object() {
        let follows = || Verdict::Follows(Vec::new());
        let refused = || Verdict::Refused(Refusal::LocksMoved, "moved".to_owned());
        let young = STALE - Duration::from_millis(1);
        for (verdict, pushed, age, expected) in [
            (follows(), true, young, Action::Wait),
            (refused(), true, young, Action::Wait),
            (follows(), true, STALE, Action::Publish(Vec::new())),
            (refused(), true, STALE, Action::Delete),
            (follows(), false, Duration::ZERO, Action::Publish(Vec::new())),
            (
                refused(),
                false,
                Duration::MAX,
                Action::Report(Refusal::LocksMoved, "moved".to_owned()),
            ),
        ] {
            assert_eq!(judge(verdict, pushed, age), expected);
        }
    }
}
