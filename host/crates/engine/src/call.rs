//! One call: what goes in, what comes out, and the way between.
//!
//! On the caller's side: size, place in the queue, code, instance or slot, then waiting for the
//! answer, which is given up at the deadline whatever the guest does. On a guest thread: decode,
//! instantiate, call, encode. Where a [`crate::Remote`] plays the guest's part, it gets the message
//! as it came.

mod served;
mod streaming;

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
    CallPath,
    admission::Admitted,
    breaker::{Pass, Verdict},
    capability::CallContext,
    code::{Export, Loaded},
    instance::{Guest, Request, Site, is_reusable},
    instances::{Owner, owner_of},
    module::{Common, Inner, Part},
    room::Room,
    scheduler::{Claim, Ended, Stopwatch, TaskHandle},
    session,
    store::Meter,
    timing::{Run, timed},
};

pub(crate) use streaming::open;

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
    /// Whether [`Usage::run`] is wanted.
    pub timed: bool,
    /// The modules that it came through; none for a call from outside.
    pub path: CallPath,
    /// The call's place in a trace, as W3C's `traceparent` has it, where it may call others.
    pub traceparent: Option<Arc<str>>,
}

impl Call {
    /// A call from outside, by nobody in particular and with all the time that the module gives.
    pub fn new(id: CallId, method: Arc<MethodPlan>, request: Bytes) -> Self {
        Self {
            id,
            method,
            request,
            timeout: None,
            owner: None,
            timed: false,
            path: CallPath::default(),
            traceparent: None,
        }
    }
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
    /// None if it was not asked for, or the call never ran.
    pub run: Option<Run>,
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
    /// On whose part its first slice runs on the caller's thread, if it does.
    here: Option<Claim>,
    _running: Running,
    _admitted: Admitted,
}

/// Where the call runs.
enum Place {
    /// In an instance to be made there.
    Fresh(Arc<Loaded>, Site),
    /// In an idle or a spare one.
    Made(Box<Guest>),
}

/// Counts a call as running for as long as it lives.
pub(crate) struct Running(Arc<Common>);

/// Counts a call as cancelled unless it was answered.
struct Unanswered<'a> {
    module: &'a Common,
    meter: &'a Meter,
    answered: bool,
}

/// Why a call that the caller allows so long would be refused now.
pub(crate) fn refusal(module: &Common, timeout: Option<Duration>) -> Option<Fault> {
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
fn allowed(module: &Common, timeout: Option<Duration>) -> Duration {
    let ceiling = module.spec.limits.deadline.duration();
    timeout.map_or(ceiling, |timeout| timeout.min(ceiling))
}

/// Runs a call and answers by its deadline.
pub(crate) async fn run(part: &Part, call: Call) -> Outcome {
    let module = &**part.common();
    let allowed = allowed(module, call.timeout);
    let deadline = Instant::now() + allowed;
    let (id, method) = (call.id, Arc::clone(&call.method));
    let meter = Meter::of(&call);
    let mut unanswered = Unanswered { module, meter: &meter, answered: false };
    let handles = method.takes_handles() || method.gives_handles();
    let answer = async {
        match part {
            Part::Component(module) if handles => {
                session::answer(module, call, deadline, allowed, &meter).await
            }
            Part::Component(module) => answer(module, call, deadline, allowed, &meter).await,
            Part::Remote(module) => served::answer(module, call, deadline).await,
        }
    };
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
fn tell(module: &Common, call: CallId, method: &MethodPlan, fault: &Fault) {
    let MethodPlan { service, method, .. } = method;
    let reason = fault.reason().unwrap_or("CANCELLED");
    tracing::debug!(module = %module.id, %service, %method, %call, reason, "a call failed");
    let guests = match fault {
        Fault::GuestTrap { .. } | Fault::Deadline(_) | Fault::Idle(_) | Fault::Binding(_) => true,
        Fault::Limit(reached) => reached.limit != LimitKind::Input,
        _ => false,
    };
    if guests {
        module.log.host(call, &format!("{service}/{method}: {fault}"));
    }
}

/// Refuses what needs no place to be refused.
pub(crate) fn admissible(module: &Common, call: &Call) -> Result<(), Fault> {
    if module.engine.scheduler.closing() {
        return Err(Fault::Draining);
    }
    let input = u64::try_from(call.request.len()).unwrap_or(u64::MAX);
    // What the method may have is known once its code is there.
    let most = module.spec.limits.input.most().0;
    if most < input {
        return Err(Fault::limit(LimitKind::Input, most, Some(input)));
    }
    match module.breaker.refuses() {
        Some(retry_after) => Err(Fault::BreakerOpen { retry_after }),
        None => Ok(()),
    }
}

async fn answer(
    module: &Arc<Inner>,
    call: Call,
    deadline: Instant,
    allowed: Duration,
    meter: &Arc<Meter>,
) -> Result<Bytes, Fault> {
    admissible(module, &call)?;
    let id = call.id;
    let input = u64::try_from(call.request.len()).unwrap_or(u64::MAX);
    let allowed_input = module.spec.limits.input;
    let admitted = module.parts.admission.enter(&module.spec.quota, deadline, &call.path).await?;
    // Whoever waited may have waited for one that is broken by now.
    let pass = pass(module)?;
    let loaded = module.loaded(id).await?;
    let export = export(&loaded, &call)?;
    let allowed_input = allowed_input.of(export.codec.is_some());
    if allowed_input.0 < input {
        return Err(Fault::limit(LimitKind::Input, allowed_input.0, Some(input)));
    }
    let owner = owner_of(&module.spec, call.owner.as_ref());
    let made = owner.as_ref().and_then(|owner| module.take_idle(owner));
    let place = match made.or_else(|| module.take_spare()) {
        Some(guest) => Place::Made(guest),
        None => {
            let site = if call.path.is_empty() {
                Site::take(module, &loaded).await?
            } else {
                Box::pin(Site::take_soon(module, &loaded)).await?
            };
            Place::Fresh(loaded, site)
        }
    };
    let (reply, answered) = oneshot::channel();
    let running = Running::new(&module.common);
    let here = (module.engine.config.start_at_caller
        && module.standing.may_start_here(call.request.len(), export.codec.is_some()))
    .then(|| module.engine.scheduler.claim_here(&module.parts.account))
    .flatten();
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
        here,
        _running: running,
        _admitted: admitted,
    };
    let task = start(module, deadline, job);
    awaited(answered, &task, module, id, allowed).await
}

/// Lets the call past the breaker.
pub(crate) fn pass(module: &Common) -> Result<Pass, Fault> {
    module.breaker.enter().map_err(|retry_after| Fault::BreakerOpen { retry_after })
}

/// The exported function that the call is for.
pub(crate) fn export(loaded: &Loaded, call: &Call) -> Result<Export, Fault> {
    loaded.export(&call.method).ok_or_else(|| Fault::NoSuchMethod {
        service: call.method.service.clone(),
        method: call.method.method.clone(),
    })
}

/// The answer of a task, or why there is none.
pub(crate) async fn awaited<T>(
    answered: oneshot::Receiver<Result<T, Fault>>,
    task: &TaskHandle,
    module: &Common,
    call: CallId,
    allowed: Duration,
) -> Result<T, Fault> {
    match answered.await {
        Ok(result) => result,
        Err(_) => Err(match task.ended() {
            Ended::Expired => Fault::Deadline(allowed),
            Ended::Closed => Fault::Draining,
            Ended::Panicked => {
                tracing::error!(module = %module.id, %call, "a call panicked in the host");
                Fault::Host { log_id: call.to_string() }
            }
        }),
    }
}

/// Gives the job to the guest threads, or starts it here where the module has earned that.
fn start(module: &Inner, deadline: Instant, job: Job) -> TaskHandle {
    let scheduler = &module.engine.scheduler;
    let here = job.here;
    let meter = Arc::clone(&job.meter);
    let work = timed(Box::pin(serve(job)), &meter);
    let Some(claim) = here else {
        return scheduler.spawn(&module.parts.account, deadline, work);
    };
    let (task, took) = scheduler.start_here(&module.parts.account, claim, deadline, work);
    module.standing.took_here(took, task.done());
    task
}

/// The guest thread's part of a call.
async fn serve(job: Job) {
    let Job { module, call, deadline, export, place, owner, meter, reply, .. } = job;
    let (pass, _running, _admitted) = (job.pass, job._running, job._admitted);
    let watch = job.here.is_none().then(Stopwatch::start);
    let mut room = Room::new(&module.parts.values, &module.spec.limits);
    let request = match Request::read(&call, &export, &mut room).await {
        Ok(request) => request,
        Err(fault) => {
            // The instance has seen nothing of this call.
            match (place, owner) {
                (Place::Made(guest), _) if guest.uses() == 0 => module.keep_spare(guest),
                (Place::Made(guest), Some(owner)) => module.keep_idle(guest, owner),
                _ => {}
            }
            return send(reply, Err(fault));
        }
    };
    let context = CallContext::of(&module, &call, deadline);
    let ready = match place {
        Place::Fresh(loaded, site) => {
            Guest::make(&module, &context, loaded, meter, site).await.map(Box::new)
        }
        Place::Made(mut guest) => guest.begin(&module, &context, meter).map(|()| guest),
    };
    let mut guest = match ready {
        Ok(guest) => guest,
        Err(fault) => {
            judge(&module, call.id, pass, Some(&fault));
            return send(reply, Err(fault));
        }
    };
    let result = guest.respond((&module, &call, &export), request, &mut room).await;
    judge(&module, call.id, pass, result.as_ref().err());
    // Whoever calls again at once finds the room.
    drop(room);
    if let Some(watch) = &watch {
        module.standing.ended(watch.elapsed());
    }
    // Whoever calls again at once finds the instance; nobody waits for one to be torn down.
    match owner {
        Some(owner) if is_reusable(&result) => {
            module.keep_idle(guest, owner);
            send(reply, result);
        }
        _ => {
            send(reply, result);
            if watch.is_none() {
                module.retire(*guest);
            }
        }
    }
}

/// The request's values and the room that they take, with room for the answer reserved.
pub(crate) async fn decode(call: &Call, room: &mut Room) -> Result<(Vec<Val>, u64), Fault> {
    decode_in(call.request.len(), room, |room| values(call, room)).await
}

/// What `values` makes of a request of so many bytes and the room that it takes, with room for the
/// answer reserved. It may be made more than once.
pub(crate) async fn decode_in<T>(
    request: usize,
    room: &mut Room,
    values: impl Fn(&Room) -> Result<(T, u64), Fault>,
) -> Result<(T, u64), Fault> {
    room.begin(request).await?;
    let mut first = values(room);
    if first.as_ref().is_err_and(|fault| room.may_widen(fault)) {
        room.widen().await?;
        first = values(room);
    }
    let (decoded, used) = first.map_err(|fault| explained(room, fault))?;
    if room.try_reserve(used) {
        return Ok((decoded, used));
    }
    // Nothing is held while there is no room for it.
    drop(decoded);
    Box::pin(room.reserve(used)).await?;
    values(room).map_err(|fault| explained(room, fault))
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
pub(crate) fn judge(module: &Common, call: CallId, pass: Pass, fault: Option<&Fault>) {
    let change = pass.ended(match fault {
        None => Verdict::Answered,
        Some(Fault::GuestTrap { .. }) => Verdict::Trapped,
        Some(_) => Verdict::Other,
    });
    if let Some(change) = change {
        tracing::warn!(module = %module.id, %call, %change, "the breaker changed");
        module.log.host(call, &change.to_string());
    }
}

/// Answers, if somebody still listens.
pub(crate) fn send<T>(reply: oneshot::Sender<Result<T, Fault>>, result: Result<T, Fault>) {
    drop(reply.send(result));
}

impl Running {
    pub(crate) fn new(module: &Arc<Common>) -> Self {
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
