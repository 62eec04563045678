//! Modules that are served outside of the sandbox: who answers their calls, and what passes between.
//!
//! Such a module is admitted, bounded in time, broken and counted like any other; only the part of
//! the guest is played by a [`Remote`].

use std::{future::poll_fn, sync::Arc, time::Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use roadstead_domain::{CallId, Fault, ModuleId};
use roadstead_transcode::MethodPlan;

use crate::{
    CodeState,
    stream::{End, Input, Next, Writer},
};

/// Serves the calls of one version of a module, wherever it runs. Messages are those of the derived
/// services, as they stand on the wire.
pub trait Remote: Send + Sync {
    /// Answers a call of a method without streams. Dropping the future cancels the call.
    fn call(&self, call: RemoteCall, request: Bytes) -> BoxFuture<'_, Result<Bytes, Fault>>;

    /// Serves a call of a method with streams until it ends. Dropping the future cancels the call.
    fn stream<'a>(
        &'a self,
        call: RemoteCall,
        requests: RemoteRequests,
        responses: RemoteResponses,
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Whether it can be called: [`CodeState::Missing`] while it is made ready or lies idle.
    fn state(&self) -> CodeState;
}

/// What is said of a call to whoever serves it.
#[derive(Debug, Clone)]
pub struct RemoteCall {
    pub id: CallId,
    /// The version that is called.
    pub module: ModuleId,
    pub method: Arc<MethodPlan>,
    /// The answer comes by then or is not waited for.
    pub deadline: Instant,
    /// The caller's identity, where there is one.
    pub owner: Option<Arc<str>>,
    /// The modules that the call came through, outermost first.
    pub path: Vec<Arc<str>>,
    /// As W3C's `traceparent` has it.
    pub traceparent: Option<Arc<str>>,
}

/// The caller's messages: of a method whose requests are no stream, the only one.
pub enum RemoteRequests {
    One(Bytes),
    Stream(RequestStream),
}

/// A caller's messages, one by one.
pub struct RequestStream(pub(crate) Input);

/// A stream that its caller gave up: what came of it is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller gave its stream up")]
pub struct Broken;

/// Where the messages for the caller go.
pub struct RemoteResponses(pub(crate) Arc<Writer<End>>);

/// The caller takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller takes no more")]
pub struct Left;

impl RequestStream {
    /// The next message; none at the end of a stream that is whole.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        if let Some(first) = self.0.first.take() {
            return Ok(Some(first));
        }
        match poll_fn(|cx| self.0.reader.poll_next(cx)).await {
            Next::Message(message) => Ok(Some(message)),
            Next::End(()) => Ok(None),
            Next::Gone => Err(Broken),
        }
    }
}

impl RemoteResponses {
    /// Hands over one message, once there is room for it.
    ///
    /// # Errors
    /// [`Left`].
    pub async fn send(&mut self, message: Bytes) -> Result<(), Left> {
        poll_fn(|cx| self.0.poll_ready(cx)).await.map_err(|_| Left)?;
        self.0.write([message]);
        Ok(())
    }
}
