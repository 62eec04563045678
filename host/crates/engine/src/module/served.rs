//! A module whose calls a [`Remote`] answers: no code, instances or sessions of this host's.

use std::{ops::Deref, sync::Arc};

use super::common::Common;
use crate::{CodeState, Remote, Stats};

/// What the calls of a module that is served outside of the sandbox share.
pub(crate) struct Served {
    pub(crate) common: Arc<Common>,
    pub(crate) remote: Arc<dyn Remote>,
}

impl Served {
    pub(crate) fn stats(&self) -> Stats {
        Stats { loaded: self.remote.state() == CodeState::There, ..self.common.stats() }
    }
}

impl Deref for Served {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}
