//! A point in time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, counted from one that whoever observes chose once: the start of its process, or
/// 1970 where moments outlive it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Moment(pub Duration);

impl Moment {
    /// So much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long `earlier` is ago; zero where it is to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
