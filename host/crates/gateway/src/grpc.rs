//! A module's method over gRPC: frames in, frames out, and the trailers of the contract.
//!
//! No generated code and no codec: the message travels as the bytes that came.

mod stream;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response,
    header::{CONTENT_TYPE, HeaderName},
};
use roadstead_domain::{Fault, InstanceOrigin};
use tonic::{Code, Status};

use crate::{
    body::{RequestBody, ResponseBody},
    budget::Charge,
    gzip,
    offload::convert,
    pool::relayed,
    receive::{Packing, UnknownPacking, grpc_message, in_time},
    session::Session,
    status::{from_fault, host_fault, refusal, traced},
    steps::{Answer, Caller, Path, Permit, Receipt},
    timeout::Patience,
    trace::Named,
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const OK: HeaderValue = HeaderValue::from_static("0");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const PACKINGS: HeaderValue = HeaderValue::from_static("identity,gzip");

/// The trailers of the contract, on every answer of a module.
pub(crate) const RECEIPT: [HeaderName; 5] = [
    HeaderName::from_static("roadstead-module"),
    HeaderName::from_static("roadstead-call"),
    HeaderName::from_static("roadstead-fuel-consumed"),
    HeaderName::from_static("roadstead-peak-memory-bytes"),
    HeaderName::from_static("roadstead-instance"),
];

/// Answers one call, whether it streams or not.
pub(crate) async fn answer<B: RequestBody>(
    session: &Arc<Session>,
    caller: Caller,
    path: Path<'_>,
    headers: &HeaderMap,
    body: B,
) -> Response<ResponseBody> {
    let Ok(packing) = Packing::of(headers, "grpc-encoding") else {
        return unknown_packing(UnknownPacking);
    };
    let named = session.name(headers);
    let trace = named.trace;
    let answer = match prepare(session, named, caller, path, headers) {
        Ok((patience, permit)) if permit.plan().is_streaming() => {
            return Box::pin(stream::answer(session, patience, permit, headers, packing, body))
                .await;
        }
        Ok((patience, permit)) => {
            match call(session, patience, permit, headers, body, packing).await {
                Called::Here(answer) => answer,
                Called::There(response) => return *response,
            }
        }
        Err(fault) => fault.into(),
    };
    let trailers = answer.receipt.as_ref().map(Receipt::headers).unwrap_or_default();
    let may_debug = answer.may_debug();
    let refused = |fault: &Fault| traced(fault, may_debug, trace);
    let message = match answer.result {
        Ok(message) => message,
        Err(fault) => return failure(refused(&fault), trailers),
    };
    match session.budget.hold(message.len()) {
        Ok(charge) => success(message, charge, packing, trailers).await,
        Err(fault) => failure(refused(&fault), trailers),
    }
}

/// What the headers say of the call, and leave to make it.
fn prepare(
    session: &Session,
    named: Named,
    caller: Caller,
    path: Path<'_>,
    headers: &HeaderMap,
) -> Result<(Patience, Permit), Fault> {
    let patience = Patience::of_grpc(headers)?;
    let target = caller.resolve(&session.app.registry, path, headers)?;
    Ok((patience, target.authorize(named)?))
}

/// Who answered a call.
enum Called {
    Here(Answer),
    /// Another host of the pool.
    There(Box<Response<ResponseBody>>),
}

impl From<Answer> for Called {
    fn from(answer: Answer) -> Self {
        Self::Here(answer)
    }
}

async fn call<B: RequestBody>(
    session: &Arc<Session>,
    patience: Patience,
    permit: Permit,
    headers: &HeaderMap,
    body: B,
    packing: Packing,
) -> Called {
    let app = &session.app;
    app.counters.call();
    if let Some(fault) = patience.left().map_or_else(Some, |left| permit.shed(left)) {
        return permit.refuse(fault).into();
    }
    let receiving = grpc_message(body, permit.input_limit(), packing, &session.budget);
    let received = in_time(receiving, &patience, app.receive_timeout).await;
    match received.and_then(|message| Ok((message, patience.left()?))) {
        Ok((message, timeout)) => {
            match Box::pin(forwarded(session, &permit, headers, &message.bytes, timeout)).await {
                Ok(None) => {}
                Ok(Some(response)) => return Called::There(Box::new(response)),
                Err(fault) => return permit.refuse(fault).into(),
            }
            let answer = permit.call(message.bytes, timeout).await;
            drop(message.charge);
            answer.into()
        }
        Err(fault) => permit.refuse(fault).into(),
    }
}

/// The answer of another host of the pool, where the call's handle leads there.
async fn forwarded(
    session: &Arc<Session>,
    permit: &Permit,
    headers: &HeaderMap,
    message: &Bytes,
    left: Option<Duration>,
) -> Result<Option<Response<ResponseBody>>, Fault> {
    let answered = session.app.forwarded(permit, headers, message, left).await?;
    Ok(answered.map(|answer| relayed(session, answer, permit.trace())))
}

/// Packs the message if the request was packed: a client that wants to spend time to save bytes
/// says so with its own messages, while most merely list what they could read.
async fn success(
    mut message: Bytes,
    charge: Option<Charge>,
    packing: Packing,
    mut trailers: HeaderMap,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    let mut packed = false;
    if packing == Packing::Gzip {
        headers.insert(ENCODING, GZIP);
        if message.len() >= gzip::WORTH_COMPRESSING {
            let plain = message.clone();
            let work = move || Ok(gzip::pack(&plain));
            if let Ok(Some(smaller)) = Box::pin(convert(message.len(), work)).await {
                message = smaller;
                packed = true;
            }
        }
    }
    let Ok(length) = u32::try_from(message.len()) else {
        let fault = host_fault("frame a response", &"it is longer than 4 GiB");
        return failure(from_fault(&fault, true), trailers);
    };
    trailers.insert(STATUS, OK);
    *response.body_mut() = ResponseBody::unary(packed, message, length, trailers).charged(charge);
    response
}

/// An answer of headers alone.
pub(crate) fn failure(status: Status, trailers: HeaderMap) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.headers_mut() = trailers;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    if status.add_header(headers).is_err() {
        headers.insert(STATUS, HeaderValue::from(Code::Unknown as i32));
    }
    response
}

/// A fault before any module was found.
pub(crate) fn refused(fault: &Fault) -> Response<ResponseBody> {
    failure(from_fault(fault, true), HeaderMap::new())
}

pub(crate) fn unknown_packing(_: UnknownPacking) -> Response<ResponseBody> {
    let status = refusal(
        Code::Unimplemented,
        "UNKNOWN_ENCODING",
        "`grpc-encoding` names a packing that this host does not know: send identity or gzip",
    );
    let mut response = failure(status, HeaderMap::new());
    response.headers_mut().insert(ACCEPT_ENCODING, PACKINGS);
    response
}

impl Receipt {
    /// The trailers of the contract.
    pub(crate) fn headers(&self) -> HeaderMap {
        let [module, call, fuel, memory, instance] = RECEIPT;
        // Room for the status too: a map that grows hashes everything again.
        let mut headers = HeaderMap::with_capacity(6);
        if let Ok(label) = HeaderValue::from_str(&self.module) {
            headers.insert(module, label);
        }
        if let Ok(mut id) = HeaderValue::from_str(&self.call.to_string()) {
            // Of no use to the connection's table of headers, which it would fill.
            id.set_sensitive(true);
            headers.insert(call, id);
        }
        headers.insert(fuel, self.usage.fuel.into());
        headers.insert(memory, self.usage.peak_memory.into());
        if let Some(origin) = self.usage.instance {
            headers.insert(instance, origin_value(origin));
        }
        headers
    }
}

fn origin_value(origin: InstanceOrigin) -> HeaderValue {
    HeaderValue::from_static(origin.as_str())
}
