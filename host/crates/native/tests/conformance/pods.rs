//! Native modules that run elsewhere, as hosts of a cluster call them: over TLS, by what a controller
//! tells. The test plays the cluster; the servers are real.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use roadstead_domain::{Fault, ModuleId, ModuleName, ModuleSpec, Namespace, Version};
use roadstead_engine::{Contract, Engine, LoadError, NativeStanding, NativeState, Natives, Remote};
use roadstead_native::{Pods, PodsConfig};
use roadstead_proto::v1::{NativeServer, NativeServers, ServersStanding};
use tempfile::TempDir;

use crate::{
    processes::program_yaml,
    stage::{Backend, Program, Stage, engine, fixtures, until},
    suite,
    wire::{Data, data, text},
};

const NAME: &str = "native-probe.default.native.roadstead.internal";
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A cluster as far as a host sees it.
pub(crate) struct LocalPods {
    engine: Arc<Engine>,
    cluster: Arc<FakeCluster>,
}

struct FakeCluster {
    pods: Pods,
    authority: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
    specs: Mutex<BTreeMap<Version, Arc<ModuleSpec>>>,
    /// By version, the servers that run.
    servers: Mutex<BTreeMap<Version, (Child, NativeServer)>>,
}

impl LocalPods {
    fn new() -> Self {
        let engine = engine();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        for (name, names) in [("server", vec![NAME.to_owned()]), ("host", Vec::new())] {
            let params = CertificateParams::new(names).unwrap();
            let key = KeyPair::generate().unwrap();
            let cert = params.signed_by(&key, &authority).unwrap();
            fs::write(path(&format!("{name}.crt")), cert.pem()).unwrap();
            fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        fs::write(path("hosts.crt"), authority.pem()).unwrap();
        fs::write(path("call.key"), KEY).unwrap();
        let logs = engine.logs().clone();
        let pods = Pods::new(PodsConfig { cert: path("host.crt"), key: path("host.key"), logs });
        let (specs, servers) = (Mutex::default(), Mutex::default());
        let cluster = Arc::new(FakeCluster { pods, authority, files, specs, servers });
        Self { engine, cluster }
    }
}

impl FakeCluster {
    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn start(&self, version: &Version) -> (Child, NativeServer) {
        let spec = Arc::clone(&self.specs.lock().unwrap()[version]);
        let native = spec.native.as_ref().unwrap();
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap().to_string();
        drop(probe);
        let (program, arguments) = native.command.split_first().unwrap();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(fixtures())
            .envs(&native.env)
            .env("ROADSTEAD_LISTEN", &address)
            .env("ROADSTEAD_TLS_CERT", self.file("server.crt"))
            .env("ROADSTEAD_TLS_KEY", self.file("server.key"))
            .env("ROADSTEAD_TLS_CA", self.file("hosts.crt"))
            .env("ROADSTEAD_CALL_KEY", self.file("call.key"))
            .env("ROADSTEAD_EPOCH", "0")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let id = child.id().to_string();
        (child, NativeServer { version: version.to_string(), address, id })
    }

    /// As the controller does.
    fn tell(&self, reason: &str) {
        let servers = self.servers.lock().unwrap();
        let standing = |version: &Version| ServersStanding {
            version: version.to_string(),
            reason: reason.to_owned(),
            message: "in words".to_owned(),
        };
        self.pods.told(vec![NativeServers {
            namespace: "default".to_owned(),
            module: "probe".to_owned(),
            servers: servers.values().map(|(_, server)| server.clone()).collect(),
            server_name: NAME.to_owned(),
            authority: self.authority.pem(),
            call_key: KEY.into(),
            standings: servers.keys().map(standing).collect(),
        }]);
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        for (child, _) in self.servers.lock().unwrap().values_mut() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Natives for FakeCluster {
    fn remote(
        &self,
        id: &ModuleId,
        spec: &Arc<ModuleSpec>,
        contract: &Arc<Contract>,
    ) -> Result<Arc<dyn Remote>, LoadError> {
        self.specs.lock().unwrap().insert(id.version.clone(), Arc::clone(spec));
        self.pods.remote(id, spec, contract)
    }

    fn accepts(&self, id: &ModuleId, spec: &ModuleSpec) -> Result<(), LoadError> {
        self.pods.accepts(id, spec)
    }

    fn again(&self, id: &ModuleId) {
        self.pods.again(id);
    }

    fn run(&self, namespace: &Namespace, name: &ModuleName, versions: &[Version]) {
        self.pods.run(namespace, name, versions);
        let mut servers = self.servers.lock().unwrap();
        servers.retain(|version, (child, _)| {
            let stays = versions.contains(version);
            if !stays {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            stays
        });
        for version in versions {
            if !servers.contains_key(version) {
                servers.insert(version.clone(), self.start(version));
            }
        }
        drop(servers);
        self.tell("Ready");
    }

    fn begin(&self, modules: &[(Namespace, ModuleName)]) {
        self.pods.begin(modules);
    }

    fn delete(&self, namespace: &Namespace, name: &ModuleName) {
        self.run(namespace, name, &[]);
        self.pods.delete(namespace, name);
    }

    fn standing(&self, id: &ModuleId) -> NativeStanding {
        self.pods.standing(id)
    }
}

impl Backend for LocalPods {
    fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    fn natives(&self) -> Arc<dyn Natives> {
        Arc::clone(&self.cluster) as _
    }

    fn program(&self, program: Program) -> String {
        format!("image: registry.example.com/probe:1, {}", program_yaml(program))
    }

    async fn signal(&self, _: u64, signal: &'static str) {
        let servers = self.cluster.servers.lock().unwrap();
        for (child, _) in servers.values() {
            let pid = child.id().to_string();
            assert!(
                Command::new("kill")
                    .args([&format!("-{signal}"), &pid])
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }

    async fn state(&self, _: &ModuleId, _: &str) -> Option<String> {
        None
    }
}

macro_rules! with_pods {
    ($($module:ident :: $name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                suite::$module::$name(&LocalPods::new()).await;
            }
        )*
    };
}

with_pods! {
    life::a_server_starts_answers_and_streams,
    calls::calls_run_one_at_a_time_unless_they_may_not,
    calls::a_deadline_ends_a_call,
    calls::messages_have_bounds_both_ways,
    calls::streams_hold_back_who_is_faster,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_told_who_calls_by_the_module_s_key() {
    let backend = LocalPods::new();
    let stage = Stage::run(&backend, Program::Probe, "concurrent: ['*']", "");
    let who = stage.who().await;
    assert_eq!((who.caller.as_str(), who.module.as_str()), ("alice", "probe@1.0.0"));
    let NativeStanding { isolation, .. } = backend.natives().standing(&stage.id);
    assert_eq!(isolation, roadstead_engine::Isolation::Container);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_hears_of_calls_and_its_word_reaches_callers() {
    let backend = LocalPods::new();
    let waits = "concurrent: ['*'], activation_timeout: 60s";
    let stage = Stage::version(&backend, "1.0.0", Program::Probe, waits, "");
    let pods = &backend.cluster.pods;
    let command =
        ModuleSpec::parse("native: {command: [serve]}", roadstead_domain::SpecFormat::Yaml);
    let refused = pods.accepts(&stage.id, &command.unwrap()).unwrap_err();
    assert!(refused.to_string().contains("native.image"), "{refused}");
    assert_eq!(pods.used(), [], "nobody called");
    let mut news = pods.news();
    news.mark_unchanged();
    // A call waits, the controller hears of it at once, and servers begin for it.
    let call = stage.call("echo", data("x"));
    let cluster = async {
        news.changed().await.unwrap();
        let used = pods.used();
        assert_eq!((used.len(), used[0].calls), (1, 1));
        stage.wanted(std::slice::from_ref(&stage.id.version));
    };
    let (answer, ()) = futures::future::join(call, cluster).await;
    assert_eq!(crate::wire::read::<Data>(&answer.unwrap()).value, "x");
    let used = pods.used();
    assert!(used[0].calls == 0 && used[0].last_unix_ms > 1_600_000_000_000, "{used:?}");

    // What keeps servers from running is told to who calls.
    backend.cluster.servers.lock().unwrap().values_mut().for_each(|(child, server)| {
        child.kill().unwrap();
        server.address = "127.0.0.1:1".to_owned();
        server.id = "another".to_owned();
    });
    backend.cluster.tell("ImageNotAllowed");
    until("it is told", || matches!(stage.state(), NativeState::Failed(_))).await;
    let refused = stage.call("echo", data("x")).await.unwrap_err();
    let Fault::NotReady(why) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("ImageNotAllowed") && !why.contains("in words"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_another_authority_signed_is_never_called() {
    let backend = LocalPods::new();
    let other = LocalPods::new();
    for file in ["server.crt", "server.key"] {
        fs::copy(other.cluster.file(file), backend.cluster.file(file)).unwrap();
    }
    let hasty = "concurrent: ['*'], activation_timeout: 5s";
    let stage = Stage::run(&backend, Program::Probe, hasty, "");
    let refused = stage.call("echo", data("x")).await.unwrap_err();
    assert!(matches!(refused, Fault::NotReady(_)), "{refused:?}");
    assert_eq!(stage.state(), NativeState::Starting);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_hears_of_servers_that_do_not_get_on() {
    let backend = LocalPods::new();
    let probes = "concurrent: ['*'], probes: {period: 100ms, failures: 2, progress: 1s}";
    let stage = Stage::run(&backend, Program::Probe, probes, "limits: {deadline: 60s}");
    stage.ready(1).await;
    let pods = &backend.cluster.pods;
    let stuck = || -> Vec<String> {
        let all = pods.used().into_iter().flat_map(|one| one.stuck);
        all.map(|one| one.reason).collect()
    };
    assert_eq!(stuck(), Vec::<String>::new());
    backend.signal(0, "STOP").await;
    until("its silence is told", || stuck().iter().any(|why| why.contains("unanswered"))).await;
    backend.signal(0, "CONT").await;
    until("it is well again", || stuck().is_empty()).await;
    // One that answers questions, and has a call that gets nowhere.
    let call = Box::pin(stage.call("fail", text("hang")));
    let told = Box::pin(until("it is told", || {
        stuck().iter().any(|why| why.contains("1 calls and no progress"))
    }));
    let either = futures::future::select(call, told).await;
    assert!(matches!(either, futures::future::Either::Right(_)), "the call ended first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_hears_of_servers_that_flood() {
    let backend = LocalPods::new();
    let _stage = Stage::run(&backend, Program::Liar("flood-at-once"), "concurrent: ['*']", "");
    let pods = &backend.cluster.pods;
    until("it is told", || {
        let mut stuck = pods.used().into_iter().flat_map(|one| one.stuck);
        stuck.any(|one| one.reason == "it sent more control frames than its calls explain")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_contract_is_not_that_of_the_next_module_of_its_name() {
    let backend = LocalPods::new();
    let broken = Stage::run(&backend, Program::Liar("field-type"), "", "");
    let pods = &backend.cluster.pods;
    let is_told = || pods.used().iter().any(|one| one.mismatch.contains("EchoRequest field 1"));
    until("it is told", is_told).await;
    broken.deleted();
    let next = Stage::run(&backend, Program::Probe, "", "");
    assert!(!is_told());
    assert_eq!(next.who().await.module, "probe@1.0.0");
}
