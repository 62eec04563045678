//! The Connect protocol's unary form, so that `curl` and browsers are clients: one message each
//! way as JSON or protobuf, over HTTP/1.1 and HTTP/2; trailers travel as `trailer-…` headers.

mod error;
mod host;

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use roadstead_domain::Fault;
use tonic::{Code, Status};

use crate::{
    body::{RequestBody, ResponseBody},
    grpc::RECEIPT,
    gzip, json,
    offload::convert,
    pool::{Relay, collected},
    receive::{Message, Packing, accepts_gzip, in_time, whole_body},
    session::Session,
    status::{host_fault, refusal, traced},
    steps::{Answer, Caller, Path, Permit, Receipt},
    timeout::Patience,
};

pub(crate) use error::failure;
pub(crate) use host::host;

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Proto,
}

/// What the headers of a request say about it.
struct Terms {
    packing: Packing,
    patience: Patience,
}

/// Answers one call of a module's method.
pub(crate) async fn module<B: RequestBody>(
    session: &Session,
    codec: Codec,
    path: Path<'_>,
    caller: Caller,
    headers: &HeaderMap,
    body: B,
) -> Response<ResponseBody> {
    let named = session.name(headers);
    let trace = named.trace;
    let prepared = Terms::of(headers).and_then(|terms| {
        let target = caller.resolve(&session.app.registry, path, headers)?;
        Ok((terms, target.authorize(named)?))
    });
    let (terms, permit) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => return failure(&traced(&fault, true, trace), HeaderMap::new()),
    };
    session.app.counters.call();
    if permit.plan().is_streaming() {
        return failure(&streaming_method(), HeaderMap::new());
    }
    let output_limit = permit.output_limit();
    let types = match codec {
        Codec::Proto => Ok(None),
        Codec::Json => types(&permit).map(Some),
    };
    let called = match &types {
        Ok(types) => call(session, &terms, permit, headers, types.as_ref(), body).await,
        Err(fault) => Called::Here(permit.refuse(fault.clone())),
    };
    let may_debug = called.may_debug();
    let said = |fault: &Fault| traced(fault, may_debug, trace);
    let (result, trailers) = called.parts(said);
    let trailers = prefixed(&trailers);
    let written = match (result, types) {
        (Ok(bytes), Ok(types)) => {
            let written = write(session, &terms, types, bytes, output_limit).await;
            written.map_err(|fault| said(&fault))
        }
        (Err(status), _) => Err(status),
        (_, Err(fault)) => Err(said(&fault)),
    };
    match written {
        Ok(message) => success(codec, message, headers, trailers).await,
        Err(status) => failure(&status, trailers),
    }
}

/// Who answered a call.
enum Called {
    Here(Answer),
    /// Another host of the pool.
    There(Relay),
}

impl Called {
    fn may_debug(&self) -> bool {
        match self {
            Self::Here(answer) => answer.may_debug(),
            Self::There(_) => false,
        }
    }

    /// The message or status, and the trailers of the contract.
    fn parts(self, said: impl Fn(&Fault) -> Status) -> (Result<Bytes, Status>, HeaderMap) {
        match self {
            Self::Here(Answer { result, receipt }) => {
                let trailers = receipt.as_ref().map(Receipt::headers).unwrap_or_default();
                (result.map_err(|fault| said(&fault)), trailers)
            }
            Self::There(Relay { result, trailers }) => {
                let of_contract = RECEIPT
                    .into_iter()
                    .filter_map(|name| Some((name.clone(), trailers.get(&name)?.clone())));
                (result, of_contract.collect())
            }
        }
    }
}

/// Streams have no place in the unary form of the protocol.
fn streaming_method() -> Status {
    let text = "this method streams: call it over gRPC";
    refusal(Code::Unimplemented, "STREAMING_METHOD", text)
}

async fn call<B: RequestBody>(
    session: &Session,
    terms: &Terms,
    permit: Permit,
    headers: &HeaderMap,
    types: Option<&MethodDescriptor>,
    body: B,
) -> Called {
    if let Some(fault) = terms.patience.left().map_or_else(Some, |left| permit.shed(left)) {
        return Called::Here(permit.refuse(fault));
    }
    let received = receive(session, terms, permit.input_limit(), types, body).await;
    match received.and_then(|message| Ok((message, terms.patience.left()?))) {
        Ok((message, timeout)) => {
            let bytes = &message.bytes;
            match Box::pin(forwarded(session, &permit, headers, bytes, timeout)).await {
                Ok(None) => {}
                Ok(Some(relay)) => return Called::There(relay),
                Err(fault) => return Called::Here(permit.refuse(fault)),
            }
            let answer = permit.call(message.bytes, timeout).await;
            drop(message.charge);
            Called::Here(answer)
        }
        Err(fault) => Called::Here(permit.refuse(fault)),
    }
}

/// The answer of another host of the pool, where the call's handle leads there.
async fn forwarded(
    session: &Session,
    permit: &Permit,
    headers: &HeaderMap,
    message: &Bytes,
    left: Option<Duration>,
) -> Result<Option<Relay>, Fault> {
    let answered = session.app.forwarded(permit, headers, message, left).await?;
    let Some(answer) = answered else { return Ok(None) };
    collected(answer, permit.output_limit(), &session.budget).await.map(Some)
}

/// The method's descriptor, whose messages JSON is read and printed by.
fn types(permit: &Permit) -> Result<MethodDescriptor, Fault> {
    let plan = permit.plan();
    let schema = permit.live().schema()?;
    let found = schema.pool().and_then(|pool| method(pool, &plan.service, &plan.method));
    found.ok_or_else(|| host_fault("look up a method's messages", &permit.live().label()))
}

fn method(pool: &DescriptorPool, service: &str, method: &str) -> Option<MethodDescriptor> {
    pool.get_service_by_name(service)?.methods().find(|found| found.name() == method)
}

/// The request's protobuf message; JSON is read here.
async fn receive<B: RequestBody>(
    session: &Session,
    terms: &Terms,
    limit: u64,
    types: Option<&MethodDescriptor>,
    body: B,
) -> Result<Message, Fault> {
    let room = if types.is_some() { limit.saturating_mul(json::TEXT) } else { limit };
    let receiving = async {
        let mut message = whole_body(body, room, terms.packing, &session.budget).await?;
        if let Some(types) = types {
            let (input, text) = (types.input(), message.bytes);
            message.bytes = convert(text.len(), move || json::read(&input, &text)).await?;
        }
        Ok(message)
    };
    in_time(receiving, &terms.patience, session.app.receive_timeout).await
}

/// The response's message, counted, as the request's codec wants it. JSON is printed here, which
/// is a part of the call's time.
async fn write(
    session: &Session,
    terms: &Terms,
    types: Option<MethodDescriptor>,
    bytes: Bytes,
    limit: u64,
) -> Result<Message, Fault> {
    let mut charge = session.budget.charge();
    charge.grow(bytes.len() as u64)?;
    let Some(types) = types else { return Ok(Message { bytes, charge }) };
    let of_text = session.budget.charge();
    let printing = convert(bytes.len(), move || {
        let printed = json::print(&types.output(), bytes, limit, of_text);
        drop(charge);
        printed
    });
    in_time(printing, &terms.patience, session.app.receive_timeout).await
}

async fn success(
    codec: Codec,
    message: Message,
    request: &HeaderMap,
    mut headers: HeaderMap,
) -> Response<ResponseBody> {
    let Message { bytes: mut message, charge } = message;
    headers.insert(CONTENT_TYPE, codec.content_type());
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let worth = message.len() >= gzip::WORTH_COMPRESSING;
    if worth && accepts_gzip(request, ACCEPT_ENCODING.as_str()) {
        let plain = message.clone();
        if let Ok(Some(packed)) = convert(message.len(), move || Ok(gzip::pack(&plain))).await {
            message = packed;
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    let mut response = Response::new(ResponseBody::flat(message).charged(Some(charge)));
    *response.headers_mut() = headers;
    response
}

/// Trailers, as they travel before the body.
fn prefixed(trailers: &HeaderMap) -> HeaderMap {
    let name = |name: &HeaderName| HeaderName::try_from(format!("trailer-{name}")).ok();
    trailers.iter().filter_map(|(key, value)| Some((name(key)?, value.clone()))).collect()
}

impl Codec {
    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Proto => "application/proto",
        })
    }
}

impl Terms {
    fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        const VERSION: &str = "connect-protocol-version";
        if headers.get(VERSION).is_some_and(|version| version != "1") {
            return Err(Fault::bad_input(VERSION, "must be 1 where it is given"));
        }
        let packing = Packing::of(headers, CONTENT_ENCODING.as_str())
            .map_err(|_| Fault::bad_input("content-encoding", "must be identity or gzip"))?;
        Ok(Self { packing, patience: Patience::of_connect(headers)? })
    }
}
