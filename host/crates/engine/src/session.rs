//! Sessions: instances that live on between calls because callers hold handles of their resources.
//!
//! - A handle's id is sealed by the host and names it: nobody else can make one, or use that of
//!   another caller or for another resource. Only its own host has the session.
//! - The calls of one session run one after the other, in the order in which they came; at most
//!   `quota.queue` of them wait. Different sessions run in parallel.
//! - A session ends when its last handle is dropped or given away, when no call came for
//!   `limits.session_idle`, when its version is deleted or the host stops, and when a call in it does
//!   not end in an answer. Its instance goes with it, without running destructors.
//! - Sessions hold instance slots and memory like running calls do: half of the host's slots at the
//!   most, and half of that for one module. Nothing ends a session to make room for another.

mod call;
mod handles;
mod id;
mod turn;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use roadstead_domain::{Fault, HostName, ModuleId};
use roadstead_transcode::{HandlePlan, first_handle};
use tokio::sync::{Notify, Semaphore};

use crate::{
    Call,
    gate::{Ask, Taken},
    instance::Guest,
    module::Inner,
    overload,
};

pub(crate) use call::{Place, answer, begin, call_handles, turn};
use handles::HandleTable;
pub use id::SessionKey;
use id::{HandleId, Seal};
pub(crate) use turn::Turn;

/// How late an idle session may end.
const LATENESS: Duration = Duration::from_millis(500);

/// Sessions that were lost and whose callers are told why.
const REMEMBERED: usize = 10_000;

/// All sessions of a host.
pub(crate) struct Sessions {
    seal: Seal,
    table: Mutex<Table>,
    opened: Notify,
}

#[derive(Default)]
struct Table {
    live: HashMap<u64, Arc<Session>>,
    /// The oldest first.
    lost: VecDeque<u64>,
    why: HashMap<u64, &'static str>,
}

/// Where a session lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionPlace {
    /// On this host, which runs it on this version.
    Here(ModuleId),
    /// On another host of the pool.
    There(HostName),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nobody holds a handle of it, or nobody used one for so long.
    Over,
    /// Before its time.
    Lost(&'static str),
}

/// One session.
pub(crate) struct Session {
    number: u64,
    module: ModuleId,
    owner: Option<Arc<str>>,
    /// How long it may lie idle.
    idle: Duration,
    /// One place; whoever has it may touch the instance.
    turns: Arc<Semaphore>,
    waiting: AtomicU64,
    handles: Mutex<HandleTable>,
    state: Mutex<State>,
}

enum State {
    /// A call has the instance.
    Busy,
    Idle {
        inside: Inside,
        since: Instant,
    },
    Ended,
}

/// The instance of a session and its places.
pub(crate) struct Inside {
    guest: Box<Guest>,
    _berth: Berth,
}

/// A place for one session.
pub(crate) struct Berth {
    _place: Taken,
    _counted: Counted,
}

/// Counts a session of a version for as long as it lives.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sessions {
    pub(crate) fn new(key: &SessionKey) -> Arc<Self> {
        let table = Mutex::default();
        Arc::new(Self { seal: Seal::new(key), table, opened: Notify::new() })
    }

    /// The session that a call runs in, by its first handle; none where it has none.
    ///
    /// # Errors
    /// [`Fault::NoSuchHandle`] or [`Fault::SessionLost`].
    pub(crate) fn of(&self, call: &Call) -> Result<Option<Arc<Session>>, Fault> {
        self.first(call)?.map(|id| self.session(&id)).transpose()
    }

    /// Where that session lives.
    ///
    /// # Errors
    /// [`Fault::NoSuchHandle`] or [`Fault::SessionLost`].
    pub(crate) fn place(&self, call: &Call) -> Result<Option<SessionPlace>, Fault> {
        let Some(id) = self.first(call)? else { return Ok(None) };
        if !self.seal.is_of_this_host(&id) {
            return Ok(Some(SessionPlace::There(id.host)));
        }
        Ok(Some(SessionPlace::Here(self.session(&id)?.module().clone())))
    }

    /// What the first handle of a call names.
    fn first(&self, call: &Call) -> Result<Option<HandleId>, Fault> {
        if !call.method.takes_handles() {
            return Ok(None);
        }
        let opened = |(handle, id): (&HandlePlan, &[u8])| {
            self.seal.open(id, &handle.resource, call.owner.as_deref()).ok_or(Fault::NoSuchHandle)
        };
        first_handle(&call.method, &call.request).map(opened).transpose()
    }

    fn session(&self, id: &HandleId) -> Result<Arc<Session>, Fault> {
        if !self.seal.is_of_this_host(id) {
            return Err(Fault::SessionLost("it is on another host"));
        }
        if !self.seal.is_of_this_life(id) {
            return Err(Fault::SessionLost("the host was started anew"));
        }
        let table = self.table.lock();
        let live = table.live.get(&id.session).cloned();
        live.ok_or_else(|| table.fault(id.session))
    }

    /// A place for a session that a call of `module` may open.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] where there is none.
    pub(crate) fn berth(&self, module: &Inner, slots: u64) -> Result<Berth, Fault> {
        let most = module.spec.instances.sessions.saturating_mul(slots);
        let place = module.parts.sessions.try_take(Ask { count: slots, most });
        let place = place.map_err(overload::sessions)?;
        Ok(Berth { _place: place, _counted: Counted::new(&module.sessions) })
    }

    /// A session that nobody knows yet.
    fn prepare(&self, module: &Inner, owner: Option<Arc<str>>) -> Arc<Session> {
        Arc::new(Session {
            number: rand::random(),
            module: module.id.clone(),
            owner,
            idle: module.spec.limits.session_idle.duration(),
            turns: Arc::new(Semaphore::new(1)),
            waiting: AtomicU64::new(0),
            handles: Mutex::default(),
            state: Mutex::new(State::Busy),
        })
    }

    /// Opens a session for the calls that follow. One whose handles are all gone ends at once, as
    /// does one of a version that was deleted meanwhile.
    fn open(&self, module: &Inner, session: &Arc<Session>, inside: Inside) {
        let mut table = self.table.lock();
        if module.retired.load(Ordering::Relaxed) || session.handles.lock().is_empty() {
            drop(table);
            return drop(inside);
        }
        session.put_back(inside);
        table.live.insert(session.number, Arc::clone(session));
        drop(table);
        self.opened.notify_one();
    }

    fn end(&self, session: &Session, end: End) {
        self.table.lock().remove(session.number, end);
        let state = session.end();
        drop(state);
    }

    /// Ends the sessions of a version, for good: it opens no others.
    pub(crate) fn retire(&self, module: &Inner, why: &'static str) {
        let ending: Vec<_> = {
            let mut table = self.table.lock();
            module.retired.store(true, Ordering::Relaxed);
            let of_module = table.live.values().filter(|session| session.module == module.id);
            let ending: Vec<_> = of_module.cloned().collect();
            ending.iter().for_each(|session| table.remove(session.number, End::Lost(why)));
            ending
        };
        ending.iter().for_each(|session| drop(session.end()));
    }

    /// Ends every session.
    pub(crate) fn clear(&self, why: &'static str) {
        let ending: Vec<_> = self.table.lock().live.values().cloned().collect();
        ending.iter().for_each(|session| self.end(session, End::Lost(why)));
    }

    /// Those that are open.
    pub(crate) fn open_now(&self) -> usize {
        self.table.lock().live.len()
    }

    /// Ends those that lie idle for too long; says whether any are left.
    fn expire(&self, now: Instant) -> bool {
        let live: Vec<_> = self.table.lock().live.values().cloned().collect();
        for session in &live {
            if let Some(state) = session.expire(now) {
                self.table.lock().remove(session.number, End::Over);
                drop(state);
            }
        }
        !self.table.lock().live.is_empty()
    }
}

impl Table {
    fn remove(&mut self, number: u64, end: End) {
        if self.live.remove(&number).is_none() {
            return;
        }
        let End::Lost(why) = end else { return };
        self.why.insert(number, why);
        self.lost.push_back(number);
        if REMEMBERED < self.lost.len()
            && let Some(oldest) = self.lost.pop_front()
        {
            self.why.remove(&oldest);
        }
    }

    /// Why a session is not there.
    fn fault(&self, number: u64) -> Fault {
        self.why.get(&number).map_or(Fault::NoSuchHandle, |why| Fault::SessionLost(why))
    }
}

impl Session {
    pub(crate) fn module(&self) -> &ModuleId {
        &self.module
    }

    /// Lies idle from now on, unless it ended meanwhile.
    fn put_back(&self, mut inside: Inside) {
        inside.guest.settle();
        let mut state = self.state.lock();
        if !matches!(*state, State::Ended) {
            *state = State::Idle { inside, since: Instant::now() };
            return;
        }
        drop(state);
        drop(inside);
    }

    /// What is left of it, to be dropped where nothing is locked.
    #[must_use]
    fn end(&self) -> State {
        self.turns.close();
        std::mem::replace(&mut self.state.lock(), State::Ended)
    }

    #[must_use]
    fn expire(&self, now: Instant) -> Option<State> {
        let mut state = self.state.lock();
        match &*state {
            State::Idle { since, .. } if self.idle <= now.saturating_duration_since(*since) => {}
            _ => return None,
        }
        self.turns.close();
        Some(std::mem::replace(&mut state, State::Ended))
    }
}

/// Ends sessions that lie idle for too long, for as long as the engine lives; sleeps while there
/// are none.
pub(crate) async fn sweep(sessions: Weak<Sessions>) {
    loop {
        let Some(all) = sessions.upgrade() else { return };
        if all.expire(Instant::now()) {
            drop(all);
            tokio::time::sleep(LATENESS).await;
        } else {
            all.opened.notified().await;
        }
    }
}
