//! A host without a gateway that is part of a fleet.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use parking_lot::Mutex;
use roadstead_blobs::BlobStore;
use roadstead_catalog::{Catalog, MemoryCatalog};
use roadstead_domain::{ByteSize, ModuleName, Namespace};
use roadstead_engine::{Engine, EngineConfig};
use roadstead_fleet::{ControllerFiles, Fleet, FleetConfig, Hello, Judgement, Load, Observed};
use roadstead_registry::{PushRequest, Registry, RegistryConfig};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::controller::{Authority, Controller};

/// What a test makes the host see of itself.
pub(crate) struct Seen {
    pub(crate) judgements: Mutex<Vec<Judgement>>,
    pub(crate) draining: Mutex<bool>,
    pub(crate) changes: watch::Sender<()>,
}

impl Observed for Seen {
    fn current(&self) -> bool {
        true
    }

    fn draining(&self) -> bool {
        *self.draining.lock()
    }

    fn load(&self) -> Load {
        Load { connections: 3, open_requests: 2, memory_limit_bytes: 1 << 40, ..Load::default() }
    }

    fn judgements(&self) -> Vec<Judgement> {
        self.judgements.lock().clone()
    }

    fn namespaces(&self) -> Vec<Namespace> {
        vec![Namespace::default()]
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        WatchStream::from_changes(self.changes.subscribe()).boxed()
    }
}

pub(crate) struct Host {
    pub(crate) registry: Arc<Registry>,
    pub(crate) seen: Arc<Seen>,
    _fleet: Fleet,
    _data: tempfile::TempDir,
    _files: Option<tempfile::TempDir>,
}

impl Host {
    /// A host that trusts the authority of the controller, and has a certificate of it.
    pub(crate) async fn of(controller: &Controller, authority: &Authority) -> Self {
        let (files, paths) = authority.files(authority);
        Self { _files: Some(files), ..Self::with(controller, paths).await }
    }

    pub(crate) async fn with(controller: &Controller, files: ControllerFiles) -> Self {
        let data = tempfile::tempdir().unwrap();
        let engine = Engine::new(EngineConfig {
            guest_threads: 2,
            slots: 64,
            code_budget: ByteSize::mib(64),
            ..EngineConfig::for_machine()
        });
        let catalog: Arc<dyn Catalog> = Arc::new(MemoryCatalog::default());
        let blobs = Arc::new(BlobStore::open(data.path()).unwrap());
        let registry = Registry::open(engine.unwrap(), catalog, blobs, RegistryConfig::default());
        let registry = registry.await.unwrap();
        let seen = Arc::new(Seen {
            judgements: Mutex::default(),
            draining: Mutex::default(),
            changes: watch::Sender::default(),
        });
        let config = FleetConfig {
            address: format!("https://localhost:{}", controller.address.port()),
            files,
            hello: Hello {
                host: "host-0".parse().unwrap(),
                pool: "pool".parse().unwrap(),
                release: "0.1.0".to_owned(),
                started_unix_ms: 7,
                fingerprint: "engine".to_owned(),
            },
        };
        let observed: Arc<dyn Observed> = seen.clone();
        let fleet = Fleet::start(config, Arc::clone(&registry), observed);
        Self { registry, seen, _fleet: fleet, _data: data, _files: None }
    }

    pub(crate) async fn push(&self, name: &str, more: u32) {
        let upload = self.registry.upload(None).await.unwrap();
        let staged = upload.write(Bytes::from(component(more))).await.unwrap().finish();
        let request = PushRequest { name: Some(module(name)), ..PushRequest::default() };
        let pushed = self.registry.push(&Namespace::default(), request, staged, &|_| {}).await;
        pushed.unwrap();
    }

    /// Who answers the next call that names no version.
    pub(crate) fn answers(&self) -> String {
        let routes = self.registry.routes();
        let live = routes.resolve(&Namespace::default(), ("demo.calc.ops.v0_1.Ops", "Add"), None);
        live.unwrap().label().to_string()
    }

    /// Waits until every one of the next calls is answered by a version.
    pub(crate) async fn settles_to(&self, label: &str) {
        for _ in 0..6000 {
            if (0..10).all(|_| self.answers() == label) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} answers, not {label}", self.answers());
    }
}

pub(crate) fn module(name: &str) -> ModuleName {
    name.parse().unwrap()
}

fn component(more: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
             (core module $m (func (export "add") (param i32 i32) (result i32)
               local.get 0 local.get 1 i32.add i32.const {more} i32.add))
             (core instance $i (instantiate $m))
             (func $add (param "a" u32) (param "b" u32) (result u32)
               (canon lift (core func $i "add")))
             (instance $ops (export "add" (func $add)))
             (export "demo:calc/ops@0.1.0" (instance $ops)))"#
    );
    wat::parse_str(text).unwrap()
}
