//! A backend with a module on it, called as a host calls it: through the engine.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use roadstead_domain::{CallId, Fault, ModuleId, ModuleSpec, SpecFormat, Version};
use roadstead_engine::{
    Call, Contract, Engine, EngineConfig, Module, NativeState, Natives, Requests, Response,
    Responses,
};
use roadstead_transcode::{Locks, MethodPlan, World, derive};

use crate::wire;

/// How long anything may take on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// What runs native modules, and what a test does to it.
pub(crate) trait Backend: Send + Sync {
    fn engine(&self) -> Arc<Engine>;
    fn natives(&self) -> Arc<dyn Natives>;
    /// How a spec says that a program of the fixtures is run, as YAML.
    fn program(&self, program: Program) -> String;
    /// Sends a signal (`KILL`, `STOP`) to the server of an attempt.
    fn signal(&self, epoch: u64, signal: &'static str) -> impl Future<Output = ()> + Send;
    /// A file in the module's directory for its state.
    fn state(&self, module: &ModuleId, file: &str) -> impl Future<Output = Option<String>> + Send;
}

/// A program of the fixtures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Program {
    /// A module of the Python package.
    Probe,
    /// The same with a state.
    Counter,
    Liar(&'static str),
}

pub(crate) struct Stage<'a, B> {
    pub(crate) backend: &'a B,
    pub(crate) id: ModuleId,
    pub(crate) module: Arc<Module>,
    methods: Vec<Arc<MethodPlan>>,
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub(crate) fn id(name: &str, version: &str) -> ModuleId {
    ModuleId {
        namespace: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
    }
}

pub(crate) fn engine() -> Arc<Engine> {
    Engine::new(EngineConfig { guest_threads: 1, ..EngineConfig::for_machine() }).unwrap()
}

/// What the fixture's WIT says.
pub(crate) fn contract(id: &ModuleId) -> (Arc<Contract>, Vec<Arc<MethodPlan>>) {
    let wit = std::fs::read_to_string(fixtures().join("probe/wit/probe.wit")).unwrap();
    let world = World::from_wit(&[("probe.wit".to_owned(), wit)], None).unwrap();
    let derived = derive(&world, &id.name, &id.version, &Locks::default()).unwrap();
    let services = derived.services.iter().map(|service| service.name.clone()).collect();
    let contract = Contract { files: derived.files, services };
    let methods = derived.services.into_iter().flat_map(|service| service.methods).collect();
    (Arc::new(contract), methods)
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = tokio::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it did not come to pass that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl<'a, B: Backend> Stage<'a, B> {
    /// Registers a version and lets it run. `native` and `rest` are lines of YAML.
    pub(crate) fn run(backend: &'a B, program: Program, native: &str, rest: &str) -> Self {
        Self::version(backend, "1.0.0", program, native, rest).and_run()
    }

    /// Registers a version.
    pub(crate) fn version(
        backend: &'a B,
        version: &str,
        program: Program,
        native: &str,
        rest: &str,
    ) -> Self {
        let yaml = format!("native: {{{}, {native}}}\n{rest}", backend.program(program));
        Self::of(backend, id("probe", version), &yaml)
    }

    pub(crate) fn of(backend: &'a B, id: ModuleId, yaml: &str) -> Self {
        let spec = ModuleSpec::parse(yaml, SpecFormat::Yaml);
        let spec = Arc::new(spec.unwrap_or_else(|error| panic!("{yaml}: {error}")));
        let (contract, methods) = contract(&id);
        let remote = backend.natives().remote(&id, &spec, &contract).unwrap();
        let module = backend.engine().remote(id.clone(), spec, remote).unwrap();
        Self { backend, id, module, methods }
    }

    pub(crate) fn and_run(self) -> Self {
        self.wanted(std::slice::from_ref(&self.id.version));
        self
    }

    /// Says which versions of the module are to run.
    pub(crate) fn wanted(&self, versions: &[Version]) {
        self.backend.natives().run(&self.id.namespace, &self.id.name, versions);
    }

    pub(crate) fn deleted(&self) {
        self.backend.natives().delete(&self.id.namespace, &self.id.name);
    }

    pub(crate) fn state(&self) -> NativeState {
        self.backend.natives().standing(&self.id).state
    }

    /// The epochs of the attempts that stand so.
    pub(crate) fn epochs(&self, state: &NativeState) -> Vec<u64> {
        let standing = self.backend.natives().standing(&self.id);
        let fits = standing.attempts.iter().filter(|one| one.state == *state);
        fits.map(|one| one.epoch).collect()
    }

    /// Waits until so many servers are ready; their epochs.
    pub(crate) async fn ready(&self, count: usize) -> Vec<u64> {
        until("servers are ready", || {
            assert!(!matches!(self.state(), NativeState::Failed(_)), "{:?}", self.state());
            self.epochs(&NativeState::Ready).len() == count
        })
        .await;
        self.epochs(&NativeState::Ready)
    }

    pub(crate) async fn becomes(&self, state: NativeState) {
        until(&format!("it is {state:?}, not {:?}", self.state()), || self.state() == state).await;
    }

    /// Why it failed, once it has.
    pub(crate) async fn failed(&self) -> String {
        until("it failed", || {
            matches!(self.state(), NativeState::Failed(_) | NativeState::BackingOff(_))
        })
        .await;
        match self.state() {
            NativeState::Failed(why) | NativeState::BackingOff(why) => why,
            other => format!("{other:?}"),
        }
    }

    pub(crate) fn request(&self, function: &str, request: Bytes) -> Call {
        let method = self.methods.iter().find(|method| method.export.function == function);
        let call = Call::new(CallId(7), Arc::clone(method.unwrap()), request);
        Call { owner: Some("alice".into()), path: ["outer".into()].into_iter().collect(), ..call }
    }

    pub(crate) async fn call(&self, function: &str, request: Bytes) -> Result<Bytes, Fault> {
        self.module.call(self.request(function, request)).await.result
    }

    pub(crate) async fn answer<M: Message + Default>(&self, function: &str, request: Bytes) -> M {
        let answer = self.call(function, request).await;
        wire::read(&answer.unwrap_or_else(|fault| panic!("{function}: {fault}")))
    }

    pub(crate) async fn who(&self) -> wire::Caller {
        self.answer::<wire::Who>("who", Bytes::new()).await.value.unwrap()
    }

    /// What the server sees.
    pub(crate) async fn look(&self, what: &str) -> String {
        self.answer::<wire::Text>("look", wire::text(what)).await.value
    }

    /// Waits until the server has a call of `wait`.
    pub(crate) async fn waits(&self) {
        let began = tokio::time::Instant::now();
        while self.look("waiting").await == "0" {
            assert!(began.elapsed() < PATIENCE, "no call came to the server");
        }
    }

    pub(crate) fn open(&self, function: &str, request: Bytes) -> (Requests, Responses) {
        self.module.open(self.request(function, request))
    }
}

/// All of a stream.
pub(crate) async fn rest(mut responses: Responses) -> (Vec<Bytes>, Result<(), Fault>) {
    let mut messages = Vec::new();
    loop {
        match responses.next().await {
            Response::Message(message) => messages.push(message),
            Response::End(end) => return (messages, end),
        }
    }
}
