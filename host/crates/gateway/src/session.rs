//! What the requests of one connection share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use http::HeaderMap;
use roadstead_auth::Peer;
use roadstead_domain::Fault;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    budget::Budget,
    peers::{OpenRequest, Place},
    status::RETRY_SOON,
    trace::Named,
    upload::Admission,
};

/// Requests to the host's own services that a connection may have open, watches among them.
const OWN_REQUESTS: usize = 128;

/// One connection. Every request holds it until the last byte of its response.
pub(crate) struct Session {
    pub app: Arc<App>,
    /// The connection's share.
    pub budget: Budget,
    /// Cancelled when the connection's streams must end.
    pub over: CancellationToken,
    leaves: AtomicBool,
    requests: AtomicU64,
    open_requests: AtomicUsize,
    own_requests: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    place: Place,
    /// The client's certificate.
    pub peer: Option<Peer>,
}

/// A request that came, until the last byte of its response.
pub(crate) struct Asked {
    pub session: Arc<Session>,
}

/// A request with a place.
pub(crate) struct Open {
    pub asked: Asked,
    _place: OpenRequest,
}

impl Session {
    pub(crate) fn new(app: Arc<App>, place: Place, peer: Option<Peer>) -> Arc<Self> {
        let budget = place.peer.budget.share();
        let own_requests = Arc::new(Semaphore::new(OWN_REQUESTS));
        let uploads = Arc::new(Semaphore::new(app.uploads_share));
        Arc::new(Self {
            over: app.streams.child_token(),
            app,
            budget,
            leaves: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            open_requests: AtomicUsize::new(0),
            own_requests,
            uploads,
            place,
            peer,
        })
    }

    /// The connection must end once that costs nobody a request.
    pub(crate) fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    /// Whether the next answer should be the last.
    pub(crate) fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Relaxed) || self.app.unready.is_cancelled()
    }

    /// Why streams end, once they must.
    pub(crate) fn why_over(&self) -> Fault {
        if self.app.streams.is_cancelled() { Fault::Draining } else { Fault::Aged }
    }

    /// Counts a request that came.
    pub(crate) fn asked(self: &Arc<Self>) -> Asked {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.open_requests.fetch_add(1, Ordering::Relaxed);
        self.app.counters.request();
        Asked { session: Arc::clone(self) }
    }

    /// Names a call that came on this connection.
    pub(crate) fn name(&self, headers: &HeaderMap) -> Named {
        self.app.name(headers, self.place.class())
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that came and whose answers are not whole yet.
    pub(crate) fn open_requests(&self) -> usize {
        self.open_requests.load(Ordering::Relaxed)
    }

    /// A place for a request to one of the host's own services.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if the connection has too many open.
    pub(crate) fn own_request(&self) -> Result<OwnedSemaphorePermit, Fault> {
        place(&self.own_requests, "connection's allowance of requests to the host's own services")
    }

    /// What an upload needs to get its place.
    pub(crate) fn upload(&self) -> Admission {
        let (own, hosts) = (Arc::clone(&self.uploads), Arc::clone(&self.app.uploads));
        Admission::new(own, hosts, self.budget.charge(), &self.app)
    }
}

impl Asked {
    /// Gives the request its place.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if too many are open.
    pub(crate) fn open(self) -> Result<Open, Fault> {
        let place = self.session.app.peers.request(&self.session.place.peer)?;
        self.session.app.counters.begin();
        Ok(Open { asked: self, _place: place })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.session.open_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.asked.session.app.counters.finish();
    }
}

pub(crate) fn place(
    places: &Arc<Semaphore>,
    what: &'static str,
) -> Result<OwnedSemaphorePermit, Fault> {
    let place = Arc::clone(places).try_acquire_owned();
    place.map_err(|_| Fault::Overloaded { what, retry_after: RETRY_SOON })
}
