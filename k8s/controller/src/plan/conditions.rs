//! Conditions that change their time only with their status.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use roadstead_k8s_api::{Condition, ConditionKind, ConditionStatus, Reason};

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Says {
    pub(super) status: ConditionStatus,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Says {
    pub(super) fn new(status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    pub(super) fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::True, reason, message)
    }

    pub(super) fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::False, reason, message)
    }

    pub(super) fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::Unknown, reason, message)
    }
}

/// Where conditions are written: what stands there, for which generation, at which time.
#[derive(Clone, Copy)]
pub(super) struct Paper<'a> {
    pub(super) old: &'a [Condition],
    pub(super) generation: Option<i64>,
    pub(super) now: Timestamp,
}

impl Paper<'_> {
    pub(super) fn old(&self, kind: ConditionKind) -> Option<&Condition> {
        self.old.iter().find(|condition| condition.kind == kind)
    }

    pub(super) fn write(&self, kind: ConditionKind, says: Says) -> Condition {
        let Says { status, reason, message } = says;
        let old = self.old(kind).filter(|old| old.status == status);
        let since = old.map_or(Time(self.now), |old| old.last_transition_time.clone());
        Condition {
            kind,
            status,
            reason,
            message,
            observed_generation: self.generation,
            last_transition_time: since,
        }
    }
}

/// Whether one of these conditions stands there otherwise, or not at all.
pub(super) fn differ(seen: &[Condition], wanted: &[Condition]) -> bool {
    wanted.iter().any(|condition| !seen.contains(condition))
}

/// Names, as many as one reads.
pub(super) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `1 host`, `2 hosts`.
pub(super) fn hosts(count: usize) -> String {
    if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") }
}
