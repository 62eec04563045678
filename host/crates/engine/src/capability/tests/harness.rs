//! Runs guests as the engine does, without its threads: one store with one guest's capabilities.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock},
};

use parking_lot::Mutex;
use roadstead_domain::{
    ByteSize, CallId, Grantee, LimitReached, Limits, ModuleId, ModuleSpec, Namespace, Version,
};
use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, TypedFunc},
};
use wasmtime_wasi::p2::bindings::Command as CommandWorld;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::{
    LogStore, OfferedNetwork, Offers,
    capability::{
        CallContext, Granted, GuestCapabilities, HasCapabilities, Shares, limit_handles, link,
    },
};

pub(crate) struct State(pub(crate) GuestCapabilities);

impl HasCapabilities for State {
    fn capabilities(&mut self) -> &mut GuestCapabilities {
        &mut self.0
    }
}

struct Host {
    engine: Engine,
    linker: Linker<State>,
    probe: Component,
}

static HOST: LazyLock<Host> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config).unwrap();
    let mut linker = Linker::new(&engine);
    link(&mut linker).unwrap();
    let probe = Component::new(&engine, std::fs::read(build_probe()).unwrap()).unwrap();
    Host { engine, linker, probe }
});

/// Compiles the Rust guest, once per change of it.
fn build_probe() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/probe.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/guests");
    std::fs::create_dir_all(&folder).unwrap();
    let (built, fresh) = (
        folder.join("engine-probe.wasm"),
        folder.join(format!("engine-probe-{}.wasm", std::process::id())),
    );
    let changed = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    if changed(&built).is_none_or(|built| Some(built) < changed(&source)) {
        let status = Command::new("rustc")
            .args(["--edition=2024", "--target=wasm32-wasip2", "-Copt-level=1", "-o"])
            .args([&fresh, &source])
            .status()
            .expect("rustc with the target wasm32-wasip2");
        assert!(status.success(), "the probe does not compile");
        std::fs::rename(fresh, &built).unwrap();
    }
    built
}

/// How a guest's run ended.
pub(crate) struct Ran {
    /// What it wrote, line by line.
    pub(crate) lines: Vec<String>,
    pub(crate) trap: Option<String>,
    pub(crate) limit: Option<LimitReached>,
    /// The limit that ends the call whatever the guest says.
    pub(crate) exceeded: Option<LimitReached>,
    /// What `run` answered, where it answers something.
    pub(crate) answer: u32,
}

/// One module version on a host of its own.
pub(crate) struct Guest {
    granted: Granted,
    limits: Limits,
    logs: Arc<LogStore>,
    id: ModuleId,
}

impl Guest {
    pub(crate) fn new(spec: &ModuleSpec) -> Self {
        Self::offered(spec, &offering(&spec.capabilities.network)).unwrap()
    }

    pub(crate) fn offered(spec: &ModuleSpec, offers: &Offers) -> Result<Self, String> {
        Self::sharing(spec, offers, &Shares::default())
    }

    pub(crate) fn sharing(
        spec: &ModuleSpec,
        offers: &Offers,
        shares: &Shares,
    ) -> Result<Self, String> {
        let logs = Arc::new(LogStore::new(ByteSize::mib(8)));
        let id = anyone();
        let granted =
            Granted::new(&id, spec, offers, shares, &logs).map_err(|error| error.to_string())?;
        Ok(Self { granted, limits: spec.limits.clone(), logs, id })
    }

    pub(crate) fn store(&self) -> Store<State> {
        let guest = self
            .granted
            .guest(&CallContext { id: CallId(1), deadline: None, caller: None })
            .unwrap();
        let mut store = Store::new(&HOST.engine, State(guest));
        limit_handles(&mut store, &self.limits);
        store
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.logs.tail(&self.id.namespace, &self.id.name, usize::MAX);
        lines.iter().map(|line| line.text.clone()).collect()
    }

    fn ran(&self, mut store: Store<State>, result: wasmtime::Result<u32>) -> Ran {
        let guest = store.data_mut().capabilities();
        guest.end_call();
        let limit = result.as_ref().err().and_then(|error| guest.limit_of(error));
        let exceeded = guest.limit_exceeded();
        drop(store);
        Ran {
            lines: self.lines(),
            trap: result.as_ref().err().map(|error| format!("{error:#}")),
            limit,
            exceeded,
            answer: result.unwrap_or_default(),
        }
    }

    /// Runs a component that exports `run: func() -> u32` (or one that is `async`).
    pub(crate) async fn run(&self, component: &Component) -> Ran {
        let mut store = self.store();
        let result = async {
            let run = instantiate(&mut store, component).await?;
            Ok(run.call_async(&mut store, ()).await?.0)
        }
        .await;
        self.ran(store, result)
    }

    /// An instance of such a component, to be called several times.
    pub(crate) async fn instance(&self, component: &Component) -> Instance {
        let mut store = self.store();
        let run = instantiate(&mut store, component).await.unwrap();
        Instance { store, run }
    }

    /// Runs the probe.
    async fn probe(&self) -> Ran {
        let mut store = self.store();
        let result = async {
            let command =
                CommandWorld::instantiate_async(&mut store, &HOST.probe, &HOST.linker).await?;
            command.wasi_cli_run().call_run(&mut store).await
        }
        .await;
        self.ran(store, result.map(|done| u32::from(done.is_err())))
    }
}

type Run = TypedFunc<(), (u32,)>;

/// One instance and its store.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    run: Run,
}

impl Instance {
    pub(crate) fn begin_call(&mut self) {
        self.store.data_mut().capabilities().begin_call(&CallContext {
            id: CallId(2),
            deadline: None,
            caller: None,
        });
    }

    pub(crate) async fn call(&mut self) -> wasmtime::Result<u32> {
        Ok(self.run.call_async(&mut self.store, ()).await?.0)
    }
}

async fn instantiate(store: &mut Store<State>, component: &Component) -> wasmtime::Result<Run> {
    let instance = HOST.linker.instantiate_async(&mut *store, component).await?;
    instance.get_typed_func(&mut *store, "run")
}

/// Has the probe follow a script under a spec; gives what each command printed.
pub(crate) async fn probe(spec: ModuleSpec, script: &[&str]) -> Ran {
    let offers = offering(&spec.capabilities.network);
    probe_with(spec, &offers, script).await
}

pub(crate) async fn probe_with(mut spec: ModuleSpec, offers: &Offers, script: &[&str]) -> Ran {
    spec.capabilities.env.insert("SCRIPT".to_owned(), script.join("\n"));
    Guest::offered(&spec, offers).unwrap().probe().await
}

/// Some module version.
pub(crate) fn anyone() -> ModuleId {
    ModuleId {
        namespace: Namespace::default(),
        name: "anyone".parse().unwrap(),
        version: Version::first(),
    }
}

/// The offers of an operator who writes out each target that a spec asks for.
pub(crate) fn offering(asked: &roadstead_domain::Network) -> Offers {
    let to = vec![Grantee::Everyone];
    let targets = asked.http.iter().chain(&asked.tcp);
    let offer = |target: &roadstead_domain::HostPort| OfferedNetwork {
        target: target.to_string().parse().unwrap(),
        to: to.clone(),
    };
    Offers { network: targets.map(offer).collect(), ..Offers::default() }
}

/// A spec from its YAML.
pub(crate) fn spec(yaml: &str) -> ModuleSpec {
    ModuleSpec::parse(yaml, roadstead_domain::SpecFormat::Yaml).unwrap()
}

/// A spec that may connect to one target.
pub(crate) fn tcp_spec(target: &str, limits: &str) -> ModuleSpec {
    spec(&format!("limits: {{{limits}}}\ncapabilities: {{network: {{tcp: ['{target}']}}}}"))
}

/// A component from a core module in WAT and the WIT of its world `guest`; preview1 imports are
/// adapted.
pub(crate) fn component(wit: &str, wat: &str) -> Component {
    Component::new(&HOST.engine, encode(wit, wat)).unwrap()
}

/// A component from its own text.
pub(crate) fn raw(wat: &str) -> Component {
    Component::new(&HOST.engine, wat::parse_str(wat).unwrap()).unwrap()
}

pub(crate) fn encode(wit: &str, wat: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve { all_features: true, ..Default::default() };
    let package = resolve.push_str("guest.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(wat).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut encoder = ComponentEncoder::default().module(&module).unwrap();
    if wat.contains("wasi_snapshot_preview1") {
        let adapter =
            wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
        encoder = encoder.adapter("wasi_snapshot_preview1", adapter).unwrap();
    }
    encoder.encode().unwrap()
}

/// Compiled components by name, so that tests share them.
pub(crate) fn cached(name: &'static str, wit: &str, wat: &str) -> Component {
    static CACHE: LazyLock<Mutex<BTreeMap<&'static str, Component>>> =
        LazyLock::new(Mutex::default);
    CACHE.lock().entry(name).or_insert_with(|| component(wit, wat)).clone()
}
