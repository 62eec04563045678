//! Calls whose requests or responses are streams: the messages between a caller and a guest.
//!
//! Caller and guest are coupled by two bounded [pipes](pipe): a guest that writes faster than its
//! caller reads is held at its next write, a caller that sends faster than the guest reads is held
//! by whoever awaits [`Requests::send`]. A stream that waits holds no thread.

mod flow;
mod item;
mod lift;
mod lower;
mod pipe;
mod sink;
mod source;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use roadstead_domain::Fault;
use tokio::sync::oneshot;

use crate::{Usage, store::Meter};

pub(crate) use flow::Flow;
pub(crate) use item::{Item, begin_read};
pub(crate) use pipe::{Activity, Next, Reader, Writer, pipe};
pub(crate) use sink::{ByteSink, ItemSink};
pub(crate) use source::{ByteSource, ItemSource};

/// How a stream of responses ends.
pub(crate) type End = Result<(), Fault>;

/// The caller's end of a stream of requests. Dropping it unfinished says that no more will come and
/// that the stream is not whole: a guest that reads on waits until the call is over.
pub struct Requests {
    writer: Writer<()>,
    half_close: oneshot::Sender<()>,
    abort: oneshot::Sender<Fault>,
}

/// The guest reads no more requests. The call goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest reads no more requests")]
pub struct NotRead;

/// The caller's end of a stream of responses. Dropping it cancels the call.
pub struct Responses {
    /// Dropped first: a guest that finds its reader gone has been left, and not come to its end.
    _present: oneshot::Sender<()>,
    reader: Reader<End>,
    meter: Arc<Meter>,
    ended: bool,
}

/// A stream of requests on the guest's side.
pub(crate) struct Input {
    pub(crate) reader: Reader<()>,
    pub(crate) half_closed: oneshot::Receiver<()>,
    /// A message that was read and belongs to the items.
    pub(crate) first: Option<Bytes>,
}

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The protobuf message of one response.
    Message(Bytes),
    /// There is nothing more.
    End(Result<(), Fault>),
}

impl Requests {
    /// With what tells that the requests are no good.
    pub(crate) fn new(activity: &Arc<Activity>) -> (Self, Input, oneshot::Receiver<Fault>) {
        let (writer, reader) = pipe(activity);
        let (half_close, half_closed) = oneshot::channel();
        let (abort, aborted) = oneshot::channel();
        let requests = Self { writer, half_close, abort };
        (requests, Input { reader, half_closed, first: None }, aborted)
    }

    /// Hands over one message, once there is room for it.
    ///
    /// # Errors
    /// [`NotRead`].
    pub async fn send(&mut self, message: Bytes) -> Result<(), NotRead> {
        poll_fn(|cx| self.writer.poll_ready(cx)).await.map_err(|_| NotRead)?;
        self.writer.write([message]);
        Ok(())
    }

    /// Waits until the guest reads no more.
    pub async fn not_read(&self) {
        poll_fn(|cx| self.writer.poll_gone(cx)).await;
    }

    /// Says that the stream is whole.
    pub fn finish(self) {
        self.writer.end(());
        self.half_close.send(()).ok();
    }

    /// Ends the call with what is wrong with its requests.
    pub fn abort(self, fault: Fault) {
        self.abort.send(fault).ok();
    }
}

impl Input {
    /// The next message, or none at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        match poll_fn(|cx| self.reader.poll_next(cx)).await {
            Next::Message(message) => Some(message),
            Next::End(()) | Next::Gone => None,
        }
    }
}

impl Responses {
    pub(crate) fn new(
        activity: &Arc<Activity>,
        meter: Arc<Meter>,
    ) -> (Self, Writer<End>, oneshot::Receiver<()>) {
        let (writer, reader) = pipe(activity);
        let (present, gone) = oneshot::channel();
        (Self { reader, meter, ended: false, _present: present }, writer, gone)
    }

    /// The next message, or how the stream ended; the latter again and again.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Response> {
        if self.ended {
            return Poll::Ready(Response::End(Ok(())));
        }
        self.reader.poll_next(cx).map(|next| match next {
            Next::Message(message) => Response::Message(message),
            Next::End(end) => {
                self.ended = true;
                Response::End(end)
            }
            Next::Gone => {
                self.ended = true;
                Response::End(Err(Fault::Draining))
            }
        })
    }

    pub async fn next(&mut self) -> Response {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What the call took so far; the final figures once the stream has ended.
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }
}
