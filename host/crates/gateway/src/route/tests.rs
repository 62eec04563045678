//! A panic of the host, wherever a request may meet one.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use roadstead_blobs::BlobStore;
use roadstead_catalog::MemoryCatalog;
use roadstead_domain::ByteSize;
use roadstead_engine::{Engine, EngineConfig};
use roadstead_registry::{Registry, RegistryConfig};

use super::*;
use crate::{GatewayConfig, app::App, connection::Ends, peers::Peers};

#[tokio::test]
async fn a_panic_ends_one_request_and_is_counted() {
    let counters = Counters::default();
    assert_eq!(guarded(&counters, async { 1 }).await, Ok(1));
    let ended = guarded(&counters, async { panic!("on purpose") }).await;
    let Err(fault @ Fault::Host { .. }) = ended else { panic!("{ended:?}") };
    assert_eq!(counters.read().panics, 1);
    for dialect in [Dialect::Grpc, Dialect::Connect(Codec::Json)] {
        let (parts, body) = dialect.refuse(&fault).into_parts();
        let text = format!("{parts:?} {:?}", body.collect().await.unwrap());
        assert!(!text.contains("purpose"), "{text}");
    }
}

/// Panics when it is read.
struct Panics;

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("on purpose")
    }
}

async fn app(data: &std::path::Path) -> Arc<App> {
    let engine = Engine::new(EngineConfig {
        slots: 10,
        memory_budget: ByteSize::mib(1024),
        ..EngineConfig::for_machine()
    })
    .unwrap();
    let blobs = Arc::new(BlobStore::open(data).unwrap());
    let catalog = Arc::new(MemoryCatalog::default());
    let limits = RegistryConfig::default();
    let registry = Registry::open(engine, catalog, blobs, limits).await.unwrap();
    let config = GatewayConfig::default();
    let shared = (Arc::default(), Peers::new(&config, 10), None);
    let address = "127.0.0.1:1".parse().unwrap();
    App::new(registry, &config, address, &Ends::default(), shared).unwrap()
}

#[tokio::test]
async fn every_path_of_a_request_answers_a_panic_and_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let app = app(data.path()).await;
    let place = app.peers.enter([127, 0, 0, 1].into()).ok().unwrap();
    let session = Session::new(Arc::clone(&app), place, None);
    let unary = "/roadstead.v1.ModuleService/ListModules";
    for (at, (path, kind)) in [
        (unary, "application/grpc"),
        ("/roadstead.v1.ModuleService/WatchModules", "application/grpc"),
        ("/roadstead.v1.ModuleService/PushModule", "application/grpc"),
        ("/roadstead.v1.ModuleService/CheckModule", "application/grpc"),
        ("/grpc.health.v1.Health/Check", "application/grpc"),
        ("/grpc.health.v1.Health/Watch", "application/grpc"),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "application/grpc"),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "application/grpc"),
        (unary, "application/json"),
        (unary, "application/proto"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = Request::post(format!("http://localhost{path}"));
        let request = request.version(Version::HTTP_2).header(CONTENT_TYPE, kind);
        let response = answer(session.asked(), request.body(Panics).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let code = parts.headers.get("grpc-status").or_else(|| trailers.get("grpc-status"));
        let internal = code.is_some_and(|code| code == "13") || parts.status == 500;
        assert!(internal, "{path} {kind}: {parts:?} {trailers:?}");
        let text = format!("{parts:?} {trailers:?} {body:?}");
        assert!(!text.contains("purpose"), "{text}");
        assert_eq!(app.counters.read().panics, at as u64 + 1, "{path} {kind}");
    }
    // Nothing of them is left.
    assert_eq!(app.counters.read().open_requests, 0);
    app.registry.engine().shutdown().await;
}
