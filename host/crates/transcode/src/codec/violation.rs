//! Why a request is refused, and where in it.

use roadstead_domain::{Fault, LimitReached};

use super::wire::Malformed;

/// A refusal on its way up, its path growing to the left.
#[derive(Debug)]
pub(super) enum Refusal {
    Limit(LimitReached),
    Violation {
        path: String,
        description: String,
    },
    /// What a handle leads to is not there.
    Handle(Fault),
}

impl Refusal {
    pub(super) fn here(description: impl Into<String>) -> Self {
        Self::Violation { path: String::new(), description: description.into() }
    }

    /// The same, seen from the message whose field or element `name` holds it.
    pub(super) fn within(self, name: &str) -> Self {
        match self {
            Self::Violation { path, description } => {
                let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
                Self::Violation { path: format!("{name}{dot}{path}"), description }
            }
            other @ (Self::Limit(_) | Self::Handle(_)) => other,
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::here(malformed.to_string())
    }
}

impl From<LimitReached> for Refusal {
    fn from(reached: LimitReached) -> Self {
        Self::Limit(reached)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Limit(reached) => Self::Limit(reached),
            Refusal::Violation { path, description } => Self::bad_input(path, description),
            Refusal::Handle(fault) => fault,
        }
    }
}
