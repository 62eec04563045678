//! Where the servers of a module's versions are found, and who is told that one is called.

use std::sync::Arc;

use roadstead_domain as domain;
use roadstead_native_plan::Standing;
use tokio::sync::watch;

use crate::{
    module::Module,
    server::Server,
    version::{Clock, Version},
};

/// The servers of one module, wherever they run.
pub(crate) trait Place: Send + Sync + 'static {
    /// The server with the fewest calls of those that answer for a version, but for these.
    fn pick(&self, version: &domain::Version, but: &[u64]) -> Option<Arc<Server>>;

    /// Changes when calls that wait for a server should look again.
    fn rounds(&self) -> watch::Receiver<u64>;

    /// How a version stands; none where that is not known yet.
    fn standing(&self, version: &domain::Version) -> Option<Standing>;

    fn is_wanted(&self, version: &domain::Version) -> bool;

    fn clock(&self) -> Clock;

    /// A call of a version begins; whether no other ran.
    fn called(&self, version: &Version, is_first: bool);
}

impl Place for Module {
    fn pick(&self, version: &domain::Version, but: &[u64]) -> Option<Arc<Server>> {
        self.pick(version, but)
    }

    fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds()
    }

    fn standing(&self, version: &domain::Version) -> Option<Standing> {
        self.standing(version)
    }

    fn is_wanted(&self, version: &domain::Version) -> bool {
        self.is_wanted(version)
    }

    fn clock(&self) -> Clock {
        self.ground.clock
    }

    fn called(&self, version: &Version, is_first: bool) {
        if is_first && version.native.idle.is_some() {
            self.changed.notify_one();
        }
    }
}
