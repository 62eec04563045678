//! The Connect protocol's unary form, so that `curl` and browsers are clients: one message each
//! way as JSON or protobuf, over HTTP/1.1 and HTTP/2; trailers travel as `trailer-…` headers.

mod error;
mod host;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use roadstead_domain::Fault;

use crate::{
    app::App,
    body::{RequestBody, ResponseBody},
    gzip, json,
    offload::convert,
    receive::{Message, Packing, accepts_gzip, in_time, whole_body},
    status::host_fault,
    steps::{Answer, Caller, Path, Permit, Receipt},
    timeout::Patience,
};

pub(crate) use error::failure;
pub(crate) use host::host;

/// JSON writes bytes as base64 and numbers as digits: room for text over the message's limit.
const JSON_ROOM: u64 = 2;

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
    app: &App,
    codec: Codec,
    path: Path<'_>,
    caller: Caller,
    headers: &HeaderMap,
    body: B,
) -> Response<ResponseBody> {
    let mut answer = call(app, codec, path, caller, headers, body).await;
    answer.result = answer.result.and_then(|message| app.budget.hold(message));
    let trailers = answer.receipt.as_ref().map(Receipt::headers).unwrap_or_default();
    let trailers = prefixed(&trailers);
    match &answer.result {
        Ok(message) => success(codec, message.clone(), headers, trailers).await,
        Err(fault) => failure(&answer.status(fault), trailers),
    }
}

/// The answer's message is written as the request's codec wants it.
async fn call<B: RequestBody>(
    app: &App,
    codec: Codec,
    path: Path<'_>,
    caller: Caller,
    headers: &HeaderMap,
    body: B,
) -> Answer {
    let prepared = Terms::of(headers).and_then(|terms| {
        let target = caller.resolve(&app.registry, path, headers)?;
        Ok((terms, target.authorize(app.next_call())?))
    });
    let (terms, permit) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => return fault.into(),
    };
    app.counters.call();
    let types = match codec {
        Codec::Proto => None,
        Codec::Json => match types(&permit) {
            Ok(types) => Some(types),
            Err(fault) => return permit.refuse(fault),
        },
    };
    let received = receive(app, &terms, permit.input_limit(), types.as_ref(), body).await;
    let (message, timeout) =
        match received.and_then(|message| Ok((message, terms.patience.left()?))) {
            Ok(received) => received,
            Err(fault) => return permit.refuse(fault),
        };
    let mut answer = permit.call(message.bytes, timeout).await;
    if let (Ok(bytes), Some(types)) = (&answer.result, types) {
        answer.result = print(types, bytes.clone()).await;
    }
    answer
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
    app: &App,
    terms: &Terms,
    limit: u64,
    types: Option<&MethodDescriptor>,
    body: B,
) -> Result<Message, Fault> {
    let room = if types.is_some() { limit.saturating_mul(JSON_ROOM) } else { limit };
    let receiving = async {
        let mut message = whole_body(body, room, terms.packing, &app.budget).await?;
        if let Some(types) = types {
            let (input, text) = (types.input(), message.bytes);
            message.bytes = convert(text.len(), move || json::read(&input, &text)).await?;
        }
        Ok(message)
    };
    in_time(receiving, &terms.patience, app.receive_timeout).await
}

async fn print(types: MethodDescriptor, message: Bytes) -> Result<Bytes, Fault> {
    convert(message.len(), move || {
        let text = json::print(&types.output(), message);
        text.map(Bytes::from).ok_or_else(|| host_fault("print a response", &types.full_name()))
    })
    .await
}

async fn success(
    codec: Codec,
    mut message: Bytes,
    request: &HeaderMap,
    mut headers: HeaderMap,
) -> Response<ResponseBody> {
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
    let mut response = Response::new(ResponseBody::flat(message));
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
