//! A host without a gateway, and components to push.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use roadstead_blobs::BlobStore;
use roadstead_catalog::RedbCatalog;
use roadstead_domain::{ByteSize, CallId, Fault, ModuleName, ModuleRef, Namespace, Version};
use roadstead_engine::{Call, Engine, EngineConfig};
use roadstead_registry::{
    LiveVersion, PushError, PushRequest, Pushed, Registry, RegistryConfig, Staged,
};

/// One engine for all hosts of a test process.
static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| {
    let config = EngineConfig {
        guest_threads: 2,
        slots: 64,
        code_budget: ByteSize::mib(64),
        ..EngineConfig::for_machine()
    };
    Engine::new(config).unwrap()
});

pub(crate) fn engine() -> Arc<Engine> {
    Arc::clone(&ENGINE)
}

pub(crate) struct Host {
    pub(crate) data: PathBuf,
    pub(crate) registry: Arc<Registry>,
    _directory: Option<tempfile::TempDir>,
}

impl Host {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let host = Self::open(directory.path()).await;
        Self { _directory: Some(directory), ..host }
    }

    pub(crate) async fn open(data: &Path) -> Self {
        Self::with(data, RegistryConfig::default()).await
    }

    pub(crate) async fn with(data: &Path, config: RegistryConfig) -> Self {
        let blobs = BlobStore::open(data).unwrap();
        let catalog = RedbCatalog::open(&data.join("catalog.redb")).unwrap();
        let registry =
            Registry::open(engine(), Arc::new(catalog), Arc::new(blobs), config).await.unwrap();
        Self { data: data.to_owned(), registry, _directory: None }
    }

    /// A host around a registry of its own making.
    pub(crate) fn of(data: &Path, registry: Arc<Registry>) -> Self {
        Self { data: data.to_owned(), registry, _directory: None }
    }

    /// The same host after a restart: nothing of the old one lives on.
    pub(crate) async fn restarted(self) -> Self {
        let (data, _directory) = self.closed().await;
        Self { _directory, ..Self::open(&data).await }
    }

    /// Ends the host; another process may open its files then.
    pub(crate) async fn closed(self) -> (PathBuf, Option<tempfile::TempDir>) {
        let Self { data, registry, _directory } = self;
        drop(registry);
        // Work in the background may hold the files for another moment.
        for _ in 0..1000 {
            let catalog = data.join("catalog.redb");
            if BlobStore::open(&data).is_ok() && RedbCatalog::open(&catalog).is_ok() {
                return (data, _directory);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("something of the old host lives on");
    }

    pub(crate) async fn stage(&self, bytes: &[u8]) -> Result<Staged, PushError> {
        let mut upload = self.registry.upload(None).await?;
        for chunk in bytes.chunks(1 << 16) {
            upload = upload.write(Bytes::copy_from_slice(chunk)).await?;
        }
        Ok(upload.finish())
    }

    pub(crate) async fn push_as(
        &self,
        request: PushRequest,
        bytes: &[u8],
    ) -> Result<Pushed, PushError> {
        let staged = self.stage(bytes).await?;
        self.registry.push(&Namespace::default(), request, staged, &|_| {}).await
    }

    pub(crate) async fn push(&self, name: &str, bytes: &[u8]) -> Result<Pushed, PushError> {
        self.push_as(named(name), bytes).await
    }

    pub(crate) fn resolve(
        &self,
        service: &str,
        wanted: Option<&str>,
    ) -> Result<Arc<LiveVersion>, Fault> {
        let wanted: Option<ModuleRef> = wanted.map(|wanted| wanted.parse().unwrap());
        let routes = self.registry.routes();
        routes.resolve(&Namespace::default(), (service, "Add"), wanted.as_ref()).cloned()
    }

    /// The label of the version that answers.
    pub(crate) fn answers(&self, wanted: Option<&str>) -> Result<String, Fault> {
        self.resolve(OPS, wanted).map(|live| live.label().to_string())
    }

    /// Calls `add(2, 3)` on whatever answers.
    pub(crate) async fn call(&self) -> u64 {
        add(&self.resolve(OPS, None).unwrap(), 2, 3).await
    }

    pub(crate) fn versions(&self, name: &str) -> Vec<String> {
        let module = self.registry.get(&Namespace::default(), &name.parse().unwrap());
        let versions =
            module.map(|module| module.versions.keys().map(Version::to_string).collect());
        versions.unwrap_or_default()
    }

    /// Every file but the catalog's.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let all = files(&self.data).into_iter();
        all.filter(|path| !path.ends_with("catalog.redb")).collect()
    }

    /// Waits until nothing is stored beside `expected` (garbage goes in the background).
    pub(crate) async fn settles_to(&self, expected: &BTreeSet<PathBuf>) {
        for _ in 0..500 {
            if self.files() == *expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.files(), *expected);
    }
}

pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

pub(crate) fn named(name: &str) -> PushRequest {
    PushRequest { name: Some(name.parse().unwrap()), ..PushRequest::default() }
}

pub(crate) fn versioned(name: &str, version: &str) -> PushRequest {
    PushRequest { version: Some(version.parse().unwrap()), ..named(name) }
}

pub(crate) fn module(name: &str) -> ModuleName {
    name.parse().unwrap()
}

/// The service of [`calc`].
pub(crate) const OPS: &str = "demo.calc.ops.v0_1.Ops";

/// A component with `add: func(a: u32, b: u32) -> u32`, which adds `more` on top.
pub(crate) fn calc(more: u32) -> Vec<u8> {
    functions(&[("add", "u32", more)])
}

/// A component that exports functions of two numbers as `demo:calc/ops@0.1.0`.
pub(crate) fn functions(functions: &[(&str, &str, u32)]) -> Vec<u8> {
    exported("demo:calc/ops@0.1.0", functions)
}

pub(crate) fn exported(interface: &str, functions: &[(&str, &str, u32)]) -> Vec<u8> {
    let mut core = String::new();
    let mut lifts = String::new();
    let mut exports = String::new();
    for (name, ty, more) in functions {
        core.push_str(&format!(
            "(func (export \"{name}\") (param i32 i32) (result i32)
               local.get 0 local.get 1 i32.add i32.const {more} i32.add)"
        ));
        lifts.push_str(&format!(
            "(func ${name} (param \"a\" {ty}) (param \"b\" {ty}) (result {ty})
               (canon lift (core func $i \"{name}\")))"
        ));
        exports.push_str(&format!("(export \"{name}\" (func ${name}))"));
    }
    let text = format!(
        "(component
           (core module $m {core})
           (core instance $i (instantiate $m))
           {lifts}
           (instance $ops {exports})
           (export \"{interface}\" (instance $ops)))"
    );
    wat::parse_str(text).unwrap()
}

/// Calls `add` and reads the answer.
pub(crate) async fn add(live: &LiveVersion, a: u8, b: u8) -> u64 {
    try_to_add(live, a, b).await.unwrap()
}

pub(crate) async fn try_to_add(live: &LiveVersion, a: u8, b: u8) -> Result<u64, Fault> {
    assert!(a < 128 && b < 128);
    let module = live.module()?;
    let method = Arc::clone(&live.method(&live.record().services[0].name, "Add").unwrap().plan);
    let call = Call::new(CallId(1), method, Bytes::from(vec![0x08, a, 0x10, b]));
    let answer = module.call(call).await.result?;
    Ok(match answer.split_first() {
        None => 0,
        Some((0x08, rest)) => {
            rest.iter().rev().fold(0, |value, byte| (value << 7) | u64::from(byte & 0x7f))
        }
        Some(_) => panic!("{answer:?}"),
    })
}
