//! Hosts to test, and clients to test them with.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use roadstead_blobs::BlobStore;
use roadstead_catalog::MemoryCatalog;
use roadstead_domain::ByteSize;
use roadstead_engine::{Engine, EngineConfig, SessionKey, Stats};
use roadstead_gateway::{Counters, Drained, Gateway, GatewayConfig, Monitor};
use roadstead_proto::v1::{
    PushHeader, PushModuleRequest, PushModuleResponse, PushOutcome, SpecFormat,
    module_service_client::ModuleServiceClient, push_module_request::Message,
    push_module_response::Event,
};
use roadstead_registry::{Registry, RegistryConfig};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{
    Code, Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Certificate, Channel, ClientTlsConfig},
};
use tonic_types::StatusExt as _;

use crate::guest;

/// Long enough for anything that should happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A host within this process.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) registry: Arc<Registry>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) monitor: Monitor,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<Drained>>,
    data: tempfile::TempDir,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::with(GatewayConfig::default()).await
    }

    pub(crate) async fn with(config: GatewayConfig) -> Self {
        Self::of(config, SessionKey::random()).await
    }

    /// One whose handles are sealed with a certain key.
    pub(crate) async fn of(config: GatewayConfig, session_key: SessionKey) -> Self {
        let engine = Engine::new(EngineConfig {
            session_key,
            slots: 100,
            memory_budget: ByteSize::mib(1024),
            value_budget: ByteSize::mib(8192),
            ..EngineConfig::for_machine()
        })
        .unwrap();
        let data = tempfile::tempdir().unwrap();
        let blobs = Arc::new(BlobStore::open(data.path()).unwrap());
        let catalog = Arc::new(MemoryCatalog::default());
        let limits = RegistryConfig { upload_limit: ByteSize::mib(8), ..Default::default() };
        let registry = Registry::open(engine, catalog, blobs, limits).await.unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let gateway = Gateway::bind(any, config, Arc::clone(&registry)).await.unwrap();
        let (address, counters) = (gateway.local_addr(), gateway.counters());
        let monitor = gateway.monitor();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(gateway.serve(async {
            stopped.await.ok();
        }));
        Self { address, registry, counters, monitor, stop: Some(stop), served: Some(served), data }
    }

    /// A host with the guest published.
    pub(crate) async fn with_guest() -> Self {
        let host = Self::start().await;
        host.push("guest", "").await;
        host
    }

    pub(crate) async fn channel(&self) -> Channel {
        let uri = format!("http://{}", self.address);
        Channel::from_shared(uri).unwrap().connect().await.unwrap()
    }

    /// The same over TLS, by its certificate.
    pub(crate) async fn secure(&self, pem: &str) -> Channel {
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        let uri = format!("https://localhost:{}", self.address.port());
        Channel::from_shared(uri).unwrap().tls_config(config).unwrap().connect().await.unwrap()
    }

    /// Publishes the guest under a name, with a spec in YAML.
    pub(crate) async fn push(&self, name: &str, spec: &str) -> PushOutcome {
        let header = PushHeader {
            name: name.to_owned(),
            spec: spec.to_owned(),
            spec_format: SpecFormat::Yaml.into(),
            ..PushHeader::default()
        };
        let events = push(self.channel().await, header, guest::component()).await.unwrap();
        outcome(&events)
    }

    /// The counters of a module's newest version.
    pub(crate) fn stats(&self, name: &str) -> Stats {
        let module = self.registry.get(&Default::default(), &name.parse().unwrap()).unwrap();
        module.current().unwrap().module().unwrap().stats()
    }

    /// Waits until the counters of `guest` look as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Stats) -> bool) {
        let waiting = async {
            while !wanted(&self.stats("guest")) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(done.is_ok(), "{:?}", self.stats("guest"));
    }

    /// Uploads that are on their way.
    pub(crate) fn staged(&self) -> usize {
        std::fs::read_dir(self.data.path().join("staging")).unwrap().count()
    }

    /// Tells the gateway to stop, and does not wait.
    pub(crate) fn begin_stop(self) -> JoinHandle<Drained> {
        self.stopping().1
    }

    /// The same for those who look at it meanwhile.
    pub(crate) fn stopping(mut self) -> (Self, JoinHandle<Drained>) {
        self.stop.take().unwrap().send(()).unwrap();
        let served = self.served.take().unwrap();
        (self, served)
    }

    pub(crate) async fn stop(self) -> Drained {
        let engine = Arc::clone(self.registry.engine());
        let drained = self.begin_stop().await.unwrap();
        engine.shutdown().await;
        drained
    }
}

/// Sends a header and a component in chunks.
pub(crate) async fn push(
    channel: Channel,
    header: PushHeader,
    component: Vec<u8>,
) -> Result<Vec<PushModuleResponse>, Status> {
    let chunks: Vec<_> = component
        .chunks(64 << 10)
        .map(|chunk| Message::Chunk(Bytes::copy_from_slice(chunk)))
        .collect();
    let messages = std::iter::once(Message::Header(header)).chain(chunks);
    let requests = messages.map(|message| PushModuleRequest { message: Some(message) });
    let requests: Vec<_> = requests.collect();
    push_messages(channel, requests).await
}

pub(crate) async fn push_messages(
    channel: Channel,
    requests: Vec<PushModuleRequest>,
) -> Result<Vec<PushModuleResponse>, Status> {
    let mut client = ModuleServiceClient::new(channel);
    let mut events = client.push_module(tokio_stream::iter(requests)).await?.into_inner();
    let mut all = Vec::new();
    while let Some(event) = events.message().await? {
        all.push(event);
    }
    Ok(all)
}

pub(crate) fn outcome(events: &[PushModuleResponse]) -> PushOutcome {
    match events.last().and_then(|event| event.event.clone()) {
        Some(Event::Outcome(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

/// One unary call of the guest.
pub(crate) async fn call(
    channel: &Channel,
    method: &str,
    message: Vec<u8>,
) -> Result<Response<Bytes>, Status> {
    call_with(Grpc::new(channel.clone()), &guest::path(method), Request::new(message.into())).await
}

pub(crate) async fn call_with(
    mut client: Grpc<Channel>,
    path: &str,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Status> {
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.unary(request, path.parse::<PathAndQuery>().unwrap(), Raw).await
}

/// A failed call's code and reason.
pub(crate) fn failure<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason)
}

/// Messages as the bytes they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}
