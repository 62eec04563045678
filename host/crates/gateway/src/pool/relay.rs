//! A call that another host of the pool answers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_TYPE, TE},
};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use roadstead_domain::{Fault, HostName};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{
    Hop, Pool,
    hop::{HEADER, TIMEOUT, text},
    link::Unanswered,
};
use crate::{
    app::Elsewhere,
    body::ResponseBody,
    budget::Budget,
    frame::{self, UnaryFrame},
    session::Session,
    status::{host_fault, traced},
    steps::{Caller, MODULE, NAMESPACE, Permit},
    trace::TraceId,
    traces::HopSpan,
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// What a session is lost to whose host ends within a call.
const BROKE_OFF: &str = "its host broke off";
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

impl Pool {
    /// Sends a call to the host that its handle names, and waits for the head of the answer. Of
    /// what the caller sent, the message goes along, and the metadata that says whom it is for.
    ///
    /// # Errors
    /// [`Fault::SessionLost`] if that host is not there, [`Fault::Deadline`].
    pub(crate) async fn forward(
        &self,
        host: &HostName,
        permit: &Permit,
        headers: &HeaderMap,
        (message, parent): (&Bytes, &str),
        left: Option<Duration>,
    ) -> Result<Response<Incoming>, Fault> {
        let Some(at) = self.hosts.find(host) else {
            return Err(Fault::SessionLost("its host is not known here"));
        };
        let plan = permit.plan();
        let path = format!("/{}/{}", plan.service, plan.method);
        let mut hop = self.hop(host, permit.caller(), path, left);
        (hop.call, hop.module) = (permit.id().0, text(headers, MODULE));
        let request = self.request(&at, &hop, Some(parent), framed(message)?)?;
        let sending = self.links.send(host, &at, || request.clone());
        let answered = match left {
            None => sending.await,
            Some(left) => timeout(left, sending).await.map_err(|_| Fault::Deadline(left))?,
        };
        let response = answered.map_err(|why| match why {
            Unanswered::BrokenOff => Fault::SessionLost(BROKE_OFF),
            _ => Fault::SessionLost("its host cannot be reached"),
        })?;
        let grpc = response.headers().get(CONTENT_TYPE) == Some(&GRPC);
        if response.status() != StatusCode::OK || !grpc {
            return Err(Fault::SessionLost("what is at its host's address is no host"));
        }
        Ok(response)
    }

    /// What goes along with a request for another host, in the name of whoever asks this one.
    pub(super) fn hop(
        &self,
        to: &HostName,
        caller: &Caller,
        path: String,
        left: Option<Duration>,
    ) -> Hop {
        let everywhere = caller.identity().role_everywhere();
        Hop {
            from: self.host.to_string(),
            to: to.to_string(),
            hops: 1,
            unix_ms: unix_ms(),
            call: 0,
            path,
            identity: caller.identity().name().to_owned(),
            role: caller.role().to_string(),
            known: caller.owner().is_some(),
            namespace: caller.namespace().to_string(),
            module: String::new(),
            timeout: left.map(grpc_timeout).unwrap_or_default(),
            everywhere: everywhere.map(|role| role.to_string()).unwrap_or_default(),
        }
    }

    /// The request itself; `body` is framed as gRPC does, `parent` the trace that it belongs to.
    pub(super) fn request(
        &self,
        at: &Uri,
        hop: &Hop,
        parent: Option<&str>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Fault> {
        let failed = |what: &str| host_fault("forward a call", &what);
        let seal = self.seal.write(hop).ok_or_else(|| failed("its metadata"))?;
        let authority = at.authority().map_or("", |authority| authority.as_str());
        let uri = Uri::builder()
            .scheme(at.scheme_str().unwrap_or("http"))
            .authority(authority)
            .path_and_query(hop.path.as_str());
        let mut request = Request::post(uri.build().map_err(|error| failed(&error.to_string()))?)
            .version(Version::HTTP_2)
            .header(CONTENT_TYPE, GRPC)
            .header(TE, TRAILERS)
            .header(HEADER, seal);
        if let Some(parent) = parent {
            request = request.header("traceparent", parent);
        }
        let metadata =
            [(NAMESPACE, &hop.namespace), (MODULE, &hop.module), (TIMEOUT, &hop.timeout)];
        for (name, value) in metadata.into_iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|error| failed(&error.to_string()))
    }
}

fn framed(message: &Bytes) -> Result<Bytes, Fault> {
    let length = u32::try_from(message.len());
    let length = length.map_err(|_| host_fault("forward a call", &"it is over 4 GiB"))?;
    let mut framed = BytesMut::with_capacity(message.len().saturating_add(5));
    framed.put_slice(&frame::header(false, length));
    framed.put_slice(message);
    Ok(framed.freeze())
}

/// The answer as it comes, whether it streams or not.
pub(crate) fn relayed(
    session: &Arc<Session>,
    (answer, span): Elsewhere,
    trace: TraceId,
) -> Response<ResponseBody> {
    let (head, body) = answer.into_parts();
    let body = tonic::body::Body::new(Relayed { body, trace, over: false, span });
    let mut response = Response::new(ResponseBody::relayed(body, session.over.clone()));
    *response.headers_mut() = head.headers;
    response
}

/// The whole answer of a unary call.
pub(crate) struct Relay {
    pub result: Result<Bytes, Status>,
    pub trailers: HeaderMap,
}

/// Takes the whole answer in.
///
/// # Errors
/// [`Fault::SessionLost`] if it broke off, or what does not fit this host.
pub(crate) async fn collected(
    (answer, mut span): Elsewhere,
    limit: u64,
    budget: &Budget,
) -> Result<Relay, Fault> {
    let (head, mut body) = answer.into_parts();
    let mut trailers = head.headers;
    let mut message = UnaryFrame::new(limit, budget.charge());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault::SessionLost(BROKE_OFF))?;
        match frame.into_data() {
            Ok(chunk) => message.push(chunk)?,
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    if let Some(span) = &mut span {
        span.saw(&trailers);
    }
    let status = Status::from_header_map(&trailers);
    let result = match status {
        Some(status) if status.code() == Code::Ok => Ok(message.finish()?.0.bytes),
        Some(status) => Err(status),
        None => return Err(Fault::SessionLost(BROKE_OFF)),
    };
    Ok(Relay { result, trailers })
}

/// A response that ends with a status though its host does not live to say one.
struct Relayed {
    body: Incoming,
    trace: TraceId,
    over: bool,
    span: Option<HopSpan>,
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let error = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Err(error)) => error,
            Some(Ok(frame)) => {
                if let (Some(span), Some(trailers)) = (&mut self.span, frame.trailers_ref()) {
                    span.saw(trailers);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            None => return Poll::Ready(None),
        };
        tracing::debug!(%error, "a call that was forwarded");
        self.over = true;
        let mut trailers = HeaderMap::new();
        traced(&Fault::SessionLost(BROKE_OFF), false, self.trace).add_header(&mut trailers)?;
        if let Some(span) = &mut self.span {
            span.saw(&trailers);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }
}

/// As `grpc-timeout` writes it: eight digits at most.
fn grpc_timeout(left: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let micros = left.as_micros().max(1);
    if micros <= MOST {
        format!("{micros}u")
    } else if micros / 1000 <= MOST {
        format!("{}m", micros / 1000)
    } else {
        format!("{}S", (micros / 1_000_000).min(MOST))
    }
}

pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_eight_digits_at_most() {
        for (left, text) in [
            (Duration::ZERO, "1u"),
            (Duration::from_micros(1500), "1500u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(grpc_timeout(left), text, "{left:?}");
        }
    }
}
