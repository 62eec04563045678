//! A call of a method that takes handles or gives some.
//!
//! It goes the way of all calls, but for two things: whoever uses a session waits for its turn there
//! before it takes a place of the module, and an instance with handles outlives the call.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use roadstead_domain::{Fault, InstanceOrigin, LimitKind};
use roadstead_transcode::{Action, decode_request_with};
use tokio::sync::oneshot;
use wasmtime::component::Val;

use super::{
    Berth, Inside, Session, Turn,
    handles::{CallHandles, HandleTable},
};
use crate::{
    Call,
    admission::Admitted,
    breaker::Pass,
    call::{Running, admissible, awaited, decode_in, export, judge, pass, send},
    capability::CallContext,
    code::{Export, Loaded},
    instance::{Guest, Site, slots_of},
    module::Inner,
    room::Room,
    store::Meter,
    timing::timed,
};

/// Everything that a guest thread needs for the call.
struct Job {
    module: Arc<Inner>,
    call: Call,
    deadline: Instant,
    /// None where a resource is dropped.
    export: Option<Export>,
    place: Place,
    meter: Arc<Meter>,
    reply: oneshot::Sender<Result<Bytes, Fault>>,
    pass: Pass,
    _running: Running,
    _admitted: Admitted,
}

/// Where the call runs.
pub(crate) enum Place {
    /// In an instance to be made, which may become a session.
    Fresh {
        loaded: Arc<Loaded>,
        site: Site,
        new: Option<(Arc<Session>, Berth)>,
    },
    Session(Turn),
}

/// Where the call runs by now.
pub(crate) enum Within {
    Fresh(Option<(Arc<Session>, Berth)>),
    Session(Turn, Berth),
}

/// Answers the call. Boxed, for the futures of all other calls to stay small.
pub(crate) fn answer<'a>(
    module: &'a Arc<Inner>,
    call: Call,
    deadline: Instant,
    allowed: Duration,
    meter: &'a Arc<Meter>,
) -> BoxFuture<'a, Result<Bytes, Fault>> {
    run(module, call, deadline, allowed, meter).boxed()
}

async fn run(
    module: &Arc<Inner>,
    call: Call,
    deadline: Instant,
    allowed: Duration,
    meter: &Arc<Meter>,
) -> Result<Bytes, Fault> {
    admissible(module, &call)?;
    let id = call.id;
    let turn = turn(module, &call).await?;
    let admitted = module.parts.admission.enter(&module.spec.quota, deadline, &call.path).await?;
    // Whoever waited may have waited for one that is broken by now.
    let pass = pass(module)?;
    let loaded = match turn.as_ref().and_then(Turn::loaded) {
        Some(loaded) => loaded,
        None => module.loaded(id).await?,
    };
    let export = match call.method.action {
        Action::Drop => None,
        Action::Call => Some(export(&loaded, &call)?),
    };
    let place = match turn {
        Some(turn) => {
            turn.session().has_room(module, &call)?;
            Place::Session(turn)
        }
        None => fresh(module, loaded, &call).await?,
    };
    let (reply, answered) = oneshot::channel();
    let job = Job {
        module: Arc::clone(module),
        call,
        deadline,
        export,
        place,
        meter: Arc::clone(meter),
        reply,
        pass,
        _running: Running::new(&module.common),
        _admitted: admitted,
    };
    let work = timed(Box::pin(serve(job)), meter);
    let task = module.engine.scheduler.spawn(&module.parts.account, deadline, work);
    awaited(answered, &task, module, id, allowed).await
}

/// The call's turn in the session that its handles lead to, where it has any.
pub(crate) async fn turn(module: &Inner, call: &Call) -> Result<Option<Turn>, Fault> {
    let sessions = &module.engine.sessions;
    match sessions.of(call)? {
        Some(session) if *session.module() == module.id => {
            sessions.enter(session, module.spec.quota.queue).await.map(Some)
        }
        // Nobody called for the session's own version: it is not this caller's.
        Some(_) => Err(Fault::NoSuchHandle),
        None => Ok(None),
    }
}

async fn fresh(module: &Arc<Inner>, loaded: Arc<Loaded>, call: &Call) -> Result<Place, Fault> {
    let sessions = &module.engine.sessions;
    let new = if call.method.gives_handles() {
        let berth = sessions.berth(module, slots_of(&loaded))?;
        Some((sessions.prepare(module, call.owner.clone()), berth))
    } else {
        None
    };
    let site = Site::take(module, &loaded).await?;
    Ok(Place::Fresh { loaded, site, new })
}

impl Session {
    /// Refuses a call that could not get a handle for what it returns, while the session lives.
    fn has_room(&self, module: &Inner, call: &Call) -> Result<(), Fault> {
        let most = HandleTable::most(&module.spec.limits);
        let used = self.handles.lock().len();
        if call.method.gives_handles() && most <= used {
            return Err(Fault::limit(LimitKind::Handles, most, Some(used.saturating_add(1))));
        }
        Ok(())
    }
}

/// The guest thread's part of a call.
async fn serve(job: Job) {
    let Job { module, call, deadline, export, place, meter, reply, .. } = job;
    let (pass, _running, _admitted) = (job.pass, job._running, job._admitted);
    let mut room = Room::new(&module.parts.values, &module.spec.limits);
    let ((params, given), used) = match decode(&module, &call, place.session(), &mut room).await {
        Ok(decoded) => decoded,
        // The instance has seen nothing of this call.
        Err(fault) => return send(reply, Err(fault)),
    };
    let (mut guest, within) = match begin(&module, &call, deadline, place, &meter).await {
        Ok(begun) => begun,
        Err(fault) => {
            judge(&module, call.id, pass, Some(&fault));
            return send(reply, Err(fault));
        }
    };
    within.begin(&meter, &given);
    let session = within.session();
    let result = match export {
        Some(export) => {
            let mut handles = call_handles(&module, &call, session);
            guest.answer((&module, &call, &export), (params, used), &room, &mut handles).await
        }
        None => guest.drop_resources(&module, &call, params).await.map(|()| Bytes::new()),
    };
    judge(&module, call.id, pass, result.as_ref().err());
    if result.is_ok() && session.is_some_and(|session| !session.handles.lock().is_empty()) {
        meter.begin(InstanceOrigin::Session);
    }
    // Whoever calls again at once finds the room and the session.
    drop(room);
    within.end(&module, guest, result.as_ref().err());
    send(reply, result);
}

pub(crate) fn call_handles<'a>(
    module: &'a Inner,
    call: &'a Call,
    session: Option<&'a Session>,
) -> CallHandles<'a> {
    let (sessions, limits) = (&module.engine.sessions, &module.spec.limits);
    CallHandles::new(sessions, session, call.owner.as_deref(), limits)
}

/// The request's values with the handles that it gives away, and the room that they take.
async fn decode(
    module: &Inner,
    call: &Call,
    session: Option<&Session>,
    room: &mut Room,
) -> Result<((Vec<Val>, Vec<u64>), u64), Fault> {
    let values = |room: &Room| {
        let mut budget = room.decoding();
        let mut handles = call_handles(module, call, session);
        let values = decode_request_with(&call.method, &call.request, &mut budget, &mut handles)?;
        Ok(((values, handles.given()), budget.used()))
    };
    decode_in(call.request.len(), room, values).await
}

/// The instance that the call runs in.
pub(crate) async fn begin(
    module: &Arc<Inner>,
    call: &Call,
    deadline: Instant,
    place: Place,
    meter: &Arc<Meter>,
) -> Result<(Box<Guest>, Within), Fault> {
    let meter = Arc::clone(meter);
    let context = CallContext::of(module, call, deadline);
    match place {
        Place::Fresh { loaded, site, new } => {
            let guest = Guest::make(module, &context, loaded, meter, site).await?;
            Ok((Box::new(guest), Within::Fresh(new)))
        }
        Place::Session(mut turn) => {
            let lost = || Fault::SessionLost("its instance is gone");
            let Inside { mut guest, _berth: berth } = turn.start().ok_or_else(lost)?;
            guest.begin(module, &context, meter)?;
            Ok((guest, Within::Session(turn, berth)))
        }
    }
}

impl Place {
    pub(crate) fn session(&self) -> Option<&Session> {
        match self {
            Self::Fresh { new, .. } => new.as_ref().map(|(session, _)| &**session),
            Self::Session(turn) => Some(turn.session()),
        }
    }
}

impl Within {
    pub(crate) fn session(&self) -> Option<&Session> {
        match self {
            Self::Fresh(new) => new.as_ref().map(|(session, _)| &**session),
            Self::Session(turn, _) => Some(turn.session()),
        }
    }

    /// The guest begins: what the call gives away leads nowhere any more.
    pub(crate) fn begin(&self, meter: &Meter, given: &[u64]) {
        if matches!(self, Self::Session(..)) {
            meter.begin(InstanceOrigin::Session);
        }
        if let Some(session) = self.session() {
            session.handles.lock().give_away(given);
        }
    }

    /// The call is over, with a fault or without.
    pub(crate) fn end(self, module: &Inner, guest: Box<Guest>, fault: Option<&Fault>) {
        match (self, fault) {
            (Self::Fresh(Some((session, berth))), None) => {
                let inside = Inside { guest, _berth: berth };
                module.engine.sessions.open(module, &session, inside);
            }
            (Self::Fresh(_), _) => {}
            (Self::Session(turn, berth), None) => turn.finish(Inside { guest, _berth: berth }),
            (Self::Session(turn, _), Some(fault)) => turn.fail(why(fault)),
        }
    }
}

/// What a session whose call ended in a fault was lost to.
fn why(fault: &Fault) -> &'static str {
    match fault {
        Fault::GuestTrap { .. } => "a call in it trapped",
        Fault::Limit(_) => "a call in it ran into a limit",
        Fault::Binding(_) => "a module that it called failed",
        _ => "a call in it failed",
    }
}
