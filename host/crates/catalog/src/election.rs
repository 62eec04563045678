//! One host of many for a task.

use async_trait::async_trait;

use crate::CatalogError;

/// Chooses one of the hosts that share a catalog for a task that only one of them should do. It
/// spares work and guards nothing: a host that was taken for dead may still be at it.
#[async_trait]
pub trait Election: Send + Sync + 'static {
    /// Makes this host the one for `task` (lower-case letters, digits and `-`), if no other is:
    /// until the office is dropped, or this host ends or cannot say any more that it is at it.
    async fn stand(&self, task: &str) -> Result<Option<Box<dyn Office>>, CatalogError>;
}

/// A task that this host was chosen for. Dropping it gives it up.
pub trait Office: Send + Sync {
    /// Whether no other host has taken it over, as far as this one knows.
    fn is_held(&self) -> bool;
}
