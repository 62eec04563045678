//! Room on the host for what a server answers, while the answer arrives.
//!
//! It is charged to the module's part of the host's budget for values as it grows, whatever length
//! was announced, and never waits: whoever finds no more room ends the call.

use std::fmt;

use roadstead_domain::Fault;

use crate::{
    gate::{Ask, Gate, Lane, Taken},
    overload,
};

/// What every answer may have uncharged, so that small ones never fail for large ones.
const LITTLE: u64 = 64 << 10;

/// Where the answers of one module find room.
#[derive(Clone)]
pub struct AnswerRoom(Lane);

/// The room that one answer has. Given back on drop.
#[derive(Debug)]
pub struct AnswerHold {
    lane: Lane,
    taken: Option<Taken>,
}

impl AnswerRoom {
    pub(crate) fn new(lane: &Lane) -> Self {
        Self(lane.clone())
    }

    /// Room of its own, beside the host's budget.
    pub fn of_bytes(most: u64) -> Self {
        let gate = Gate::new(most);
        Self(gate.lane(&gate.part(most), most))
    }

    /// For an answer of which nothing has arrived.
    pub fn hold(&self) -> AnswerHold {
        AnswerHold { lane: self.0.clone(), taken: None }
    }
}

impl fmt::Debug for AnswerRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerRoom").finish_non_exhaustive()
    }
}

impl AnswerHold {
    /// Makes it so much: what has arrived and is not passed on.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the budget has no more room for this module.
    pub fn set(&mut self, bytes: usize) -> Result<(), Fault> {
        let count = u64::try_from(bytes).unwrap_or(u64::MAX);
        if count <= LITTLE {
            self.taken = None;
            return Ok(());
        }
        let Some(taken) = &mut self.taken else {
            let ask = Ask { count, most: u64::MAX };
            self.taken = Some(self.lane.try_take(ask).map_err(|_| overload::values())?);
            return Ok(());
        };
        taken.grow_to(count, u64::MAX).map_err(|_| overload::values())?;
        taken.shrink_to(count);
        Ok(())
    }
}
