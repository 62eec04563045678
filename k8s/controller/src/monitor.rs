//! What the port of metrics shows of a controller: its metrics, and whether it could take over.

use std::{fmt, sync::Arc};

use roadstead_metrics_port::Monitored;

use crate::{
    lease::{Leadership, Role},
    metrics::Metrics,
    reconcile::Health,
};

/// What is shown.
#[derive(Clone)]
pub(crate) struct Monitor {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) leadership: Leadership,
}

impl Monitored for Monitor {
    fn metrics(&self) -> Result<String, fmt::Error> {
        self.metrics.text()
    }

    fn unready(&self) -> Option<&'static str> {
        if self.leadership.role() == Role::Unknown {
            return Some("the lease was not seen yet");
        }
        if !self.health.is_current() {
            return Some("the watches are not up to date");
        }
        None
    }
}
