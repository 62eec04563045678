//! The host's own unary methods over Connect: the message is handed to the generated server as a
//! gRPC request, and its answer read back.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE, request::Parts};
use http_body_util::{BodyExt as _, Full};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use roadstead_domain::{ByteSize, Fault};
use tonic::{Code, Status};

use super::{Codec, Terms, failure, method, receive, success, write};
use crate::{
    body::{RequestBody, ResponseBody},
    budget::Budget,
    builtin::{ANSWER, HostService},
    frame::{self, UnaryFrame},
    receive::Message,
    session::Session,
    status::{from_fault, host_fault},
    steps::{Path, Visit},
};

/// Bytes of a request.
const REQUEST: u64 = 4 << 20;

/// Answers one call of a method of the host's own.
pub(crate) async fn host<B: RequestBody>(
    session: &Session,
    service: HostService,
    codec: Codec,
    path: Path<'_>,
    visit: Visit,
    parts: &Parts,
    body: B,
) -> Response<ResponseBody> {
    match call(session, service, codec, path, visit, parts, body).await {
        Ok(message) => success(codec, message, &parts.headers, HeaderMap::new()).await,
        Err(status) => failure(&status, HeaderMap::new()),
    }
}

async fn call<B: RequestBody>(
    session: &Session,
    service: HostService,
    codec: Codec,
    path: Path<'_>,
    visit: Visit,
    parts: &Parts,
    body: B,
) -> Result<Message, Status> {
    let refuse = |fault: Fault| from_fault(&fault, true);
    let builtin = &session.app.builtin;
    let types = unary_method(&builtin.pool, path)?;
    let json = (codec == Codec::Json).then_some(&types);
    let terms = Terms::of(&parts.headers).map_err(refuse)?;
    let message = receive(session, &terms, REQUEST, json, body).await.map_err(refuse)?;
    let request = grpc_request(parts, &message.bytes)?;
    let response = builtin.in_time(session, service, visit, request, &terms.patience).await;
    let answer = read(response).await?;
    let types = (codec == Codec::Json).then_some(types);
    write(session, &terms, types, answer, ANSWER as u64).await.map_err(refuse)
}

fn unary_method(pool: &DescriptorPool, path: Path<'_>) -> Result<MethodDescriptor, Status> {
    let found = method(pool, path.service, path.method).ok_or_else(|| {
        let (service, method) = (path.service.to_owned(), path.method.to_owned());
        from_fault(&Fault::NoSuchMethod { service, method }, true)
    })?;
    if found.is_client_streaming() || found.is_server_streaming() {
        return Err(super::streaming_method());
    }
    Ok(found)
}

fn grpc_request(parts: &Parts, message: &[u8]) -> Result<Request<Full<Bytes>>, Status> {
    let length = u32::try_from(message.len()).map_err(|_| Status::internal("too long"))?;
    let body = [&frame::header(false, length)[..], message].concat();
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(request)
}

/// The one message of a gRPC response, or its status.
async fn read(response: Response<ResponseBody>) -> Result<Bytes, Status> {
    let broken = || from_fault(&host_fault("read an answer of the host's own", &"cut"), true);
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Err(status);
    }
    let body = response.into_body().collect().await?;
    let status = body.trailers().and_then(Status::from_header_map).ok_or_else(broken)?;
    if status.code() != Code::Ok {
        return Err(status);
    }
    let mut frame = UnaryFrame::new(u64::MAX, Budget::new(ByteSize(u64::MAX)).charge());
    frame.push(body.to_bytes()).map_err(|_| broken())?;
    let (payload, _) = frame.finish().map_err(|_| broken())?;
    Ok(payload.bytes)
}
