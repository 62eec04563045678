//! When an upload gets its place: once its header is here, as who is silent must not hold one.
//! Until then its bytes are counted as those of any other message.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use roadstead_domain::Fault;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::{
    Counters, app::App, body::RequestBody, budget::Charge, session::place, status::from_fault,
};

/// How long a header may take, unless requests must be faster anyway.
const HEADER: Duration = Duration::from_secs(5);

/// What an upload needs to get its place.
#[derive(Clone)]
pub(crate) struct Admission {
    own: Arc<Semaphore>,
    hosts: Arc<Semaphore>,
    /// None once there is a place.
    charge: Arc<Mutex<Option<Charge>>>,
    pub header_within: Duration,
    counters: Arc<Counters>,
}

/// A place among the uploads of the connection, and among those of the host.
pub(crate) struct UploadPlace {
    _own: OwnedSemaphorePermit,
    _hosts: OwnedSemaphorePermit,
}

/// A body whose bytes are counted until its upload has a place.
pub(crate) struct Counted<B> {
    body: B,
    charge: Arc<Mutex<Option<Charge>>>,
}

impl Admission {
    pub(crate) fn new(
        own: Arc<Semaphore>,
        hosts: Arc<Semaphore>,
        charge: Charge,
        app: &App,
    ) -> Self {
        let charge = Arc::new(Mutex::new(Some(charge)));
        let header_within = app.receive_timeout.min(HEADER);
        Self { own, hosts, charge, header_within, counters: Arc::clone(&app.counters) }
    }

    pub(crate) fn counted<B>(&self, body: B) -> Counted<B> {
        Counted { body, charge: Arc::clone(&self.charge) }
    }

    /// A place for the upload.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the connection or the host has too many on their way.
    pub(crate) fn place(&self) -> Result<UploadPlace, Fault> {
        let own = place(&self.own, "connection's allowance of uploads")?;
        let hosts = place(&self.hosts, "host's allowance of uploads")?;
        *self.charge.lock() = None;
        self.counters.upload();
        Ok(UploadPlace { _own: own, _hosts: hosts })
    }
}

impl<B: RequestBody> Body for Counted<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
            Some(Ok(frame)) => frame,
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        let counted = self.charge.lock().as_mut().map_or(Ok(()), |charge| charge.grow(bytes));
        Poll::Ready(Some(counted.map(|()| frame).map_err(|fault| from_fault(&fault, true))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
