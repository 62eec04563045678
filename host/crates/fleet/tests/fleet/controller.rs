//! A server that plays the controller: it says what a test makes it say.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use futures::Stream;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use roadstead_fleet::ControllerFiles;
use roadstead_proto::v1::{
    HostHello, HostReport, SyncRequest, SyncResponse, TrafficSplit, VersionShare,
    fleet_service_server::{FleetService, FleetServiceServer},
    sync_request::Kind,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// An authority, and what it vouches for.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn pair(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The files of a host that trusts `self`, with a certificate of `own`.
    pub(crate) fn files(&self, own: &Self) -> (tempfile::TempDir, ControllerFiles) {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = own.pair();
        let written = [("ca", &self.pem), ("cert", &cert), ("key", &key)].map(|(name, pem)| {
            let path = directory.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        });
        let [ca, cert, key] = written;
        (directory, ControllerFiles { ca, cert, key })
    }
}

/// One stream of a host.
pub(crate) struct Talking {
    requests: mpsc::UnboundedReceiver<SyncRequest>,
    tell: mpsc::UnboundedSender<Result<SyncResponse, Status>>,
}

impl Talking {
    async fn next(&mut self) -> Kind {
        let next = timeout(PATIENCE, self.requests.recv()).await.unwrap();
        next.unwrap().kind.unwrap()
    }

    pub(crate) async fn hello(&mut self) -> HostHello {
        match self.next().await {
            Kind::Hello(hello) => hello,
            Kind::Report(report) => panic!("{report:?}"),
        }
    }

    pub(crate) async fn report(&mut self) -> HostReport {
        match self.next().await {
            Kind::Report(report) => report,
            Kind::Hello(hello) => panic!("{hello:?}"),
        }
    }

    /// The next report that something holds of.
    pub(crate) async fn until(&mut self, holds: impl Fn(&HostReport) -> bool) -> HostReport {
        loop {
            let report = self.report().await;
            if holds(&report) {
                return report;
            }
        }
    }

    pub(crate) fn tell(&self, response: SyncResponse) {
        self.tell.send(Ok(response)).unwrap();
    }

    pub(crate) fn refuse(&self, status: Status) {
        self.tell.send(Err(status)).unwrap();
    }
}

struct Service(mpsc::UnboundedSender<Talking>);

#[tonic::async_trait]
impl FleetService for Service {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<SyncResponse, Status>> + Send>>;

    async fn sync(
        &self,
        request: Request<Streaming<SyncRequest>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let mut messages = request.into_inner();
        // Like one that looks at who it is first.
        let hello = messages.message().await?.unwrap();
        let (to, requests) = mpsc::unbounded_channel();
        to.send(hello).unwrap();
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if to.send(message).is_err() {
                    return;
                }
            }
        });
        let (tell, told) = mpsc::unbounded_channel();
        let talking = Talking { requests, tell };
        self.0.send(talking).map_err(|_| Status::unavailable("nobody listens"))?;
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(told))))
    }
}

pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    streams: mpsc::UnboundedReceiver<Talking>,
    server: JoinHandle<()>,
}

impl Controller {
    /// One that trusts hosts of `hosts`, with a certificate of `own`.
    pub(crate) async fn start(own: &Authority, hosts: &Authority) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), own, hosts).await
    }

    pub(crate) async fn start_at(at: SocketAddr, own: &Authority, hosts: &Authority) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, streams) = mpsc::unbounded_channel();
        let (cert, key) = own.pair();
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(cert, key))
            .client_ca_root(Certificate::from_pem(&hosts.pem));
        let server = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(FleetServiceServer::new(Service(tell)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.unwrap() });
        Self { address, streams, server }
    }

    /// The next stream that a host opens.
    pub(crate) async fn stream(&mut self) -> Talking {
        timeout(PATIENCE, self.streams.recv()).await.unwrap().unwrap()
    }

    /// Whether no host has come.
    pub(crate) fn is_alone(&mut self) -> bool {
        self.streams.try_recv().is_err()
    }

    pub(crate) async fn stop(self) -> SocketAddr {
        self.server.abort();
        drop(self.server.await);
        self.address
    }
}

pub(crate) fn split(module: &str, revision: u64, shares: &[(&str, u32)]) -> TrafficSplit {
    let share = |(version, percent): &(&str, u32)| VersionShare {
        version: (*version).to_owned(),
        percent: *percent,
    };
    TrafficSplit {
        namespace: "default".to_owned(),
        module: module.to_owned(),
        revision,
        shares: shares.iter().map(share).collect(),
    }
}

/// The response that tells of splits, and asks for counters often.
pub(crate) fn splits(splits: &[TrafficSplit]) -> SyncResponse {
    SyncResponse { splits: splits.to_vec(), report_interval_ms: 100, ..SyncResponse::default() }
}
