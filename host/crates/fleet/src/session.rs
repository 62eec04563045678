//! One stream to the controller, from its first word to its end.

use std::{io, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use futures::{
    FutureExt as _, StreamExt as _,
    future::{Fuse, FusedFuture as _},
};
use roadstead_proto::v1::{
    SyncRequest, SyncResponse, fleet_service_client::FleetServiceClient, sync_request::Kind,
};
use roadstead_registry::Registry;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    FleetConfig, Observed,
    client::ControllerFiles,
    instructions::{Instructions, RESPONSE, TooMany},
    observe::Observation,
    report::Told,
};

/// How long connecting may take, and an answer to a sign of life.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the connection is asked for a sign of life.
const ALIVE: Duration = Duration::from_secs(10);

/// How long changes are gathered before they are told.
const GATHER: Duration = Duration::from_millis(100);

/// How often versions are looked at whose code was not ready.
const LOOK: Duration = Duration::from_secs(1);

/// How often counters are reported until the controller says how often.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reports on their way; while the controller takes none, nothing is gathered for it.
const AHEAD: usize = 4;

/// Why a stream ended, or none began.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("read {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    #[error("connect to the controller at {0}")]
    Connect(String, #[source] tonic::transport::Error),
    #[error("the controller refuses, or is gone")]
    Refused(#[from] Status),
    #[error("the controller ended the stream")]
    Closed,
    #[error("the controller makes no sense")]
    TooMany(#[from] TooMany),
}

/// What each stream of a host has.
pub(crate) struct Session {
    pub(crate) config: FleetConfig,
    pub(crate) registry: Arc<Registry>,
    pub(crate) observed: Arc<dyn Observed>,
}

impl Session {
    /// Talks with the controller until that ends, and says why it did.
    pub(crate) async fn run(&self) -> Ended {
        match self.talk().await {
            Ok(()) => Ended::Closed,
            Err(ended) => ended,
        }
    }

    async fn talk(&self) -> Result<(), Ended> {
        let mut client =
            FleetServiceClient::new(self.connect().await?).max_decoding_message_size(RESPONSE);
        let (requests, sent) = mpsc::channel(AHEAD);
        let mut talk = Talk { session: self, requests, told: Told::default() };
        talk.send(Kind::Hello(self.config.hello.clone().into()));
        talk.report();
        let responses = client.sync(ReceiverStream::new(sent)).await?.into_inner();
        tracing::info!(controller = self.config.address, "the controller hears this host");
        talk.listen(responses).await
    }

    async fn connect(&self) -> Result<Channel, Ended> {
        let ControllerFiles { ca, cert, key } = &self.config.files;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(ca).await?))
            .identity(Identity::from_pem(read(cert).await?, read(key).await?));
        let address = &self.config.address;
        let failed = |error| Ended::Connect(address.clone(), error);
        let endpoint = Endpoint::from_shared(address.clone())
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(failed)?
            .connect_timeout(PATIENCE)
            .http2_keep_alive_interval(ALIVE)
            .keep_alive_timeout(PATIENCE)
            .keep_alive_while_idle(true);
        endpoint.connect().await.map_err(failed)
    }

    /// Takes in what is to be known at once; how calls are split is left to do.
    fn told(&self, response: SyncResponse) -> Result<Instructions, TooMany> {
        let instructions = Instructions::read(response)?;
        if !instructions.nonsense.is_empty() {
            let what = instructions.nonsense.join("; ");
            tracing::warn!(what, "the controller tells what makes no sense: left out");
        }
        Ok(instructions)
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, Ended> {
    tokio::fs::read(path).await.map_err(|error| Ended::File(path.clone(), error))
}

/// A stream that is open.
struct Talk<'a> {
    session: &'a Session,
    requests: mpsc::Sender<SyncRequest>,
    told: Told,
}

impl Talk<'_> {
    /// Reports what changed, and does what the controller says, until the stream ends.
    async fn listen(mut self, mut responses: Streaming<SyncResponse>) -> Result<(), Ended> {
        let Session { registry, observed, .. } = self.session;
        let mut table = registry.watch();
        let mut changes = observed.changes().fuse();
        let mut counters = interval(INTERVAL);
        let mut look = interval(LOOK);
        let mut gathered = pin!(Fuse::terminated());
        let mut steering = pin!(Fuse::terminated());
        loop {
            let news = tokio::select! {
                response = responses.message(), if steering.is_terminated() => {
                    let Some(response) = response? else { return Ok(()) };
                    let Instructions { splits, natives, interval: every, .. } =
                        self.session.told(response)?;
                    if !natives.is_empty() {
                        observed.told(natives);
                    }
                    if let Some(every) = every.filter(|every| *every != counters.period()) {
                        counters = interval(every);
                    }
                    if !splits.is_empty() {
                        steering.set(registry.steer(splits).fuse());
                    }
                    false
                }
                () = &mut steering => false,
                _ = counters.tick() => {
                    self.report();
                    false
                }
                () = &mut gathered => {
                    self.report_news();
                    false
                }
                _ = look.tick(), if self.told.waits_for_code() => true,
                changed = table.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    true
                }
                Some(()) = changes.next() => true,
            };
            if news && gathered.is_terminated() {
                gathered.set(tokio::time::sleep(GATHER).fuse());
            }
        }
    }

    fn observe(&self) -> Observation {
        let Session { registry, observed, .. } = self.session;
        Observation::of(registry, &**observed, self.told.versions())
    }

    /// Tells what changed since the last report. While the controller takes none, that waits.
    fn report(&mut self) {
        if 0 < self.requests.capacity() {
            let now = self.observe();
            let report = self.told.next(now);
            self.send(Kind::Report(report));
        }
    }

    /// The same, if something changed that cannot wait.
    fn report_news(&mut self) {
        if self.told.is_news(&self.observe()) {
            self.report();
        }
    }

    fn send(&self, kind: Kind) {
        let sent = self.requests.try_send(SyncRequest { kind: Some(kind) });
        if sent.is_err() {
            // The stream has ended, and what follows says why.
            tracing::debug!("a report was not taken");
        }
    }
}

/// Ticks every so often, for the first time after that long.
fn interval(every: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + every, every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
