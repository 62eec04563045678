//! The guest's part of a call, played by a [`crate::Remote`]: messages are passed on as they are.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use roadstead_domain::{Fault, LimitKind};

use super::{
    Call, Running, admissible, judge, pass,
    streaming::{Held, Start, first, fits},
};
use crate::{
    RemoteCall, RemoteRequests,
    module::{Common, Served},
    remote::passing,
    stream::{End, Writer},
};

/// Answers a call of a method without streams.
pub(super) async fn answer(module: &Served, call: Call, deadline: Instant) -> Result<Bytes, Fault> {
    admissible(module, &call)?;
    let _admitted = module.parts.admission.enter(&module.spec.quota, deadline, &call.path).await?;
    // Whoever waited may have waited for one that is broken by now.
    let pass = pass(module)?;
    let _running = Running::new(&module.common);
    let (id, request) = (call.id, call.request.clone());
    let result = module.remote.call(about(module, call, deadline), request).await;
    let result = result.and_then(|response| within_output(module, response));
    judge(module, id, pass, result.as_ref().err());
    result
}

/// Serves a call of a streaming method to its end.
pub(super) async fn stream(
    module: &Served,
    call: Call,
    deadline: Instant,
    start: Start,
    (output, held): (&Arc<Writer<End>>, &Arc<Held>),
) -> End {
    admissible(module, &call)?;
    let start = first(&call.method, start).await?;
    fits(module, call.request.len(), true)?;
    let mut admitted =
        module.parts.admission.enter(&module.spec.quota, deadline, &call.path).await?;
    admitted.for_a_stream();
    held.admitted.set(admitted).ok();
    let pass = pass(module)?;
    let _running = Running::new(&module.common);
    let (id, request) = (call.id, call.request.clone());
    let (passing, mut too_long) = passing(&module.common);
    let requests = match start {
        Start::Request => RemoteRequests::One(request),
        Start::Stream(input) => RemoteRequests::Stream(passing.requests(input)),
    };
    let responses = passing.responses(output);
    let served = module.remote.stream(about(module, call, deadline), requests, responses);
    let end = tokio::select! {
        biased;
        Ok(fault) = &mut too_long => Err(fault),
        end = served => too_long.try_recv().map_or(end, Err),
    };
    judge(module, id, pass, end.as_ref().err());
    end
}

/// What is said of a call to whoever serves it.
fn about(module: &Common, call: Call, deadline: Instant) -> RemoteCall {
    let Call { id, method, owner, path, traceparent, .. } = call;
    let (module, room) = (module.id.clone(), module.parts.values.answers());
    RemoteCall { id, module, method, deadline, owner, path, traceparent, room }
}

fn within_output(module: &Common, response: Bytes) -> Result<Bytes, Fault> {
    let limit = module.spec.limits.output.of(true).0;
    let length = u64::try_from(response.len()).unwrap_or(u64::MAX);
    if limit < length {
        return Err(Fault::limit(LimitKind::Output, limit, Some(length)));
    }
    Ok(response)
}
