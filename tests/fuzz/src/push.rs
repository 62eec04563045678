//! The way of an upload through a whole registry.

use std::sync::{Arc, LazyLock};

use arbitrary::Unstructured;
use bytes::Bytes;
use roadstead_blobs::BlobStore;
use roadstead_catalog::MemoryCatalog;
use roadstead_domain::Namespace;
use roadstead_engine::{Engine, EngineConfig};
use roadstead_registry::{PushError, PushRequest, Registry, RegistryConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::make;

/// Opened once: what is pushed piles up in it, as in a host that lives long.
static HOST: LazyLock<Host> = LazyLock::new(Host::open);

struct Host {
    runtime: Runtime,
    registry: Arc<Registry>,
    _data: TempDir,
}

/// # Panics
/// Where a push does, or where the host says that it is its own fault.
pub fn push(data: &[u8]) {
    crate::as_in_a_host();
    let Ok(upload) = make::component(&mut Unstructured::new(data)) else { return };
    let Host { runtime, registry, .. } = &*HOST;
    runtime.block_on(async {
        let staged = registry.upload(None).await.unwrap().write(Bytes::from(upload)).await;
        let name = Some("m".parse().unwrap());
        let request = PushRequest { name, force: true, ..PushRequest::default() };
        let pushed =
            registry.push(&Namespace::default(), request, staged.unwrap().finish(), &|_| {}).await;
        assert!(!matches!(pushed, Err(PushError::Host(_))), "{pushed:?}");
    });
}

impl Host {
    fn open() -> Self {
        let data = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let config = EngineConfig { slots: 64, ..EngineConfig::for_machine() };
        let registry = runtime.block_on(async {
            let (engine, blobs) = (Engine::new(config).unwrap(), BlobStore::open(data.path()));
            let (catalog, config) = (Arc::new(MemoryCatalog::default()), RegistryConfig::default());
            Registry::open(engine, catalog, Arc::new(blobs.unwrap()), config).await.unwrap()
        });
        Self { runtime, registry, _data: data }
    }
}
