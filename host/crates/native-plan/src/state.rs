//! How versions and their servers stand, for people and for callers.

use serde::Serialize;

use crate::{Attempt, End, Moment};

/// How the servers of a version stand together, or one by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum State {
    /// It is not to run.
    Off,
    /// Nobody called it for so long that its servers ended; a call begins them.
    Idle,
    Starting,
    Ready,
    Draining,
    /// It failed and is tried again; why.
    BackingOff(String),
    /// It is not tried again by itself; why.
    Failed(String),
}

/// How a version stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub state: State,
    /// When it is tried again, where that is not now.
    pub retry: Option<Moment>,
}

impl Attempt {
    /// How this server stands.
    pub fn state(&self) -> State {
        match &self.ended {
            Some(ended) => match &ended.how {
                End::Drained => State::Off,
                End::Failed(why) | End::Mismatch(why) => State::Failed(why.clone()),
            },
            None if self.draining.is_some() => State::Draining,
            None if self.answers() => State::Ready,
            None => State::Starting,
        }
    }
}
