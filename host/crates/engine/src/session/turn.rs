//! A call's turn in a session.

use std::sync::{Arc, atomic::Ordering};

use roadstead_domain::Fault;
use tokio::sync::OwnedSemaphorePermit;

use super::{End, Inside, Session, Sessions, State};
use crate::{code::Loaded, overload};

/// What becomes of a session whose call was dropped while its guest ran.
const GIVEN_UP: &str = "a call in it was given up: its deadline passed or its caller left";

/// Whoever holds it has the session for itself. A call that is dropped before its guest began leaves
/// the session as it was; one that is dropped later ends it.
pub(crate) struct Turn {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    hold: Hold,
    /// Given back after all else.
    _permit: OwnedSemaphorePermit,
}

enum Hold {
    /// The instance has seen nothing of this call.
    Waiting(Inside),
    /// The call has it.
    Running,
    Over,
}

/// A call that waits for its turn.
struct Waiting<'a>(&'a Session);

impl Sessions {
    /// Waits for the session's turn, behind `queue` others at the most.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if as many wait, [`Fault::SessionLost`] or [`Fault::NoSuchHandle`] if the
    /// session ended before.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        session: Arc<Session>,
        queue: u64,
    ) -> Result<Turn, Fault> {
        let turns = Arc::clone(&session.turns);
        let permit = match Arc::clone(&turns).try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                let _waiting = Waiting::join(&session, queue).ok_or_else(overload::session)?;
                turns.acquire_owned().await
            }
        };
        let permit = permit.map_err(|_| self.ended(&session))?;
        let inside = session.take().ok_or_else(|| self.ended(&session))?;
        let (sessions, hold) = (Arc::clone(self), Hold::Waiting(inside));
        Ok(Turn { sessions, session, hold, _permit: permit })
    }

    fn ended(&self, session: &Session) -> Fault {
        self.table.lock().fault(session.number)
    }
}

impl Session {
    fn take(&self) -> Option<Inside> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Busy) {
            State::Idle { inside, .. } => Some(inside),
            other => {
                *state = other;
                None
            }
        }
    }
}

impl Turn {
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The code of the instance, unless the call has it by now.
    pub(crate) fn loaded(&self) -> Option<Arc<Loaded>> {
        match &self.hold {
            Hold::Waiting(inside) => Some(Arc::clone(&inside.guest.loaded)),
            Hold::Running | Hold::Over => None,
        }
    }

    /// Hands the instance to the call, once.
    pub(super) fn start(&mut self) -> Option<Inside> {
        match std::mem::replace(&mut self.hold, Hold::Running) {
            Hold::Waiting(inside) => Some(inside),
            Hold::Running | Hold::Over => None,
        }
    }

    /// The call was answered. A session without handles is over.
    pub(super) fn finish(mut self, inside: Inside) {
        self.hold = Hold::Over;
        if self.session.handles.lock().is_empty() {
            self.sessions.end(&self.session, End::Over);
        }
        self.session.put_back(inside);
    }

    /// The call ended otherwise, and the session with it.
    pub(super) fn fail(mut self, why: &'static str) {
        self.hold = Hold::Over;
        self.sessions.end(&self.session, End::Lost(why));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.hold, Hold::Over) {
            Hold::Waiting(inside) => self.session.put_back(inside),
            Hold::Running => self.sessions.end(&self.session, End::Lost(GIVEN_UP)),
            Hold::Over => {}
        }
    }
}

impl<'a> Waiting<'a> {
    fn join(session: &'a Session, queue: u64) -> Option<Self> {
        let one_more = |waiting: u64| (waiting < queue).then(|| waiting.saturating_add(1));
        let joined = session.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        joined.is_ok().then(|| Self(session))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
