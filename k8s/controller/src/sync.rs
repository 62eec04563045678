//! `FleetService.Sync`: one stream for each host.
//!
//! A host is believed about itself and about nothing else. Whatever it sends is bounded: the size of
//! a message, how much is kept, how often it is read; a host that does not read what it is told, or
//! says what it must not, loses its stream.

use std::{pin::Pin, sync::Arc, time::Duration};

use roadstead_proto::v1::{
    HostHello, SyncRequest, SyncResponse,
    fleet_service_server::{FleetService, FleetServiceServer},
    sync_request::Kind,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{fleet::Fleet, hosts::HostKey};

/// Bytes of one message of a host: all its versions, the first time.
const MESSAGE: usize = 8 << 20;
/// How long a host may take for its hello, and for reading what it is told.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often reports of a host are read at most.
const SPACING: Duration = Duration::from_millis(50);

/// The service of one controller.
pub(crate) struct Service {
    pub(crate) fleet: Arc<Fleet>,
    /// Ends with the controller.
    pub(crate) stop: CancellationToken,
}

impl Service {
    pub(crate) fn server(self) -> FleetServiceServer<Self> {
        FleetServiceServer::new(self).max_decoding_message_size(MESSAGE)
    }
}

fn not_leading() -> Status {
    Status::unavailable("this controller does not lead: ask again, another may answer")
}

#[tonic::async_trait]
impl FleetService for Service {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<SyncResponse, Status>> + Send>>;

    async fn sync(
        &self,
        request: Request<Streaming<SyncRequest>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let mut serving = self.fleet.serving();
        let Some(term) = *serving.borrow_and_update() else { return Err(not_leading()) };
        let place = Arc::clone(&self.fleet.places)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("too many hosts have streams already"))?;
        let (to, from) = mpsc::channel(2);
        let session = Session {
            fleet: Arc::clone(&self.fleet),
            from_host: request.into_inner(),
            to_host: to,
            serving,
            term,
            _place: place,
        };
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let to = session.to_host.clone();
            let end = tokio::select! {
                end = session.run() => end,
                () = stop.cancelled() => Some(not_leading()),
            };
            if let Some(status) = end {
                // A host that does not read has no use for the reason either.
                drop(to.try_send(Err(status)));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }
}

/// The stream of one host.
struct Session {
    fleet: Arc<Fleet>,
    from_host: Streaming<SyncRequest>,
    to_host: mpsc::Sender<Result<SyncResponse, Status>>,
    serving: watch::Receiver<Option<u64>>,
    term: u64,
    _place: OwnedSemaphorePermit,
}

/// The last changes that a host was told of.
#[derive(Default)]
struct Told {
    splits: u64,
    natives: u64,
}

/// Closes the host's session however it ends.
struct Opened {
    fleet: Arc<Fleet>,
    key: HostKey,
    number: u64,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.fleet.closed(&self.key, self.number);
    }
}

impl Session {
    /// Until the stream ends; with a status where this side ends it.
    async fn run(mut self) -> Option<Status> {
        let hello = match timeout(PATIENCE, self.hello()).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(status)) => return Some(status),
            Err(_) => return Some(Status::deadline_exceeded("the hello did not come")),
        };
        let release = hello.release.clone();
        let (key, number, replaced) = match self.fleet.hello(hello) {
            Ok(opened) => opened,
            Err(error) => return Some(Status::invalid_argument(error.to_string())),
        };
        tracing::info!(host = %key, release, "a host's stream begins");
        let opened = Opened { fleet: Arc::clone(&self.fleet), key, number };
        let end = tokio::select! {
            end = self.speak(&opened) => end,
            () = replaced.cancelled() => {
                Some(Status::aborted("a newer stream speaks for this host"))
            }
        };
        let why = end.as_ref().map_or("the host ended it", Status::message);
        tracing::info!(host = %opened.key, why, "a host's stream ends");
        end
    }

    async fn hello(&mut self) -> Result<HostHello, Status> {
        match self.from_host.message().await?.and_then(|request| request.kind) {
            Some(Kind::Hello(hello)) => Ok(hello),
            _ => Err(Status::invalid_argument("the first request must be the hello")),
        }
    }

    async fn speak(&mut self, host: &Opened) -> Option<Status> {
        let mut splits = self.fleet.splits.watch();
        let mut natives = self.fleet.natives.watch();
        let mut told = Told::default();
        let mut read_at = Instant::now();
        if let Err(status) = self.tell(&mut told).await {
            return Some(status);
        }
        loop {
            let step = tokio::select! {
                changed = self.serving.changed() => {
                    let still = changed.is_ok() && *self.serving.borrow() == Some(self.term);
                    if still { Ok(()) } else { Err(not_leading()) }
                }
                changed = splits.changed() => match changed {
                    Ok(()) => self.tell(&mut told).await,
                    Err(_) => Err(not_leading()),
                },
                changed = natives.changed() => match changed {
                    Ok(()) => self.tell(&mut told).await,
                    Err(_) => Err(not_leading()),
                },
                request = next(&mut self.from_host, read_at) => match request {
                    Ok(None) => return None,
                    Ok(Some(request)) => {
                        read_at = Instant::now() + SPACING;
                        self.heard(host, request)
                    }
                    Err(status) => Err(status),
                },
            };
            if let Err(status) = step {
                return Some(status);
            }
        }
    }

    /// Tells what changed since the last time.
    async fn tell(&self, told: &mut Told) -> Result<(), Status> {
        let (splits, last) = self.fleet.splits.since(told.splits);
        let (natives, servers) = self.fleet.natives.since(told.natives);
        *told = Told { splits: last, natives: servers };
        let report_interval_ms = u32::try_from(self.fleet.report.as_millis()).unwrap_or(u32::MAX);
        let response = SyncResponse { splits, report_interval_ms, natives };
        match timeout(PATIENCE, self.to_host.send(Ok(response))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the host left")),
            Err(_) => Err(Status::deadline_exceeded("the host does not read what it is told")),
        }
    }

    fn heard(&self, host: &Opened, request: SyncRequest) -> Result<(), Status> {
        let Some(Kind::Report(report)) = request.kind else {
            return Err(Status::invalid_argument("after the hello only reports may come"));
        };
        self.fleet
            .report(&host.key, host.number, report)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

/// The next request, not before its time.
async fn next(
    from: &mut Streaming<SyncRequest>,
    at: Instant,
) -> Result<Option<SyncRequest>, Status> {
    sleep_until(at).await;
    from.message().await
}
