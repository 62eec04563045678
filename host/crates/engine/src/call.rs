//! One call: what goes in, what comes out, and the way between.
//!
//! On the caller's side: size, place in the queue, code, instance or slot, then waiting for the
//! answer, which is given up at the deadline whatever the guest does. On a guest thread: decode,
//! instantiate, call, encode.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roadstead_domain::{CallId, Fault, InstanceOrigin, LimitKind};
use roadstead_transcode::{MethodPlan, decode_request};
use tokio::sync::oneshot;
use wasmtime::component::Val;

use crate::{
    admission::Admitted,
    breaker::{Pass, Verdict},
    code::{Export, Loaded},
    instance::{Guest, Site},
    instances::{Owner, owner_of},
    module::Inner,
    room::Room,
    scheduler::{Ended, TaskHandle},
    store::Meter,
};

/// A call of one method. The request is the protobuf message.
#[derive(Debug, Clone)]
pub struct Call {
    pub id: CallId,
    pub method: Arc<MethodPlan>,
    pub request: Bytes,
    /// What the caller allows, from now on; the module's own ceiling counts if it is shorter.
    pub timeout: Option<Duration>,
    /// The caller's identity, where there is one.
    pub owner: Option<Arc<str>>,
}

/// How a call ended, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The protobuf message of the response.
    pub result: Result<Bytes, Fault>,
    pub usage: Usage,
}

/// What a call took. After a deadline these are the figures of the last look at the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub fuel: u64,
    /// Memories and tables of the instance, at their largest.
    pub peak_memory: u64,
    /// None if the call never got an instance.
    pub instance: Option<InstanceOrigin>,
}

/// Everything that a guest thread needs for a call, and holds until nothing of it is left.
struct Job {
    module: Arc<Inner>,
    call: Call,
    deadline: Instant,
    export: Export,
    place: Place,
    owner: Option<Owner>,
    meter: Arc<Meter>,
    reply: oneshot::Sender<Result<Bytes, Fault>>,
    pass: Pass,
    _running: Running,
    _admitted: Admitted,
}

/// Where the call runs.
enum Place {
    /// In an instance to be made there.
    Fresh(Arc<Loaded>, Site),
    Warm(Box<Guest>),
}

/// Counts a call as running for as long as it lives.
struct Running(Arc<Inner>);

/// Counts a call as cancelled unless it was answered.
struct Unanswered<'a> {
    module: &'a Inner,
    meter: &'a Meter,
    answered: bool,
}

/// Why a call that the caller allows so long would be refused now.
pub(crate) fn refusal(module: &Inner, timeout: Option<Duration>) -> Option<Fault> {
    if module.engine.scheduler.closing() {
        return Some(Fault::Draining);
    }
    if let Some(retry_after) = module.breaker.refuses() {
        return Some(Fault::BreakerOpen { retry_after });
    }
    let deadline = Instant::now() + allowed(module, timeout);
    module.parts.admission.refusal(&module.spec.quota, deadline)
}

/// The caller's time, and no more than the module's.
fn allowed(module: &Inner, timeout: Option<Duration>) -> Duration {
    let ceiling = module.spec.limits.deadline.duration();
    timeout.map_or(ceiling, |timeout| timeout.min(ceiling))
}

/// Runs a call and answers by its deadline.
pub(crate) async fn run(module: &Arc<Inner>, call: Call) -> Outcome {
    let allowed = allowed(module, call.timeout);
    let deadline = Instant::now() + allowed;
    let (id, method) = (call.id, Arc::clone(&call.method));
    let meter = Arc::new(Meter::default());
    let mut unanswered = Unanswered { module, meter: &meter, answered: false };
    let answer = answer(module, call, deadline, allowed, &meter);
    let result = tokio::time::timeout_at(deadline.into(), answer)
        .await
        .unwrap_or(Err(Fault::Deadline(allowed)));
    let outcome = Outcome { result, usage: meter.usage() };
    unanswered.answered = true;
    module.counters.ended(&outcome);
    if let Err(fault) = &outcome.result {
        tell(module, id, &method, fault);
    }
    outcome
}

/// Every fault is traced; what the guest did or ran into stands in its module's log, too.
fn tell(module: &Inner, call: CallId, method: &MethodPlan, fault: &Fault) {
    let MethodPlan { service, method, .. } = method;
    let reason = fault.reason().unwrap_or("CANCELLED");
    tracing::debug!(module = %module.id, %service, %method, %call, reason, "a call failed");
    let guests = match fault {
        Fault::GuestTrap { .. } | Fault::Deadline(_) => true,
        Fault::Limit(reached) => reached.limit != LimitKind::Input,
        _ => false,
    };
    if guests {
        module.granted.log().host(call, &format!("{service}/{method}: {fault}"));
    }
}

async fn answer(
    module: &Arc<Inner>,
    call: Call,
    deadline: Instant,
    allowed: Duration,
    meter: &Arc<Meter>,
) -> Result<Bytes, Fault> {
    if module.engine.scheduler.closing() {
        return Err(Fault::Draining);
    }
    let id = call.id;
    let input = u64::try_from(call.request.len()).unwrap_or(u64::MAX);
    if module.spec.limits.input.0 < input {
        return Err(Fault::limit(LimitKind::Input, module.spec.limits.input.0, Some(input)));
    }
    if let Some(retry_after) = module.breaker.refuses() {
        return Err(Fault::BreakerOpen { retry_after });
    }
    let admitted = module.parts.admission.enter(&module.spec.quota, deadline).await?;
    // Whoever waited may have waited for one that is broken by now.
    let pass = module.breaker.enter().map_err(|retry_after| Fault::BreakerOpen { retry_after })?;
    let loaded = module.loaded(id).await?;
    let export = loaded.export(&call.method).ok_or_else(|| Fault::NoSuchMethod {
        service: call.method.service.clone(),
        method: call.method.method.clone(),
    })?;
    let owner = owner_of(&module.spec, call.owner.as_ref());
    let warm = owner.as_ref().and_then(|owner| module.take_idle(owner));
    let place = match warm {
        Some(guest) => Place::Warm(Box::new(guest)),
        None => {
            let site = Site::take(module, &loaded).await?;
            Place::Fresh(loaded, site)
        }
    };
    let (reply, answered) = oneshot::channel();
    let running = Running::new(module);
    let job = Job {
        module: Arc::clone(module),
        call,
        deadline,
        export,
        place,
        owner,
        meter: Arc::clone(meter),
        reply,
        pass,
        _running: running,
        _admitted: admitted,
    };
    let task = start(module, deadline, job);
    match answered.await {
        Ok(result) => result,
        Err(_) => Err(match task.ended() {
            Ended::Expired => Fault::Deadline(allowed),
            Ended::Closed => Fault::Draining,
            Ended::Panicked => {
                tracing::error!(module = %module.id, call = %id, "a call panicked in the host");
                Fault::Host { log_id: id.to_string() }
            }
        }),
    }
}

/// Gives the job to the guest threads, or starts it here where the module has earned that.
fn start(module: &Inner, deadline: Instant, job: Job) -> TaskHandle {
    let scheduler = &module.engine.scheduler;
    let here = module.engine.config.start_at_caller
        && module.standing.may_start_here(job.call.request.len());
    let work = Box::pin(serve(job));
    if !here {
        return scheduler.spawn(&module.parts.account, deadline, work);
    }
    let (task, took) = scheduler.start_here(&module.parts.account, deadline, work);
    if let Some(took) = took {
        module.standing.took_here(took);
    }
    task
}

/// The guest thread's part of a call.
async fn serve(job: Job) {
    let Job { module, call, deadline, export, place, owner, meter, reply, .. } = job;
    let (pass, _running, _admitted) = (job.pass, job._running, job._admitted);
    let started = Instant::now();
    let mut room = Room::new(&module.parts.values, &module.spec.limits);
    let (params, used) = match decode(&call, &mut room).await {
        Ok(decoded) => decoded,
        Err(fault) => {
            // The instance has seen nothing of this call.
            if let (Place::Warm(guest), Some(owner)) = (place, owner) {
                module.keep_idle(*guest, owner);
            }
            return send(reply, Err(fault));
        }
    };
    let ready = match place {
        Place::Fresh(loaded, site) => {
            Guest::make(&module, &call, deadline, loaded, meter, site).await
        }
        Place::Warm(mut guest) => guest.begin(&module, &call, deadline, meter).map(|()| *guest),
    };
    let mut guest = match ready {
        Ok(guest) => guest,
        Err(fault) => {
            judge(&module, call.id, pass, Some(&fault));
            return send(reply, Err(fault));
        }
    };
    let result = guest.answer(&module, &call, &export, params, used, &room).await;
    judge(&module, call.id, pass, result.as_ref().err());
    // Whoever calls again at once finds the room.
    drop(room);
    let took = started.elapsed();
    module.standing.ended(took);
    // Whoever calls again at once finds the instance; nobody waits for one to be torn down.
    match owner {
        Some(owner) if result.is_ok() => {
            module.keep_idle(guest, owner);
            send(reply, result);
        }
        _ => {
            send(reply, result);
            drop(guest);
        }
    }
}

/// The request's values and the room that they take, with room for the answer reserved.
async fn decode(call: &Call, room: &mut Room) -> Result<(Vec<Val>, u64), Fault> {
    room.begin(call.request.len()).await?;
    let mut first = values(call, room);
    if first.as_ref().is_err_and(|fault| room.may_widen(fault)) {
        room.widen().await?;
        first = values(call, room);
    }
    let (decoded, used) = first.map_err(|fault| explained(room, fault))?;
    if room.try_reserve(used) {
        return Ok((decoded, used));
    }
    // Nothing is held while there is no room for it.
    drop(decoded);
    room.reserve(used).await?;
    values(call, room).map_err(|fault| explained(room, fault))
}

/// The request's values, and what they take of the room.
fn values(call: &Call, room: &Room) -> Result<(Vec<Val>, u64), Fault> {
    let mut budget = room.decoding();
    let decoded = decode_request(&call.method, &call.request, &mut budget)?;
    Ok((decoded, budget.used()))
}

/// The fault that a caller is told of.
fn explained(room: &Room, fault: Fault) -> Fault {
    match fault {
        Fault::Limit(reached) => room.exceeded(reached),
        other => other,
    }
}

/// Tells the breaker how the guest's part ended.
fn judge(module: &Inner, call: CallId, pass: Pass, fault: Option<&Fault>) {
    let change = pass.ended(match fault {
        None => Verdict::Answered,
        Some(Fault::GuestTrap { .. }) => Verdict::Trapped,
        Some(_) => Verdict::Other,
    });
    if let Some(change) = change {
        tracing::warn!(module = %module.id, %call, %change, "the breaker changed");
        module.granted.log().host(call, &change.to_string());
    }
}

/// Answers, if somebody still listens.
fn send(reply: oneshot::Sender<Result<Bytes, Fault>>, result: Result<Bytes, Fault>) {
    drop(reply.send(result));
}

impl Running {
    fn new(module: &Arc<Inner>) -> Self {
        module.counters.started();
        Self(Arc::clone(module))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.counters.stopped();
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let usage = self.meter.usage();
            self.module.counters.ended(&Outcome { result: Err(Fault::Cancelled), usage });
        }
    }
}
