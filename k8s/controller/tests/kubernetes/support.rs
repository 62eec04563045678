//! Controllers and hosts for tests.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{ApiResource, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use roadstead_controller::{
    Controller, Leadership, Metrics, Namespaces, Role, Settings, Times, TlsFiles,
    objects::{self, Kind, ModuleObject, Object},
};
use roadstead_domain::Digest;
use roadstead_k8s_api::{Condition, Module, ModuleVersion, WireLocks};
use roadstead_proto::v1::{
    HostHello, HostReport, Judgement, NativeServers, NativeUse, SyncRequest, SyncResponse,
    TrafficSplit, VersionKey, VersionReport, VersionState,
    fleet_service_client::FleetServiceClient, sync_request::Kind as Said,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

pub(crate) use crate::authority::{Authority, authority};
use crate::control_plane::{Cluster, until};

pub(crate) const NAMESPACE: &str = "default";

/// Times that tests can wait for.
pub(crate) const TIMES: Times = Times {
    lease: Duration::from_secs(6),
    renew: Duration::from_secs(5),
    retry: Duration::from_millis(200),
    report: Duration::from_secs(1),
};

/// A running controller. Dropped, it is killed: nothing is given back.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) monitor: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) leadership: Leadership,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _files: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    pub(crate) async fn start(cluster: &Cluster, identity: &str) -> Self {
        let names = ["default", "other"].map(|name| name.parse().unwrap());
        Self::with(cluster, identity, Namespaces::Named(names.into())).await
    }

    pub(crate) async fn with(cluster: &Cluster, identity: &str, namespaces: Namespaces) -> Self {
        Self::native(cluster, identity, namespaces, None).await
    }

    /// With what operators allow native modules.
    pub(crate) async fn native(
        cluster: &Cluster,
        identity: &str,
        namespaces: Namespaces,
        rules: Option<Value>,
    ) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (certificate, key) = authority().sign();
        let path = |name: &str, text: &str| {
            fs::write(files.path().join(name), text).unwrap();
            files.path().join(name)
        };
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            metrics: "127.0.0.1:0".parse().unwrap(),
            tls: TlsFiles {
                certificate: path("tls.crt", &certificate),
                key: path("tls.key", &key),
                client_ca: path("ca.crt", &authority().pem()),
            },
            namespaces,
            native: rules.map(|rules| path("native.json", &rules.to_string())),
            lease: "default/controller".parse().unwrap(),
            identity: identity.to_owned(),
            kubeconfig: Some(cluster.kubeconfig()),
            times: TIMES,
        };
        let controller = Controller::bind(settings).await.unwrap();
        let (address, monitor) = (controller.address().unwrap(), controller.metrics_address());
        let (metrics, leadership) = (controller.metrics(), controller.leadership());
        let stop = CancellationToken::new();
        let task = tokio::spawn(controller.run(stop.clone()));
        Self { address, monitor, metrics, leadership, stop, task, _files: files }
    }

    pub(crate) fn leads(&self) -> bool {
        matches!(self.leadership.role(), Role::Leads(_))
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut tcp = tokio::net::TcpStream::connect(self.monitor).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Statuses and owners that were written.
    pub(crate) fn writes(&self) -> u64 {
        ["module_status", "version_status", "owner"]
            .map(|kind| self.metrics.writes(kind))
            .iter()
            .sum()
    }
}

/// A stream of a host, as a host opens it.
pub(crate) async fn channel(address: SocketAddr, shown: Option<(String, String)>) -> Channel {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority().pem()))
        .domain_name("localhost");
    if let Some((certificate, key)) = shown {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let uri = format!("https://{address}");
    Channel::from_shared(uri).unwrap().tls_config(tls).unwrap().connect_lazy()
}

pub(crate) type Stream = (mpsc::Sender<SyncRequest>, Streaming<SyncResponse>);

/// Opens a stream and says nothing yet.
pub(crate) async fn open(address: SocketAddr) -> Result<Stream, Status> {
    let channel = channel(address, Some(authority().sign())).await;
    let (to, from) = mpsc::channel(8);
    let answer = FleetServiceClient::new(channel).sync(ReceiverStream::new(from)).await?;
    Ok((to, answer.into_inner()))
}

pub(crate) fn hello(host: &str) -> SyncRequest {
    let hello = HostHello {
        host: host.to_owned(),
        pool: "pool".to_owned(),
        release: "0.1.0".to_owned(),
        started_unix_ms: 1,
        fingerprint: "x".to_owned(),
    };
    SyncRequest { kind: Some(Said::Hello(hello)) }
}

pub(crate) fn report(report: HostReport) -> SyncRequest {
    SyncRequest { kind: Some(Said::Report(report)) }
}

/// What a host would say.
#[derive(Default)]
pub(crate) struct Says {
    /// State, calls and failures of versions of module `m`.
    pub(crate) versions: BTreeMap<String, (VersionState, u64, u64)>,
    pub(crate) judgements: Vec<Judgement>,
    /// Calls that each report adds, by version, with those that fail.
    pub(crate) busy: BTreeMap<String, (u64, u64)>,
    /// How native modules are called.
    pub(crate) natives: Vec<NativeUse>,
}

/// A host that finds whichever of the controllers leads, and reports what it is told to.
pub(crate) struct Host {
    pub(crate) says: Arc<Mutex<Says>>,
    /// By module, the split that it was told last.
    pub(crate) splits: Arc<Mutex<BTreeMap<String, TrafficSplit>>>,
    /// By module, the servers that it was told last.
    pub(crate) natives: Arc<Mutex<BTreeMap<String, NativeServers>>>,
    task: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Host {
    pub(crate) fn start(name: &str, controllers: Arc<Mutex<Vec<SocketAddr>>>) -> Self {
        let (says, splits, natives) = (Arc::default(), Arc::default(), Arc::default());
        let host = Talk {
            name: name.to_owned(),
            says: Arc::clone(&says),
            splits: Arc::clone(&splits),
            natives: Arc::clone(&natives),
        };
        let task = tokio::spawn(async move {
            for turn in 0.. {
                let address = {
                    let all = controllers.lock().unwrap();
                    all[turn % all.len()]
                };
                drop(host.once(address).await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { says, splits, natives, task }
    }

    pub(crate) fn is(&self, version: &str, state: VersionState) {
        let mut says = self.says.lock().unwrap();
        says.versions.entry(version.to_owned()).or_insert((state, 0, 0)).0 = state;
    }

    /// Each report adds calls, and of those the ones that fail.
    pub(crate) fn busy(&self, version: &str, calls: u64, failures: u64) {
        let mut says = self.says.lock().unwrap();
        says.busy.insert(version.to_owned(), (calls, failures));
    }

    /// What it was told of module `m`.
    pub(crate) fn shares(&self) -> Vec<(String, u32)> {
        let splits = self.splits.lock().unwrap();
        let shares = splits.get("m").map(|split| split.shares.clone()).unwrap_or_default();
        shares.into_iter().map(|share| (share.version, share.percent)).collect()
    }
}

struct Talk {
    name: String,
    says: Arc<Mutex<Says>>,
    splits: Arc<Mutex<BTreeMap<String, TrafficSplit>>>,
    natives: Arc<Mutex<BTreeMap<String, NativeServers>>>,
}

impl Talk {
    async fn once(&self, address: SocketAddr) -> Result<(), Status> {
        let (to, mut from) = open(address).await?;
        to.send(hello(&self.name)).await.unwrap();
        let mut pace = Duration::ZERO;
        loop {
            tokio::select! {
                told = from.message() => match told? {
                    Some(told) => {
                        pace = Duration::from_millis(told.report_interval_ms.into());
                        let mut splits = self.splits.lock().unwrap();
                        for split in told.splits {
                            splits.insert(split.module.clone(), split);
                        }
                        drop(splits);
                        let mut natives = self.natives.lock().unwrap();
                        for servers in told.natives {
                            natives.insert(servers.module.clone(), servers);
                        }
                    }
                    None => return Ok(()),
                },
                () = tokio::time::sleep(pace.max(Duration::from_millis(20)) / 5) => {
                    if to.send(report(self.report())).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn report(&self) -> HostReport {
        let mut says = self.says.lock().unwrap();
        let busy = says.busy.clone();
        for (version, (calls, failures)) in busy {
            if let Some(seen) = says.versions.get_mut(&version) {
                seen.1 += calls;
                seen.2 += failures;
            }
        }
        let versions = says.versions.iter().map(|(version, (state, calls, failures))| {
            let key = VersionKey {
                namespace: NAMESPACE.to_owned(),
                module: "m".to_owned(),
                version: version.clone(),
            };
            VersionReport {
                key: Some(key),
                state: (*state).into(),
                calls: *calls,
                failures: *failures,
                ..VersionReport::default()
            }
        });
        HostReport {
            current: true,
            versions: versions.collect(),
            judgements: says.judgements.clone(),
            natives: says.natives.clone(),
            namespaces: vec![NAMESPACE.to_owned()],
            ..HostReport::default()
        }
    }
}

/// Writes objects, and reads what became of them.
pub(crate) struct Objects {
    modules: Api<DynamicObject>,
    pub(crate) versions: Api<ModuleVersion>,
    locks: Api<WireLocks>,
    client: Client,
}

pub(crate) fn digest(word: &str) -> Digest {
    Digest::of(word.as_bytes())
}

impl Objects {
    pub(crate) async fn new(cluster: &Cluster) -> Self {
        let client = cluster.client().await;
        Self {
            // Newer definitions may have more in them than the types do.
            modules: Api::namespaced_with(
                client.clone(),
                NAMESPACE,
                &ApiResource::erase::<Module>(&()),
            ),
            versions: Api::namespaced(client.clone(), NAMESPACE),
            locks: Api::namespaced(client.clone(), NAMESPACE),
            client,
        }
    }

    pub(crate) async fn module(&self, name: &str, spec: Value) {
        let fields = json!({
            "apiVersion": "roadstead.dev/v1alpha1", "kind": "Module",
            "metadata": {"name": name}, "spec": spec,
        });
        let params = PatchParams::apply("tests").force();
        self.modules.patch(name, &params, &Patch::Apply(&fields)).await.unwrap();
    }

    pub(crate) async fn version(&self, module: &str, version: &str, locks: Value) {
        let spec = json!({
            "module": module, "version": version, "size": 7, "locks": locks,
            "digest": digest("a"), "component": digest("a"), "interface": digest("a"),
        });
        let object: ModuleVersion = serde_json::from_value(json!({
            "apiVersion": "roadstead.dev/v1alpha1", "kind": "ModuleVersion",
            "metadata": {"name": format!("{module}-{version}")}, "spec": spec,
        }))
        .unwrap();
        self.versions.create(&PostParams::default(), &object).await.unwrap();
    }

    pub(crate) async fn chain(&self, package: &str, words: &[&str]) {
        let chain: Vec<Digest> = words.iter().map(|word| digest(word)).collect();
        let fields = json!({
            "apiVersion": "roadstead.dev/v1alpha1", "kind": "WireLocks",
            "metadata": {"name": "locks"}, "spec": {"packages": {package: chain}},
        });
        let params = PatchParams::apply("tests").force();
        self.locks.patch("locks", &params, &Patch::Apply(&fields)).await.unwrap();
    }

    /// Merges into a module's spec.
    pub(crate) async fn change(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.modules.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// A module's object, as far as it is known.
    pub(crate) async fn read(&self, name: &str) -> Option<ModuleObject> {
        match objects::read(Kind::Module, &self.modules.get(name).await.ok()?)? {
            Object::Module(module) => Some(module),
            other => panic!("{other:?}"),
        }
    }

    /// Merges into a module's status, as nobody should.
    pub(crate) async fn overwrite(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.modules.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// `Reason` of a version's condition; empty without one.
    pub(crate) async fn version_says(&self, object: &str, kind: &str) -> String {
        let Ok(object) = self.versions.get(object).await else { return String::new() };
        let status = object.status.unwrap_or_default();
        says(&status.conditions, kind)
    }

    pub(crate) async fn module_says(&self, name: &str, kind: &str) -> String {
        let Some(module) = self.read(name).await else { return String::new() };
        says(&module.status.conditions, kind)
    }

    /// The versions that answer for module `m`, with their percent.
    pub(crate) async fn serving(&self) -> Vec<(String, u8)> {
        let Some(module) = self.read("m").await else { return Vec::new() };
        module
            .status
            .serving
            .into_iter()
            .map(|share| (share.version.to_string(), share.percent))
            .collect()
    }

    /// The phase of module `m`'s rollout; empty without one.
    pub(crate) async fn phase(&self) -> String {
        let Some(module) = self.read("m").await else { return String::new() };
        module
            .status
            .rollout
            .map(|rollout| format!("{:?} {}", rollout.phase, rollout.step))
            .unwrap_or_default()
    }

    /// Reasons of all events, with how often they were told.
    pub(crate) async fn events(&self) -> Vec<String> {
        let api: Api<k8s_openapi::api::events::v1::Event> =
            Api::namespaced(self.client.clone(), NAMESPACE);
        let all = api.list(&kube::api::ListParams::default()).await.unwrap();
        all.into_iter().filter_map(|event| event.reason).collect()
    }
}

fn says(conditions: &[Condition], kind: &str) -> String {
    let found = conditions.iter().find(|one| format!("{:?}", one.kind) == kind);
    found.map(|one| one.reason.as_str().to_owned()).unwrap_or_default()
}

/// Waits until a condition of an object has a reason.
pub(crate) async fn version_comes(objects: &Objects, object: &str, kind: &str, reason: &str) {
    until(&format!("{object} is {kind} {reason}"), || async {
        objects.version_says(object, kind).await == reason
    })
    .await;
}

pub(crate) async fn module_comes(objects: &Objects, name: &str, kind: &str, reason: &str) {
    until(&format!("{name} is {kind} {reason}"), || async {
        objects.module_says(name, kind).await == reason
    })
    .await;
}

pub(crate) fn shares(of: &[(&str, u8)]) -> Vec<(String, u8)> {
    of.iter().map(|(version, percent)| ((*version).to_owned(), *percent)).collect()
}

pub(crate) fn addresses(of: &[&Running]) -> Arc<Mutex<Vec<SocketAddr>>> {
    Arc::new(Mutex::new(of.iter().map(|running| running.address).collect()))
}

/// Waits until writes stop: as many as there were some reports ago.
pub(crate) async fn quiet(running: &Running) {
    let mut last = (running.writes(), 0);
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = running.writes();
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        if last.1 >= 30 {
            return;
        }
    }
    panic!("writes never stop");
}
