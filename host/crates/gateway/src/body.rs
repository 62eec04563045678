//! The body of a response: ours, flat, or tonic's.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use roadstead_domain::Fault;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, codegen::StdError};

use crate::{
    budget::{Charge, FREE},
    frame,
    session::Open,
    stall,
    status::{from_fault, host_fault},
};

/// Messages up to this size are copied behind their header: one frame on the wire, one write.
const JOIN: usize = 16 << 10;

/// Bytes that are handed out at once: a client must take so much within the write timeout.
const PIECE: usize = 128 << 10;

/// What hyper receives, and what tests put in its place.
pub(crate) trait RequestBody:
    Body<Data = Bytes, Error: Into<StdError> + Send> + Send + Unpin + 'static
{
}

impl<B> RequestBody for B where
    B: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + Unpin + 'static
{
}

/// What hyper sends. Everything that the response was counted as is given back with it.
pub(crate) struct ResponseBody {
    /// Bytes that go out before anything else.
    ready: Bytes,
    then: Then,
    charge: Option<Charge>,
    _place: Option<OwnedSemaphorePermit>,
    /// Ready when a stream must end that does not look for itself.
    over: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    open: Option<Open>,
}

enum Then {
    /// The rest of a unary call: its message, then its trailers.
    Message(Bytes, HeaderMap),
    Trailers(HeaderMap),
    Tonic(tonic::body::Body),
    /// Nothing, but that is not said yet.
    Last,
    End,
}

impl ResponseBody {
    fn new(ready: Bytes, then: Then) -> Self {
        Self { ready, then, charge: None, _place: None, over: None, open: None }
    }

    pub(crate) fn empty() -> Self {
        Self::flat(Bytes::new())
    }

    pub(crate) fn flat(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let then = if bytes.is_empty() { Then::End } else { Then::Last };
        Self::new(bytes, then)
    }

    /// A gRPC message and its trailers. `length` is the message's.
    pub(crate) fn unary(packed: bool, message: Bytes, length: u32, trailers: HeaderMap) -> Self {
        let header = frame::header(packed, length);
        if message.len() > JOIN {
            return Self::new(Bytes::copy_from_slice(&header), Then::Message(message, trailers));
        }
        let mut joined = BytesMut::with_capacity(header.len() + message.len());
        joined.extend_from_slice(&header);
        joined.extend_from_slice(&message);
        Self::new(joined.freeze(), Then::Trailers(trailers))
    }

    /// Messages of one of the host's own services.
    pub(crate) fn tonic(
        body: tonic::body::Body,
        place: OwnedSemaphorePermit,
        over: CancellationToken,
    ) -> Self {
        Self { _place: Some(place), ..Self::relayed(body, over) }
    }

    /// What another host answers.
    pub(crate) fn relayed(body: tonic::body::Body, over: CancellationToken) -> Self {
        let over = Some(Box::pin(over.cancelled_owned()));
        Self { over, ..Self::new(Bytes::new(), Then::Tonic(body)) }
    }

    /// Messages of a module's stream.
    pub(crate) fn stream(body: tonic::body::Body) -> Self {
        Self::new(Bytes::new(), Then::Tonic(body))
    }

    /// What the body is counted as until it is sent or given up.
    pub(crate) fn charged(mut self, charge: Option<Charge>) -> Self {
        self.charge = charge;
        self
    }

    /// The request that it answers, which is open until that is done.
    pub(crate) fn belongs_to(&mut self, open: Open) {
        self.open = Some(open);
    }

    /// The next bytes.
    ///
    /// hyper hands a piece on as soon as there is room for one byte of it, and looks after a body
    /// no longer than to its end. So the last byte goes alone: when it can go, all else is gone.
    fn piece(&mut self) -> Bytes {
        let length = self.ready.len();
        if length <= FREE {
            return mem::take(&mut self.ready);
        }
        self.ready.split_to(PIECE.min(length - 1))
    }

    /// Messages of the host's own are counted one by one, as they are made.
    fn count(&mut self) -> Result<(), Status> {
        self.charge = None;
        let Some(open) = &self.open else { return Ok(()) };
        let held = open.asked.session.budget.hold(self.ready.len());
        self.charge = held.map_err(|fault| from_fault(&fault, true))?;
        Ok(())
    }

    /// Ready when the stream must end.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.over {
            Some(over) => over.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    fn poll_tonic(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Then::Tonic(body) = &mut self.then else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx)));
        let Ok(polled) = polled else {
            if let Some(open) = &self.open {
                open.asked.session.app.counters.panic();
            }
            self.then = Then::End;
            let fault = host_fault("stream a response", &"it panicked");
            return Poll::Ready(Some(trailers(&from_fault(&fault, true))));
        };
        let Poll::Ready(frame) = polled else {
            ready!(self.poll_over(cx));
            self.then = Then::End;
            let fault = self.open.as_ref().map(|open| open.asked.session.why_over());
            let status = from_fault(&fault.unwrap_or(Fault::Draining), true);
            return Poll::Ready(Some(trailers(&status)));
        };
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        match frame.into_data() {
            Ok(bytes) => {
                self.ready = bytes;
                if let Err(status) = self.count() {
                    self.ready = Bytes::new();
                    self.then = Then::End;
                    return Poll::Ready(Some(trailers(&status)));
                }
                Poll::Ready(Some(Ok(Frame::data(self.piece()))))
            }
            Err(frame) => Poll::Ready(Some(Ok(frame))),
        }
    }
}

fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut headers = HeaderMap::new();
    status.add_header(&mut headers)?;
    Ok(Frame::trailers(headers))
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if !this.ready.is_empty() {
            stall::sending();
            return Poll::Ready(Some(Ok(Frame::data(this.piece()))));
        }
        let frame = match mem::replace(&mut this.then, Then::End) {
            Then::Message(message, trailers) => {
                this.ready = message;
                this.then = Then::Trailers(trailers);
                Some(Ok(Frame::data(this.piece())))
            }
            Then::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            Then::Last | Then::End => None,
            tonic @ Then::Tonic(_) => {
                this.then = tonic;
                let Poll::Ready(frame) = this.poll_tonic(cx) else {
                    // All that was counted is sent.
                    this.charge = None;
                    stall::waiting();
                    return Poll::Pending;
                };
                frame
            }
        };
        stall::sending();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.then {
            Then::End => self.ready.is_empty(),
            Then::Tonic(body) => self.ready.is_empty() && body.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.then {
            Then::Last | Then::End => SizeHint::with_exact(self.ready.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use futures::StreamExt as _;
    use http_body_util::{BodyExt as _, StreamBody};
    use roadstead_domain::ByteSize;
    use tonic::Code;

    use super::*;
    use crate::budget::Budget;

    fn own(body: tonic::body::Body) -> (ResponseBody, CancellationToken) {
        let over = CancellationToken::new();
        let place = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap();
        (ResponseBody::tonic(body, place, over.clone()), over)
    }

    async fn pieces(mut body: ResponseBody) -> (Vec<usize>, Option<HeaderMap>) {
        let mut sizes = Vec::new();
        while let Some(frame) = body.frame().await {
            assert!(!body.is_end_stream() || matches!(body.then, Then::End));
            match frame.unwrap().into_data() {
                Ok(bytes) => sizes.push(bytes.len()),
                Err(frame) => return (sizes, frame.into_trailers().ok()),
            }
        }
        assert!(body.is_end_stream());
        (sizes, None)
    }

    #[tokio::test]
    async fn long_bodies_go_in_pieces_and_their_last_byte_alone() {
        let free = FREE;
        assert!(ResponseBody::empty().is_end_stream());
        assert_eq!(pieces(ResponseBody::flat("a")).await, (vec![1], None));
        assert_eq!(pieces(ResponseBody::flat(vec![0; free])).await.0, [free]);
        assert_eq!(pieces(ResponseBody::flat(vec![0; free + 1])).await.0, [free, 1]);
        let long = pieces(ResponseBody::flat(vec![0; PIECE * 2 + 1])).await.0;
        assert_eq!(long, [PIECE, PIECE, 1]);
        for size in [10, JOIN, JOIN + 1, PIECE * 3] {
            let message = Bytes::from(vec![0; size]);
            let unary = ResponseBody::unary(false, message, 0, HeaderMap::new());
            let (sizes, trailers) = pieces(unary).await;
            assert_eq!(sizes.iter().sum::<usize>(), size + 5);
            assert!(trailers.is_some());
            assert!(size < JOIN || sizes.last() == Some(&1), "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_waits_for_its_next_message_counts_for_nothing() {
        let budget = Budget::new(ByteSize(100));
        let charge = budget.hold(FREE + 100).unwrap();
        let silent = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
        let silent = tonic::body::Body::new(StreamBody::new(silent));
        let (body, over) = own(silent);
        let mut body = body.charged(charge);
        assert!(budget.hold(FREE + 1).is_err());
        assert!(futures::poll!(body.frame()).is_pending());
        assert!(budget.hold(FREE + 100).is_ok());
        over.cancel();
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(Status::from_header_map(&trailers).unwrap().code(), Code::Unavailable);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_panic_within_a_stream_ends_it_with_a_status() {
        let frames = futures::stream::iter(0..2).map(|at| -> Result<Frame<Bytes>, Infallible> {
            assert_eq!(at, 0, "on purpose");
            Ok(Frame::data(Bytes::from_static(b"first")))
        });
        let (body, _over) = own(tonic::body::Body::new(StreamBody::new(frames)));
        let (sizes, trailers) = pieces(body).await;
        let status = Status::from_header_map(&trailers.unwrap()).unwrap();
        assert_eq!((sizes, status.code()), (vec![5], Code::Internal));
        assert!(!status.message().contains("purpose"));
    }
}
