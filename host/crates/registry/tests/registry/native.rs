//! Native modules: published like components, and run by somebody else.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use roadstead_domain::{
    CallId, Fault, ModuleId, ModuleName, ModuleSpec, Namespace, SpecFormat, Version,
};
use roadstead_engine::{
    Call, CodeState, Contract, Isolation, LoadError, NativeStanding, NativeState, Natives, Remote,
    RemoteCall, RemoteRequests, RemoteResponses,
};
use roadstead_registry::{PushError, PushRequest, Pushed, RegistryConfig};
use roadstead_transcode::World;

use crate::harness::{Host, OPS, calc, module, named};

const ADD: &str = "add: func(a: u32, b: u32) -> u32;";

/// Remembers what it is asked for and told.
#[derive(Default)]
struct Runner {
    contracts: Mutex<BTreeMap<String, Contract>>,
    running: Mutex<BTreeMap<String, Vec<String>>>,
    told: Mutex<usize>,
    again: Mutex<Vec<String>>,
    begun: Mutex<Vec<Vec<String>>>,
    deleted: Mutex<Vec<String>>,
}

/// Says what it was sent.
struct Echo;

impl Remote for Echo {
    fn call(&self, _: RemoteCall, request: Bytes) -> BoxFuture<'_, Result<Bytes, Fault>> {
        async { Ok(request) }.boxed()
    }

    fn stream<'a>(
        &'a self,
        _: RemoteCall,
        _: RemoteRequests,
        _: RemoteResponses,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async { Ok(()) }.boxed()
    }

    fn state(&self) -> CodeState {
        CodeState::There
    }
}

impl Natives for Runner {
    fn accepts(&self, _: &ModuleId, spec: &ModuleSpec) -> Result<(), LoadError> {
        if spec.native.as_ref().unwrap().command == ["refused"] {
            return Err(LoadError::NotOffered("no such secret".to_owned()));
        }
        Ok(())
    }

    fn remote(
        &self,
        id: &ModuleId,
        _: &Arc<ModuleSpec>,
        contract: &Arc<Contract>,
    ) -> Result<Arc<dyn Remote>, LoadError> {
        self.contracts.lock().insert(id.to_string(), (**contract).clone());
        Ok(Arc::new(Echo))
    }

    fn run(&self, namespace: &Namespace, name: &ModuleName, versions: &[Version]) {
        assert_eq!(*namespace, Namespace::default());
        *self.told.lock() += 1;
        let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
        self.running.lock().insert(name.to_string(), versions);
    }

    fn begin(&self, modules: &[(Namespace, ModuleName)]) {
        self.begun.lock().push(modules.iter().map(|(_, name)| name.to_string()).collect());
    }

    fn delete(&self, _: &Namespace, name: &ModuleName) {
        self.running.lock().remove(name.as_str());
        self.deleted.lock().push(name.to_string());
    }

    fn again(&self, id: &ModuleId) {
        self.again.lock().push(id.to_string());
    }

    fn standing(&self, _: &ModuleId) -> NativeStanding {
        NativeStanding {
            isolation: Isolation::Process,
            confinement: "a test".to_owned(),
            state: NativeState::Ready,
            attempts: Vec::new(),
        }
    }
}

impl Runner {
    fn running(&self, name: &str) -> Vec<String> {
        self.running.lock().get(name).cloned().unwrap_or_default()
    }
}

/// The WIT of a native module with these functions, as it is pushed.
fn package(functions: &str) -> Vec<u8> {
    let text = format!(
        "package demo:calc@0.1.0; interface ops {{ {functions} }} interface others {{ go: func(); }} \
         world calc {{ import others; export ops; }}"
    );
    let world = World::from_wit(&[("calc.wit".to_owned(), text)], None).unwrap();
    world.to_package().unwrap()
}

fn native(spec: &str) -> PushRequest {
    let spec = format!("native: {{{spec}}}");
    PushRequest { spec: ModuleSpec::parse(&spec, SpecFormat::Yaml).unwrap(), ..named("calc") }
}

async fn host() -> (Host, Arc<Runner>, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let runner = Arc::new(Runner::default());
    (open(&data, &runner).await, runner, data)
}

async fn open(data: &tempfile::TempDir, runner: &Arc<Runner>) -> Host {
    let natives = Some(Arc::clone(runner) as Arc<dyn Natives>);
    Host::with(data.path(), RegistryConfig { natives, ..RegistryConfig::default() }).await
}

async fn push(host: &Host, spec: &str, functions: &str) -> Result<Pushed, PushError> {
    host.push_as(native(spec), &package(functions)).await
}

#[tokio::test]
async fn a_native_module_is_published_called_and_outlives_a_restart() {
    let (host, runner, data) = host().await;
    let pushed = push(&host, "command: [a]", ADD).await.unwrap();
    assert!(pushed.created && pushed.record.imports.is_empty());
    assert!(pushed.record.services[0].methods.iter().all(|method| method.is_compiled()));
    assert!(runner.again.lock().is_empty());
    assert!(!push(&host, "command: [a]", ADD).await.unwrap().created);
    assert_eq!(*runner.again.lock(), ["calc@0.1.0"]);
    let check = async |host: &Host| {
        let live = host.resolve(OPS, None).unwrap();
        let plan = Arc::clone(&live.method(OPS, "Add").unwrap().plan);
        let call = Call::new(CallId(1), plan, Bytes::from_static(&[8, 1]));
        let outcome = live.module().unwrap().call(call).await;
        assert_eq!(outcome.result, Ok(Bytes::from_static(&[8, 1])));
        assert_eq!(host.registry.native(live.id()).unwrap().state, NativeState::Ready);
        assert_eq!(runner.running("calc"), ["0.1.0"]);
        let protos = host.registry.protos(&Namespace::default(), &module("calc"), None).unwrap();
        assert!(protos.files[0].1.contains("rpc Add"), "{}", protos.files[0].1);
    };
    check(&host).await;
    let contract = runner.contracts.lock()["calc@0.1.0"].clone();
    assert_eq!(contract.services, [OPS]);
    assert_eq!(contract.files.len(), 1);
    drop(host.closed().await);
    runner.running.lock().clear();
    let host = open(&data, &runner).await;
    check(&host).await;
    assert_eq!(*runner.begun.lock(), [vec![], vec!["calc".to_owned()]]);
    assert_eq!(runner.contracts.lock()["calc@0.1.0"], contract);
}

#[tokio::test]
async fn the_version_that_answers_runs_and_no_other() {
    let (host, runner, _data) = host().await;
    push(&host, "command: [a], stateful: true", ADD).await.unwrap();
    push(&host, "command: [b], stateful: true", ADD).await.unwrap();
    assert_eq!(runner.running("calc"), ["0.1.1"]);
    let first = "0.1.0".parse().unwrap();
    let (namespace, name) = (Namespace::default(), module("calc"));
    host.registry.pin(&namespace, &name, Some(&first)).await.unwrap();
    assert_eq!(runner.running("calc"), ["0.1.0"]);
    let told = *runner.told.lock();
    push(&host, "command: [c], stateful: true", ADD).await.unwrap();
    assert_eq!((runner.running("calc"), *runner.told.lock()), (vec!["0.1.0".to_owned()], told));
    host.registry.pin(&namespace, &name, None).await.unwrap();
    assert_eq!(runner.running("calc"), ["0.1.2"]);
    // A component under its name needs the name first.
    let taken = host.push("calc", &calc(0)).await.unwrap_err();
    assert!(matches!(taken, PushError::NameTaken(_)), "{taken}");
    host.registry.delete(&namespace, &name, Some(&"0.1.2".parse().unwrap())).await.unwrap();
    assert_eq!(runner.running("calc"), ["0.1.1"]);
    assert!(runner.deleted.lock().is_empty());
    host.registry.delete(&namespace, &name, None).await.unwrap();
    assert_eq!(runner.running("calc"), [""; 0]);
    assert_eq!(*runner.deleted.lock(), ["calc"]);
    host.push("calc", &calc(0)).await.unwrap();
    assert_eq!((runner.running("calc"), host.call().await), (vec![], 5));
}

#[tokio::test]
async fn versions_without_state_run_for_the_services_that_they_alone_have() {
    let (host, runner, _data) = host().await;
    let older = |more: &str| {
        let text = format!(
            "package demo:calc@0.1.0; interface ops {{ {ADD} }} interface more {{ go: func(); }} \
             world calc {{ export ops; {more} }}"
        );
        World::from_wit(&[("calc.wit".to_owned(), text)], None).unwrap().to_package().unwrap()
    };
    for stateful in [false, true] {
        let spec = |command: &str| native(&format!("command: [{command}], stateful: {stateful}"));
        host.push_as(spec("old"), &older("export more;")).await.unwrap();
        host.push_as(spec("new"), &older("")).await.unwrap();
        let running = runner.running("calc");
        assert_eq!(running.len(), if stateful { 1 } else { 2 }, "{running:?}");
        let name = module("calc");
        host.registry.delete(&Namespace::default(), &name, None).await.unwrap();
    }
}

#[tokio::test]
async fn contracts_hold_from_components_to_native_modules() {
    let (host, _, _data) = host().await;
    let component = host.push("calc", &calc(0)).await.unwrap();
    let taken = push(&host, "command: [a]", ADD).await;
    assert!(matches!(taken, Err(PushError::NameTaken(_))), "{taken:?}");
    host.registry.delete(&Namespace::default(), &module("calc"), None).await.unwrap();
    let native = push(&host, "command: [a]", ADD).await.unwrap();
    // The same services with the same numbers: stubs of the component call it.
    assert_eq!(native.record.services[0].name, component.record.services[0].name);
    assert_eq!(native.record.locks, component.record.locks);
    let broken = push(&host, "command: [a]", "add: func(a: string) -> u32;").await;
    assert!(matches!(broken, Err(PushError::Breaks(_))), "{broken:?}");
}

#[tokio::test]
async fn what_cannot_be_native_is_refused() {
    let (host, runner, _data) = host().await;
    let component = host.push_as(native("command: [a]"), &calc(0)).await.unwrap_err();
    assert!(component.to_string().contains("push --native"), "{component}");
    let package = host.push("calc", &package(ADD)).await.unwrap_err();
    assert!(package.to_string().contains("WIT package"), "{package}");
    let handles = "resource thing { constructor(); }";
    let resources = push(&host, "command: [a]", handles).await.unwrap_err();
    assert!(matches!(&resources, PushError::NeverFits(why) if why.contains("resources")));
    let refused = push(&host, "command: [refused]", ADD).await.unwrap_err();
    assert!(matches!(&refused, PushError::NotOffered(why) if why.contains("secret")));
    for field in ["concurrent", "idempotent"] {
        let unknown = push(&host, &format!("command: [a], {field}: [ad]"), ADD).await.unwrap_err();
        let PushError::NeverFits(why) = &unknown else { panic!("{unknown:?}") };
        assert_eq!(*why, format!("native.{field}: there is no function `ad`, but add"));
    }
    let staged = host.stage(&self::package(ADD)).await.unwrap();
    let namespace = Namespace::default();
    host.registry.check(&namespace, native("command: [a]"), staged).await.unwrap();
    assert!(runner.contracts.lock().is_empty(), "what is not published is nobody's");
    assert!(runner.running.lock().is_empty());
}

#[tokio::test]
async fn without_anybody_who_runs_them_they_are_refused_and_those_there_are_say_why() {
    let (host, runner, data) = host().await;
    push(&host, "command: [a]", ADD).await.unwrap();
    drop(host.closed().await);
    let host = Host::open(data.path()).await;
    let live = host.resolve(OPS, None).unwrap();
    assert!(matches!(live.problem(), Some(Fault::NotOffered(why)) if why.contains("--native")));
    let refused = push(&host, "command: [b]", ADD).await.unwrap_err();
    assert!(matches!(&refused, PushError::NotOffered(why) if why.contains("--native")));
    assert_eq!(host.registry.native(live.id()), None);
    drop((live, host.closed().await));
    assert!(open(&data, &runner).await.resolve(OPS, None).unwrap().module().is_ok());
}
