//! Questions to the other hosts of a pool, in the name of whoever asks this one.
//!
//! The generated client speaks through a link of the pool. Each request is sealed like a forwarded
//! call: the other host knows who asks and by what role, and asks nobody in turn.

use std::{
    error::Error as _,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use roadstead_domain::HostName;
use roadstead_proto::v1::module_service_client::ModuleServiceClient;
use tonic::{Status, body::Body};
use tower::Service;

use super::{Pool, link::Unanswered};
use crate::steps::Caller;

/// Bytes of one message of an answer.
const MESSAGE: usize = 8 << 20;

/// The module service of another host.
pub(crate) type Client = ModuleServiceClient<Peer>;

/// Another host of the pool, as one caller asks it.
#[derive(Clone)]
pub(crate) struct Peer {
    pool: Arc<Pool>,
    host: HostName,
    at: Uri,
    caller: Caller,
    /// How long the host may take; none for streams that go on.
    within: Option<Duration>,
}

/// Why a host's part of an answer is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// There is no such host now, so nothing is missing.
    Absent,
    Because(String),
}

impl Pool {
    /// The hosts of the pool but for this one, by name.
    pub(crate) fn others(&self) -> Vec<(HostName, Uri)> {
        let mut all = self.hosts.all();
        all.retain(|(name, _)| *name != self.host);
        all
    }

    /// Where this host, or another, is to be found.
    pub(crate) fn address(&self, host: &HostName) -> Option<Uri> {
        self.hosts.find(host)
    }

    /// The module service of a host, for one caller.
    pub(crate) fn client(
        self: &Arc<Self>,
        (host, at): (HostName, Uri),
        caller: &Caller,
        within: Option<Duration>,
    ) -> Client {
        let (pool, caller) = (Arc::clone(self), caller.clone());
        let peer = Peer { pool, host, at, caller, within };
        ModuleServiceClient::new(peer).max_decoding_message_size(MESSAGE)
    }
}

impl Peer {
    async fn send(self, request: Request<Body>) -> Result<Response<Incoming>, Unanswered> {
        let Self { pool, host, at, caller, within } = self;
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Unanswered::Unasked)?.to_bytes();
        let hop = pool.hop(&host, &caller, parts.uri.path().to_owned(), within);
        let request = pool.request(&at, &hop, None, body).map_err(|_| Unanswered::Unasked)?;
        pool.links.send(&host, &at, || request.clone()).await
    }
}

impl Service<Request<Body>> for Peer {
    type Response = Response<Incoming>;
    type Error = Unanswered;
    type Future = BoxFuture<'static, Result<Self::Response, Unanswered>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unanswered>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().send(request).boxed()
    }
}

impl From<Status> for Missing {
    fn from(status: Status) -> Self {
        let unanswered = status.source().and_then(|cause| cause.downcast_ref::<Unanswered>());
        match unanswered {
            Some(Unanswered::Absent) => Self::Absent,
            Some(why) => Self::Because(why.to_string()),
            None if status.message().is_empty() => Self::Because(status.code().to_string()),
            None => Self::Because(status.message().to_owned()),
        }
    }
}
