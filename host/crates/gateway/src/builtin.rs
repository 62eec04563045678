//! The host's own services: modules, reflection and health, served by generated code.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use prost_reflect::DescriptorPool;
use roadstead_domain::{Fault, LimitKind};
use roadstead_proto::v1::module_service_server::{ModuleServiceServer, SERVICE_NAME as MODULES};
use roadstead_registry::Registry;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, codegen::Service as _};
use tonic_health::pb::health_server::{HealthServer, SERVICE_NAME as HEALTH};
use tonic_reflection::pb::{
    v1::server_reflection_server::{
        SERVICE_NAME as REFLECTION_V1, ServerReflectionServer as ReflectionV1,
    },
    v1alpha::server_reflection_server::{
        SERVICE_NAME as REFLECTION_V1ALPHA, ServerReflectionServer as ReflectionV1Alpha,
    },
};

use crate::{
    GatewayConfig,
    body::{RequestBody, ResponseBody},
    connection::Ends,
    grpc,
    health::Health,
    modules::{About, Fleet, Modules},
    reflection::Reflection,
    session::Session,
    status::from_fault,
    steps::Visit,
    timeout::Patience,
};

/// The host's services, which every namespace sees.
pub(crate) const SERVICES: [&str; 4] = [MODULES, REFLECTION_V1, REFLECTION_V1ALPHA, HEALTH];

/// Bytes of one message of an upload: a chunk, or the header with the WIT texts.
pub(crate) const UPLOAD_MESSAGE: u32 = 4 << 20;
/// Bytes of a request that is not an upload: names, versions, little else.
pub(crate) const REQUEST: usize = 64 << 10;
/// Bytes of one response message: all modules of a namespace with their specs.
pub(crate) const ANSWER: usize = 64 << 20;

/// One of the host's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostService {
    Modules,
    ReflectionV1,
    ReflectionV1Alpha,
    Health,
}

/// The servers behind them.
pub(crate) struct Builtin {
    modules: ModuleServiceServer<Modules>,
    reflection_v1: ReflectionV1<Reflection>,
    reflection_v1alpha: ReflectionV1Alpha<Reflection>,
    health: HealthServer<Health>,
    receive_timeout: Duration,
    /// The messages of all of them, for JSON.
    pub pool: DescriptorPool,
}

impl Builtin {
    pub(crate) fn new(
        registry: &Arc<Registry>,
        ends: &Ends,
        config: &GatewayConfig,
        (fleet, about): (Fleet, About),
    ) -> Self {
        let drain = &ends.drain;
        let modules = Modules::new(Arc::clone(registry), drain.clone(), fleet, about);
        let reflection = Arc::new(Reflection::new(Arc::clone(registry), drain.clone()));
        Self {
            modules: ModuleServiceServer::new(modules)
                .max_decoding_message_size(UPLOAD_MESSAGE as usize)
                .max_encoding_message_size(ANSWER),
            reflection_v1: ReflectionV1::from_arc(Arc::clone(&reflection))
                .max_decoding_message_size(REQUEST),
            reflection_v1alpha: ReflectionV1Alpha::from_arc(reflection)
                .max_decoding_message_size(REQUEST),
            health: HealthServer::new(Health::new(Arc::clone(registry), ends.clone()))
                .max_decoding_message_size(REQUEST),
            receive_timeout: config.receive_timeout,
            pool: pool(),
        }
    }

    pub(crate) fn find(&self, service: &str) -> Option<HostService> {
        Some(match service {
            MODULES => HostService::Modules,
            REFLECTION_V1 => HostService::ReflectionV1,
            REFLECTION_V1ALPHA => HostService::ReflectionV1Alpha,
            HEALTH => HostService::Health,
            _ => return None,
        })
    }

    /// Answers one gRPC request, within the time that its caller gives.
    pub(crate) async fn grpc<B: RequestBody>(
        &self,
        session: &Session,
        service: HostService,
        visit: Visit,
        parts: &Parts,
        body: B,
    ) -> Response<ResponseBody> {
        let patience = match Patience::of_grpc(&parts.headers) {
            Ok(patience) => patience,
            Err(fault) => return grpc::refused(&fault),
        };
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        self.in_time(session, service, visit, request, &patience).await
    }

    /// The same for a request made here.
    pub(crate) async fn in_time<B: RequestBody>(
        &self,
        session: &Session,
        service: HostService,
        visit: Visit,
        mut request: Request<B>,
        patience: &Patience,
    ) -> Response<ResponseBody> {
        let admit = || Ok((patience.left()?, session.own_request()?));
        let (left, place) = match admit() {
            Ok(admitted) => admitted,
            Err(fault) => return grpc::refused(&fault),
        };
        // An upload ends by itself.
        let upload = service == HostService::Modules && is_upload(request.uri().path());
        let over = if upload { CancellationToken::new() } else { session.over.clone() };
        request.extensions_mut().insert(*patience);
        let answering = self.call(session, service, visit, request);
        let answered = match left {
            None => Ok(answering.await),
            Some(left) => tokio::time::timeout(left, answering).await,
        };
        match answered {
            Ok(response) => amended(response).map(|body| ResponseBody::tonic(body, place, over)),
            Err(_) => grpc::refused(&patience.passed(left.unwrap_or_default())),
        }
    }

    async fn call<B: RequestBody>(
        &self,
        session: &Session,
        service: HostService,
        visit: Visit,
        mut request: Request<B>,
    ) -> Response<tonic::body::Body> {
        request.extensions_mut().insert(visit);
        let whole = |body| short(body, self.receive_timeout);
        let answered = match service {
            // These look after slow senders on their own.
            HostService::Modules if is_upload(request.uri().path()) => {
                let upload = session.upload();
                request.extensions_mut().insert(upload.clone());
                self.modules.clone().call(request.map(|body| upload.counted(body))).await
            }
            HostService::ReflectionV1 => self.reflection_v1.clone().call(request).await,
            HostService::ReflectionV1Alpha => self.reflection_v1alpha.clone().call(request).await,
            HostService::Modules => self.modules.clone().call(request.map(whole)).await,
            HostService::Health => self.health.clone().call(request.map(whole)).await,
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// tonic's own refusals, in the contract's words: it calls an oversized message OUT_OF_RANGE and
/// one that does not decode INTERNAL. Refusals of ours carry details, by which they are told apart.
pub(crate) fn amended_status(status: Status, allowed: u64) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    match status.code() {
        Code::OutOfRange => from_fault(&Fault::limit(LimitKind::Input, allowed, None), true),
        Code::Internal => from_fault(&Fault::bad_input("", status.message()), true),
        _ => status,
    }
}

fn is_upload(path: &str) -> bool {
    let method = path.rsplit('/').next();
    matches!(method, Some("PushModule" | "CheckModule"))
}

/// The body of a request that must be short, and here within the time.
fn short<B: RequestBody>(body: B, most: Duration) -> tonic::body::Body {
    let limited = Limited::new(body, REQUEST).map_err(|error| {
        if error.is::<LengthLimitError>() {
            from_fault(&Fault::limit(LimitKind::Input, REQUEST as u64, None), true)
        } else {
            Status::from_error(error)
        }
    });
    tonic::body::Body::new(Punctual { body: limited, most, timer: None })
}

/// A body that fails if it is not whole within the time.
struct Punctual<B> {
    body: B,
    most: Duration,
    /// None for a body that was whole when it was first looked at.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B: Body<Error = Status> + Unpin> Body for Punctual<B> {
    type Data = B::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Status>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let most = this.most;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(from_fault(&Fault::Deadline(most), true))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn amended(mut response: Response<tonic::body::Body>) -> Response<tonic::body::Body> {
    let refused = Status::from_header_map(response.headers())
        .filter(|status| matches!(status.code(), Code::OutOfRange | Code::Internal));
    if let Some(status) = refused {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/grpc");
        headers.insert(http::header::CONTENT_TYPE, kind);
        if amended_status(status, REQUEST as u64).add_header(&mut headers).is_ok() {
            *response.headers_mut() = headers;
        }
    }
    response
}

/// The encoded descriptor sets of everything that the host itself serves or answers with.
pub(crate) const DESCRIPTORS: [&[u8]; 5] = [
    roadstead_proto::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_types::pb::FILE_DESCRIPTOR_SET,
];

pub(crate) fn pool() -> DescriptorPool {
    let mut pool = DescriptorPool::global();
    for set in DESCRIPTORS {
        if let Err(error) = pool.decode_file_descriptor_set(set) {
            tracing::error!(%error, "read the host's own descriptors");
        }
    }
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_descriptors_link() {
        let pool = pool();
        for service in SERVICES {
            assert!(pool.get_service_by_name(service).is_some(), "{service}");
        }
        for message in ["google.rpc.ErrorInfo", "google.protobuf.Empty"] {
            assert!(pool.get_message_by_name(message).is_some(), "{message}");
        }
    }
}
