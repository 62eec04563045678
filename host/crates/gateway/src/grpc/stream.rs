//! A streaming method over gRPC: messages are passed on as they come, both ways.
//!
//! Nothing is read of the request's body while the guest takes no more, and nothing is taken from
//! the guest while the client's window is closed: HTTP/2's flow control holds whoever is too fast.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{FutureExt as _, stream};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use roadstead_domain::Fault;
use roadstead_engine::{Requests, Response as Event, Responses};
use tonic::Status;

use super::{Called, ENCODING, GRPC, GZIP, OK, STATUS, failure, forwarded};
use crate::{
    body::{RequestBody, ResponseBody},
    budget::{Budget, Charge},
    frame::{self, UnaryFrame},
    gzip,
    offload::convert,
    receive::{Message, Packing, grpc_message, in_time, plain},
    session::Session,
    status::{host_fault, traced},
    steps::{Answer, Opened, Permit, Receipt},
    timeout::Patience,
    trace::TraceId,
};

/// Messages are joined up to this size: one frame on the wire for many small ones.
const JOIN: usize = 32 << 10;

/// Answers one call of a streaming method.
pub(super) async fn answer<B: RequestBody>(
    session: &Arc<Session>,
    patience: Patience,
    permit: Permit,
    headers: &HeaderMap,
    packing: Packing,
    body: B,
) -> Response<ResponseBody> {
    session.app.counters.call();
    let trace = permit.trace();
    match open(session, patience, permit, headers, packing, body).await {
        Ok((responses, opened)) => {
            let session = Arc::clone(session);
            streamed(Outgoing { responses, opened, packing, session, end: None })
        }
        Err(Called::Here(answer)) => refused(answer, trace),
        Err(Called::There(response)) => *response,
    }
}

/// Begins the call, and passes on what its caller sends.
async fn open<B: RequestBody>(
    session: &Arc<Session>,
    patience: Patience,
    permit: Permit,
    headers: &HeaderMap,
    packing: Packing,
    body: B,
) -> Result<(Responses, Opened), Called> {
    let timeout = match patience.left() {
        Ok(left) => left,
        Err(fault) => return Err(permit.refuse(fault).into()),
    };
    if let Some(fault) = permit.shed(timeout) {
        return Err(permit.refuse(fault).into());
    }
    let limit = permit.input_limit();
    if permit.plan().input.is_some() {
        let (requests, responses, opened) =
            permit.open(Bytes::new(), timeout).map_err(|answer| *answer)?;
        let messages = Messages::new(body, limit, packing, session.budget.clone());
        tokio::spawn(pump(messages, requests));
        return Ok((responses, opened));
    }
    let receiving = grpc_message(body, limit, packing, &session.budget);
    match in_time(receiving, &patience, session.app.receive_timeout).await {
        Ok(Message { bytes, charge }) => {
            match forwarded(session, &permit, headers, &bytes, timeout).await {
                Ok(None) => {}
                Ok(Some(response)) => return Err(Called::There(Box::new(response))),
                Err(fault) => return Err(permit.refuse(fault).into()),
            }
            let (_, responses, opened) =
                permit.open(held(bytes, charge), timeout).map_err(|answer| *answer)?;
            Ok((responses, opened))
        }
        Err(fault) => Err(permit.refuse(fault).into()),
    }
}

fn refused(answer: Answer, trace: TraceId) -> Response<ResponseBody> {
    let may_debug = answer.may_debug();
    let trailers = answer.receipt.as_ref().map(Receipt::headers).unwrap_or_default();
    let Err(fault) = answer.result else { return failure(Status::ok(""), trailers) };
    failure(traced(&fault, may_debug, trace), trailers)
}

/// Passes the caller's messages on until the guest reads no more.
async fn pump<B: RequestBody>(mut messages: Messages<B>, mut requests: Requests) {
    loop {
        let next = tokio::select! {
            biased;
            () = requests.not_read() => return,
            next = messages.next() => next,
        };
        match next {
            Ok(Some(message)) => {
                if requests.send(message).await.is_err() {
                    return;
                }
            }
            Ok(None) => return requests.finish(),
            Err(fault) => return requests.abort(fault),
        }
    }
}

/// The messages of a request's body, one by one.
struct Messages<B> {
    body: B,
    limit: u64,
    packing: Packing,
    budget: Budget,
    /// What came and belongs to the next messages.
    rest: Bytes,
    frame: UnaryFrame,
}

impl<B: RequestBody> Messages<B> {
    fn new(body: B, limit: u64, packing: Packing, budget: Budget) -> Self {
        let frame = UnaryFrame::new(limit, budget.charge());
        Self { body, limit, packing, budget, rest: Bytes::new(), frame }
    }

    /// The next message; none at the end. May be given up and asked again.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if !self.rest.is_empty() && self.frame.take(&mut self.rest)? {
                let next = UnaryFrame::new(self.limit, self.budget.charge());
                let whole = std::mem::replace(&mut self.frame, next);
                let Message { bytes, charge } = plain(whole, self.packing, self.limit).await?;
                return Ok(Some(held(bytes, charge)));
            }
            let Some(frame) = self.body.frame().await else {
                let cut = || Fault::bad_input("", "the request ended within a message");
                return if self.frame.is_untouched() { Ok(None) } else { Err(cut()) };
            };
            let Ok(frame) = frame else { return Err(Fault::Cancelled) };
            if let Ok(chunk) = frame.into_data() {
                self.rest = chunk;
            }
        }
    }
}

/// A message that counts as held until nobody has it any more.
fn held(bytes: Bytes, charge: Charge) -> Bytes {
    struct Held(Bytes, #[expect(dead_code, reason = "given back on drop")] Charge);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    if charge.is_free() { bytes } else { Bytes::from_owner(Held(bytes, charge)) }
}

/// The response, whose headers are sent at once: callers may wait for them before they send.
fn streamed(outgoing: Outgoing) -> Response<ResponseBody> {
    let packing = outgoing.packing;
    let frames = stream::unfold(Some(outgoing), |outgoing| async {
        let mut outgoing = outgoing?;
        let frame = outgoing.frame().await;
        let left = (!frame.is_trailers()).then_some(outgoing);
        Some((Ok::<_, Status>(frame), left))
    });
    let body = tonic::body::Body::new(StreamBody::new(Box::pin(frames)));
    let mut response = Response::new(ResponseBody::stream(body));
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, GRPC);
    if packing == Packing::Gzip {
        headers.insert(ENCODING, GZIP);
    }
    response
}

/// A stream of responses on its way out.
struct Outgoing {
    responses: Responses,
    opened: Opened,
    packing: Packing,
    session: Arc<Session>,
    /// How it ended, where that is known and not said yet.
    end: Option<Result<(), Fault>>,
}

impl Outgoing {
    /// The messages that are there, or the trailers.
    async fn frame(&mut self) -> Frame<Bytes> {
        if self.end.is_none() {
            let mut joined = BytesMut::new();
            let mut next = Some(tokio::select! {
                biased;
                () = self.session.over.cancelled() => Event::End(Err(self.session.why_over())),
                event = self.responses.next() => event,
            });
            while let Some(event) = next {
                match event {
                    Event::Message(message) => self.put(&mut joined, message).await,
                    Event::End(end) => {
                        self.end = Some(end);
                        break;
                    }
                }
                let room = joined.len() < JOIN && self.end.is_none();
                next = if room { self.responses.next().now_or_never() } else { None };
            }
            if !joined.is_empty() {
                return Frame::data(joined.freeze());
            }
        }
        let end = self.end.take().unwrap_or(Ok(()));
        Frame::trailers(self.trailers(&end))
    }

    async fn put(&mut self, joined: &mut BytesMut, mut message: Bytes) {
        let mut packed = false;
        if self.packing == Packing::Gzip && message.len() >= gzip::WORTH_COMPRESSING {
            let plain = message.clone();
            let work = move || Ok(gzip::pack(&plain));
            if let Ok(Some(smaller)) = convert(message.len(), work).await {
                message = smaller;
                packed = true;
            }
        }
        match u32::try_from(message.len()) {
            Ok(length) => {
                joined.reserve(message.len() + 5);
                joined.put_slice(&frame::header(packed, length));
                joined.put(message);
            }
            Err(_) => {
                self.end = Some(Err(host_fault("frame a response", &"it is longer than 4 GiB")));
            }
        }
    }

    fn trailers(&self, end: &Result<(), Fault>) -> HeaderMap {
        let (status, receipt) = self.opened.end(end, self.responses.usage());
        let mut trailers = receipt.headers();
        let said = status.map_or(Ok(()), |status| status.add_header(&mut trailers));
        if said.is_err() {
            trailers.insert(STATUS, http::HeaderValue::from(tonic::Code::Unknown as i32));
        } else {
            trailers.entry(STATUS).or_insert(OK);
        }
        trailers
    }
}
