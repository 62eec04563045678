//! From a request to who answers it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::{FutureExt as _, TryFutureExt as _};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ALLOW, CONTENT_TYPE},
    request::Parts,
};
use roadstead_domain::Fault;
use tonic::Code;

use crate::{
    Counters,
    body::{RequestBody, ResponseBody},
    builtin::HostService,
    connect::{self, Codec},
    cors::Grant,
    counters::Refused,
    grpc,
    origin::{self, Foreign},
    session::{Asked, Session},
    status::{from_fault, host_fault, refusal},
    steps::{Caller, Path, Visit, authenticate},
};

const HOW_TO_CALL: &str = "\
This is a Roadstead host. Call a method with POST and JSON:
  curl -H 'content-type: application/json' -d '{}' http://HOST/package.Service/Method
or with any gRPC client; server reflection lists the services.
";

/// The protocol that a request speaks, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Grpc,
    Connect(Codec),
}

/// Answers any request. Never fails and never panics: what goes wrong becomes a response.
pub(crate) async fn answer<B: RequestBody>(
    asked: Asked,
    request: Request<B>,
) -> Response<ResponseBody> {
    let session = Arc::clone(&asked.session);
    let app = &session.app;
    let dialect = Dialect::of(&request);
    let open = match asked.open() {
        Ok(open) => open,
        Err(fault) => {
            app.counters.refuse(Refused::Overloaded);
            return dialect.unwrap_or(Dialect::Connect(Codec::Json)).refuse(&fault);
        }
    };
    if app.loopback {
        let grpc = dialect == Ok(Dialect::Grpc);
        let (uri, headers) = (request.uri(), request.headers());
        let checked = origin::check(&app.cors, &app.allowed_hosts, uri, headers, grpc);
        if let Err(foreign) = checked {
            app.counters.refuse(Refused::Foreign);
            return turned_away(foreign, grpc);
        }
    }
    let grant = Grant::of(&app.cors, request.headers());
    if let Some(mut response) = grant.preflight(request.method(), request.headers()) {
        grant.mark(response.headers_mut());
        return response;
    }
    let mut response = match dialect {
        Ok(dialect) => {
            let answered = guarded(&app.counters, speak(&session, dialect, request)).await;
            answered.unwrap_or_else(|fault| dialect.refuse(&fault))
        }
        Err(misdirected) => {
            app.counters.refuse(Refused::Misdirected);
            misdirected.response()
        }
    };
    grant.mark(response.headers_mut());
    response.body_mut().belongs_to(open);
    response
}

async fn speak<B: RequestBody>(
    session: &Arc<Session>,
    dialect: Dialect,
    request: Request<B>,
) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    // Who asks, and where: before anything about the namespace is looked at.
    let Ok(arrived) = session.app.arrived(&parts) else { return dialect.forged() };
    let forwarded = arrived.is_some();
    let entered = match arrived {
        Some(identity) => Ok(identity),
        None => authenticate(&session.app.auth, &parts.headers, session.peer.as_ref()),
    };
    let entered = entered.and_then(|who| Caller::enter(who, &parts.headers, forwarded));
    if let Err(fault) = &entered {
        session.app.counters.refuse_for(fault);
    }
    let path = Path::parse(parts.uri.path());
    let routed = match path.and_then(|path| Some((path, session.app.builtin.find(path.service)?))) {
        Some((path, service)) => Visit::begin(entered, &session.app.auth, service, path.method)
            .map(|visit| Routed::Own(path, service, visit)),
        None => entered.and_then(|caller| match path {
            Some(path) => Ok(Routed::Module(path, caller)),
            None => Err(Fault::NoSuchService(parts.uri.path().to_owned())),
        }),
    };
    match routed {
        Ok(routed) => route(session, dialect, routed, &parts, body).await,
        Err(fault) => dialect.refuse(&fault),
    }
}

/// Who answers, for whom.
enum Routed<'a> {
    /// One of the host's own services: modules, reflection, health.
    Own(Path<'a>, HostService, Visit),
    /// Everything else is a module's.
    Module(Path<'a>, Caller),
}

async fn route<B: RequestBody>(
    session: &Arc<Session>,
    dialect: Dialect,
    routed: Routed<'_>,
    parts: &Parts,
    body: B,
) -> Response<ResponseBody> {
    match (routed, dialect) {
        (Routed::Own(_, service, visit), Dialect::Grpc) => {
            Box::pin(session.app.builtin.grpc(session, service, visit, parts, body)).await
        }
        (Routed::Own(path, service, visit), Dialect::Connect(codec)) => {
            Box::pin(connect::host(session, service, codec, path, visit, parts, body)).await
        }
        (Routed::Module(path, caller), Dialect::Grpc) => {
            grpc::answer(session, caller, path, &parts.headers, body).await
        }
        (Routed::Module(path, caller), Dialect::Connect(codec)) => {
            Box::pin(connect::module(session, codec, path, caller, &parts.headers, body)).await
        }
    }
}

/// A request that is none of a client's that this host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misdirected {
    Method,
    MediaType,
    GrpcOverHttp1,
}

impl Misdirected {
    /// Says how to call instead.
    fn response(self) -> Response<ResponseBody> {
        let (status, text, header) = match self {
            Self::Method => {
                let allow = HeaderValue::from_static("POST");
                (StatusCode::METHOD_NOT_ALLOWED, HOW_TO_CALL, Some((ALLOW, allow)))
            }
            Self::MediaType => {
                let known = "application/grpc, application/json, application/proto";
                let accept = HeaderName::from_static("accept-post");
                let header = Some((accept, HeaderValue::from_static(known)));
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, HOW_TO_CALL, header)
            }
            Self::GrpcOverHttp1 => {
                let text = "gRPC needs HTTP/2; over HTTP/1.1 send application/json\n";
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, text, None)
            }
        };
        let mut response = plain(status, text);
        response.headers_mut().extend(header);
        response
    }
}

fn turned_away(foreign: Foreign, grpc: bool) -> Response<ResponseBody> {
    if grpc {
        let advice = foreign.advice().trim_end();
        let status = refusal(Code::PermissionDenied, foreign.reason(), advice);
        return grpc::failure(status, HeaderMap::new());
    }
    plain(StatusCode::FORBIDDEN, foreign.advice())
}

fn plain(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::flat(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

impl Dialect {
    fn of<B>(request: &Request<B>) -> Result<Self, Misdirected> {
        if request.method() != Method::POST {
            return Err(Misdirected::Method);
        }
        let media = media_type(request.headers());
        let is = |known: &str| media.eq_ignore_ascii_case(known);
        if is("application/grpc") || is("application/grpc+proto") {
            let http_2 = request.version() == Version::HTTP_2;
            return if http_2 { Ok(Self::Grpc) } else { Err(Misdirected::GrpcOverHttp1) };
        }
        if is("application/json") {
            return Ok(Self::Connect(Codec::Json));
        }
        if is("application/proto") {
            return Ok(Self::Connect(Codec::Proto));
        }
        Err(Misdirected::MediaType)
    }

    /// What only hosts of the pool may say was said by somebody else.
    fn forged(self) -> Response<ResponseBody> {
        let text = "the metadata `roadstead-forwarded-bin` is for hosts of a pool among themselves";
        let status = refusal(Code::PermissionDenied, "FORGED_METADATA", text);
        match self {
            Self::Grpc => grpc::failure(status, HeaderMap::new()),
            Self::Connect(_) => connect::failure(&status, HeaderMap::new()),
        }
    }

    fn refuse(self, fault: &Fault) -> Response<ResponseBody> {
        match self {
            Self::Grpc => grpc::refused(fault),
            Self::Connect(_) => connect::failure(&from_fault(fault, true), HeaderMap::new()),
        }
    }
}

/// A panic of the host ends one request and is counted; the panic hook has logged its text.
///
/// Not an async function: that would hold `work` twice, and every request's future is moved about.
fn guarded<T>(
    counters: &Counters,
    work: impl Future<Output = T>,
) -> impl Future<Output = Result<T, Fault>> {
    AssertUnwindSafe(work).catch_unwind().map_err(|_| {
        counters.panic();
        host_fault("answer a request", &"it panicked")
    })
}

/// The content type without its parameters.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests;
