//! The messages of a streaming call on their way to a [`super::Remote`] and from it: counted, and
//! none longer than the spec allows.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use roadstead_domain::{Fault, LimitKind};
use tokio::sync::oneshot;

use crate::{
    module::Common,
    stats::Way,
    stream::{End, Input, Next, Writer},
};

/// A caller's messages, one by one.
pub struct RequestStream {
    input: Input,
    passing: Passing,
}

/// A stream that its caller gave up: what came of it is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller gave its stream up")]
pub struct Broken;

/// Where the messages for the caller go.
pub struct RemoteResponses {
    output: Arc<Writer<End>>,
    passing: Passing,
}

/// The caller takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller takes no more")]
pub struct Left;

/// What both ways of a call have in common.
#[derive(Clone)]
pub(crate) struct Passing {
    module: Arc<Common>,
    /// Told once that a message is too long, which ends the call.
    too_long: Arc<Mutex<Option<oneshot::Sender<Fault>>>>,
}

/// For the messages of one call, with what tells that one of them is too long.
pub(crate) fn passing(module: &Arc<Common>) -> (Passing, oneshot::Receiver<Fault>) {
    let (tell, told) = oneshot::channel();
    let too_long = Arc::new(Mutex::new(Some(tell)));
    (Passing { module: Arc::clone(module), too_long }, told)
}

impl Passing {
    pub(crate) fn requests(&self, input: Input) -> RequestStream {
        RequestStream { input, passing: self.clone() }
    }

    pub(crate) fn responses(&self, output: &Arc<Writer<End>>) -> RemoteResponses {
        RemoteResponses { output: Arc::clone(output), passing: self.clone() }
    }

    /// Counts a message, unless it is too long.
    fn pass(&self, way: Way, message: &Bytes) -> bool {
        let limits = &self.module.spec.limits;
        let (kind, limit) = match way {
            Way::In => (LimitKind::Input, limits.input),
            Way::Out => (LimitKind::Output, limits.output),
        };
        let (most, length) = (limit.of(true).0, u64::try_from(message.len()).unwrap_or(u64::MAX));
        if most < length {
            if let Some(tell) = self.too_long.lock().take() {
                tell.send(Fault::limit(kind, most, Some(length))).ok();
            }
            return false;
        }
        self.module.counters.streamed(way, 1);
        true
    }
}

impl RequestStream {
    /// The next message; none at the end of a stream that is whole.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let next = match self.input.first.take() {
            Some(first) => Next::Message(first),
            None => poll_fn(|cx| self.input.reader.poll_next(cx)).await,
        };
        match next {
            Next::Message(message) if self.passing.pass(Way::In, &message) => Ok(Some(message)),
            Next::End(()) => Ok(None),
            Next::Message(_) | Next::Gone => Err(Broken),
        }
    }
}

impl RemoteResponses {
    /// Hands over one message, once there is room for it.
    ///
    /// # Errors
    /// [`Left`], also of a message that is longer than the spec allows, which ends the call.
    pub async fn send(&mut self, message: Bytes) -> Result<(), Left> {
        poll_fn(|cx| self.output.poll_ready(cx)).await.map_err(|_| Left)?;
        if !self.passing.pass(Way::Out, &message) {
            return Err(Left);
        }
        self.output.write([message]);
        Ok(())
    }
}
