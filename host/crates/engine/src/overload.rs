//! The refusals of a host that is full for now.

use std::time::Duration;

use roadstead_domain::Fault;

use crate::gate::Level;

/// No instance can be made: all slots are taken and none became free in time.
pub(crate) fn slots() -> Fault {
    Fault::Overloaded { what: "host's pool of instances", retry_after: Duration::from_millis(100) }
}

/// The memory budget of the host is used up, or a part of it.
pub(crate) fn memory(level: Level) -> Fault {
    let what = match level {
        Level::Module => "module's part of the memory budget",
        Level::Namespace => "namespace's part of the memory budget",
        Level::Whole => "host's memory budget",
    };
    Fault::Overloaded { what, retry_after: Duration::from_millis(250) }
}

/// Calls that run at the same time leave too little room for this one's values.
pub(crate) fn values() -> Fault {
    Fault::Overloaded { what: "host's room for values", retry_after: Duration::from_millis(100) }
}

/// No more sessions: others must end first.
pub(crate) fn sessions(level: Level) -> Fault {
    let what = match level {
        Level::Module => {
            "module's number of sessions (`instances.sessions`, or its part of the host)"
        }
        Level::Namespace => "namespace's part of the room for sessions",
        Level::Whole => "host's room for sessions",
    };
    Fault::Overloaded { what, retry_after: Duration::from_secs(1) }
}

/// As many calls wait for a session as may.
pub(crate) fn session() -> Fault {
    Fault::Overloaded { what: "session's queue", retry_after: Duration::from_millis(100) }
}

/// The module's own queue is full.
pub(crate) fn queue(retry_after: Duration) -> Fault {
    let retry_after = retry_after.clamp(Duration::from_millis(5), Duration::from_secs(5));
    Fault::Overloaded { what: "module's queue", retry_after }
}
