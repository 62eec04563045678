//! A call of a streaming method. Its stages are those of any call, but nobody awaits an answer:
//! a task of the caller's runtime watches over it and ends it when its time is up, when no message
//! has passed for too long, or when its caller is gone.

use std::{
    future::poll_fn,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roadstead_domain::{Fault, LimitKind};
use roadstead_transcode::{MethodPlan, StreamRequest, decode_request_with, decode_stream_request};
use tokio::sync::oneshot;
use wasmtime::component::Val;

use super::{
    Call, Outcome, Running, Unanswered, admissible, awaited, explained, export, judge, pass, send,
    served, tell,
};
use crate::{
    admission::Admitted,
    breaker::Pass,
    code::Export,
    instance::Site,
    module::{Common, Inner, Part},
    room::Room,
    scheduler::TaskHandle,
    session::{self, Place, Session, Turn},
    stats::OpenStream,
    store::Meter,
    stream::{Activity, End, Flow, Input, Requests, Responses, Writer},
    timing::timed,
};

/// What a guest thread needs for a streaming call.
struct Job {
    module: Arc<Inner>,
    call: Call,
    deadline: Instant,
    export: Export,
    place: Place,
    meter: Arc<Meter>,
    start: Start,
    output: Arc<Writer<End>>,
    done: oneshot::Sender<End>,
    pass: Pass,
    held: Arc<Held>,
    _running: Running,
}

/// What a call holds until the caller has taken its last message, though the guest may be gone by
/// then: its place, and the room that its messages take.
#[derive(Default)]
pub(super) struct Held {
    pub(super) admitted: OnceLock<Admitted>,
    flow: OnceLock<Arc<Flow>>,
}

/// How long a guest whose caller is gone may go on to end its stream, for its session to live.
const GRACE: Duration = Duration::from_millis(500);

/// What the call begins with.
pub(super) enum Start {
    /// The only request.
    Request,
    /// The stream of requests, and the first of them where the parameters are in it.
    Stream(Input),
}

/// The task that runs a call, and what it ends with.
struct Begun {
    task: TaskHandle,
    done: oneshot::Receiver<End>,
}

/// What the caller hears, and what is heard of it.
struct Caller {
    output: Arc<Writer<End>>,
    activity: Arc<Activity>,
    aborted: oneshot::Receiver<Fault>,
    gone: oneshot::Receiver<()>,
}

/// How long a streaming call may last, and how long it may be silent.
#[derive(Clone, Copy)]
struct Patience {
    whole: Duration,
    idle: Duration,
}

/// Begins a call and returns at once; refusals come as the end of the responses.
pub(crate) fn open(part: &Part, call: Call) -> (Requests, Responses) {
    let activity = Activity::new();
    let meter = Meter::of(&call);
    let (requests, input, aborted) = Requests::new(&activity);
    let (responses, output, gone) = Responses::new(&activity, Arc::clone(&meter));
    let start = if call.method.input.is_some() { Start::Stream(input) } else { Start::Request };
    let caller = Caller { output: Arc::new(output), activity, aborted, gone };
    tokio::spawn(watch(part.clone(), call, start, meter, caller));
    (requests, responses)
}

/// Sees the call through and tells its caller how it ended.
async fn watch(part: Part, call: Call, start: Start, meter: Arc<Meter>, caller: Caller) {
    let module = part.common();
    let Caller { output, activity, aborted, gone } = caller;
    let limits = &module.spec.limits;
    let ceiling = limits.stream_deadline.duration();
    let whole = call.timeout.map_or(ceiling, |timeout| timeout.min(ceiling));
    let patience = Patience { whole, idle: limits.stream_idle.duration() };
    let deadline = Instant::now() + whole;
    let (id, method) = (call.id, Arc::clone(&call.method));
    let mut unanswered = Unanswered { module, meter: &meter, answered: false };
    let open = OpenStream::new(module);
    let held = Arc::new(Held::default());
    let ends = (&output, &held);
    let running = async {
        match &part {
            Part::Component(module) => {
                run(module, call, deadline, patience, start, ends, &meter).await
            }
            Part::Remote(module) => served::stream(module, call, deadline, start, ends).await,
        }
    };
    let mut running = Box::pin(running);
    let end = tokio::select! {
        biased;
        Ok(fault) = aborted => Err(fault),
        // Nothing is ever sent: the caller's end is dropped.
        _ = gone => {
            if method.takes_handles() {
                // The guest's next write tells it that nobody reads any more.
                tokio::time::timeout(GRACE, &mut running).await.ok();
            }
            Err(Fault::Cancelled)
        }
        end = &mut running => end,
        fault = overdue(deadline, patience, &activity) => Err(fault),
    };
    // The guest goes before anything waits for the caller.
    drop(running);
    unanswered.answered = true;
    let outcome = Outcome { result: end.clone().map(|()| Bytes::new()), usage: meter.usage() };
    module.counters.ended(&outcome);
    if let Err(fault) = &end {
        tell(module, id, &method, fault);
    }
    drop(open);
    output.end(end);
    poll_fn(|cx| output.poll_taken(cx)).await;
    drop(held);
}

/// Waits until the call has lasted or been silent for too long.
async fn overdue(deadline: Instant, patience: Patience, activity: &Activity) -> Fault {
    loop {
        let silent = activity.last() + patience.idle;
        if deadline <= silent {
            tokio::time::sleep_until(deadline.into()).await;
            return Fault::Deadline(patience.whole);
        }
        tokio::time::sleep_until(silent.into()).await;
        if activity.last() + patience.idle <= Instant::now() {
            return Fault::Idle(patience.idle);
        }
    }
}

async fn run(
    module: &Arc<Inner>,
    call: Call,
    deadline: Instant,
    patience: Patience,
    start: Start,
    ends: (&Arc<Writer<End>>, &Arc<Held>),
    meter: &Arc<Meter>,
) -> End {
    let id = call.id;
    let begun = begin(module, call, deadline, start, ends, meter).await?;
    awaited(begun.done, &begun.task, module, id, patience.whole).await
}

/// The way of a call up to the guests' threads.
async fn begin(
    module: &Arc<Inner>,
    call: Call,
    deadline: Instant,
    start: Start,
    (output, held): (&Arc<Writer<End>>, &Arc<Held>),
    meter: &Arc<Meter>,
) -> Result<Begun, Fault> {
    admissible(module, &call)?;
    let start = first(&call.method, start).await?;
    fits(module, call.request.len(), false)?;
    let turn = session::turn(module, &call).await?;
    let mut admitted =
        module.parts.admission.enter(&module.spec.quota, deadline, &call.path).await?;
    admitted.for_a_stream();
    held.admitted.set(admitted).ok();
    let pass = pass(module)?;
    let loaded = match turn.as_ref().and_then(Turn::loaded) {
        Some(loaded) => loaded,
        None => module.loaded(call.id).await?,
    };
    let export = export(&loaded, &call)?;
    let place = match turn {
        Some(turn) => Place::Session(turn),
        None => {
            let site = Site::take(module, &loaded).await?;
            Place::Fresh { loaded, site, new: None }
        }
    };
    let (tell, done) = oneshot::channel();
    let job = Job {
        module: Arc::clone(module),
        call,
        deadline,
        export,
        place,
        meter: Arc::clone(meter),
        start,
        output: Arc::clone(output),
        done: tell,
        pass,
        held: Arc::clone(held),
        _running: Running::new(&module.common),
    };
    let account = &module.parts.account;
    let work = timed(Box::pin(serve(job)), meter);
    let task = module.engine.scheduler.spawn(account, deadline, work);
    Ok(Begun { task, done })
}

/// Waits for the message with the parameters before anything is taken for the call, where there
/// are any.
pub(super) async fn first(method: &MethodPlan, start: Start) -> Result<Start, Fault> {
    let Start::Stream(mut input) = start else { return Ok(start) };
    if has_params(method) {
        let missing = || Fault::bad_input("start", "must be the first message");
        input.first = Some(input.next().await.ok_or_else(missing)?);
    }
    Ok(Start::Stream(input))
}

fn has_params(method: &MethodPlan) -> bool {
    !matches!(&method.request.body, roadstead_transcode::Body::Fields(fields) if fields.is_empty())
}

/// Whether a request is within its limit, which depends on whether the message goes `whole`.
pub(super) fn fits(module: &Common, request: usize, whole: bool) -> Result<(), Fault> {
    let limit = module.spec.limits.input.of(whole).0;
    let length = u64::try_from(request).unwrap_or(u64::MAX);
    if limit < length {
        return Err(Fault::limit(LimitKind::Input, limit, Some(length)));
    }
    Ok(())
}

/// The guest thread's part of a call.
async fn serve(job: Job) {
    let Job { module, call, deadline, export, place, meter, start, .. } = job;
    let (output, done) = (job.output, job.done);
    let (pass, held, _running) = (job.pass, job.held, job._running);
    let mut room = Room::new(&module.parts.values, &module.spec.limits);
    let given = params(&module, &call, start, place.session(), &mut room).await;
    let Given { params, handles, input } = match given {
        Ok(given) => given,
        // The instance has seen nothing of this call.
        Err(fault) => return send(done, Err(fault)),
    };
    let (mut guest, within) = match session::begin(&module, &call, deadline, place, &meter).await {
        Ok(begun) => begun,
        Err(fault) => {
            judge(&module, call.id, pass, Some(&fault));
            return send(done, Err(fault));
        }
    };
    within.begin(&meter, &handles);
    let flow = Flow::new(&module, &call, room, export.weight);
    held.flow.set(Arc::clone(&flow)).ok();
    let end = guest.stream(&module, &export, params, input, &flow, &output).await;
    judge(&module, call.id, pass, end.as_ref().err());
    if within.session().is_none() {
        // Nobody waits for the instance to be torn down.
        send(done, end);
        return drop(guest);
    }
    within.end(&module, guest, end.as_ref().err());
    send(done, end);
}

/// What the guest is called with.
struct Given {
    params: Vec<Val>,
    /// The handles that the call gives away.
    handles: Vec<u64>,
    input: Option<Input>,
}

impl Given {
    fn stream(params: Vec<Val>, input: Option<Input>) -> Self {
        Self { params, handles: Vec::new(), input }
    }
}

/// The values of the parameters beside the stream, and the stream.
async fn params(
    module: &Inner,
    call: &Call,
    start: Start,
    session: Option<&Session>,
    room: &mut Room,
) -> Result<Given, Fault> {
    let Start::Stream(mut input) = start else {
        room.begin(call.request.len()).await?;
        let mut handles = session::call_handles(module, call, session);
        let (method, budget) = (&call.method, &mut room.decoding());
        let params = decode_request_with(method, &call.request, budget, &mut handles);
        let params = params.map_err(|fault| explained(room, fault))?;
        return Ok(Given { params, handles: handles.given(), input: None });
    };
    let Some(message) = input.first.take() else {
        // Without parameters the first message may be an item; it is looked at when it is read.
        room.begin(0).await?;
        return Ok(Given::stream(Vec::new(), Some(input)));
    };
    room.begin(message.len()).await?;
    let Some(plan) = &call.method.input else { return Ok(Given::stream(Vec::new(), None)) };
    let read = decode_stream_request(plan, &message, &mut room.decoding());
    match read.map_err(|fault| explained(room, fault))? {
        StreamRequest::Start(params) => Ok(Given::stream(params, Some(input))),
        StreamRequest::Item(_) | StreamRequest::Chunk(_) => {
            Err(Fault::bad_input("start", "must be the first message"))
        }
    }
}
