//! etcd and kube-apiserver on loopback, started once for all tests and ended with them.
//!
//! Tests take the control plane one after the other, and each finds it without objects.

use std::{
    fs::{self, File},
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Namespace as NamespaceObject, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use roadstead_k8s_api::{Module, ModuleVersion, NativeModule, NativeModuleVersion, WireLocks};
use tokio::sync::{Mutex, MutexGuard};

/// Who may do everything there.
const TOKEN: &str = "tests-of-the-controller";

static CONTROL_PLANE: Mutex<Option<ControlPlane>> = Mutex::const_new(None);

/// The running control plane, for one test at a time.
pub(crate) struct Cluster(MutexGuard<'static, Option<ControlPlane>>);

pub(crate) struct ControlPlane {
    directory: PathBuf,
    etcd: Server,
    /// None while it is stopped.
    api: Option<Server>,
    ports: [u16; 3],
}

/// A process that ends with this one, however it ends: a shell waits for its input to close.
struct Server {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Server {
    fn start(name: &str, directory: &Path, arguments: &[String]) -> Self {
        let mut script = "\"$@\" & pid=$!; read -r _; kill -9 $pid; wait $pid".to_owned();
        if name == "etcd" {
            script.push_str(&format!("; rm -rf '{}'", directory.display()));
        }
        let log = File::create(directory.join(format!("{name}.log"))).unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", &script, "sh"])
            .arg(program(name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let input = shell.stdin.take();
        Self { shell, input }
    }

    fn stop(&mut self) {
        drop(self.input.take());
        self.shell.wait().unwrap();
    }
}

/// A program that `tests/cluster/tools.sh` installs.
fn program(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(".tools/cluster/bin").join(name);
    assert!(
        path.exists(),
        "{} is missing: run tests/cluster/tools.sh control-plane",
        path.display()
    );
    path
}

impl ControlPlane {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("roadstead-kubernetes-").tempdir().unwrap();
        let directory = directory.keep();
        let ports = free_ports();
        let [client, peer, _] = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let accounts = rcgen::KeyPair::generate().unwrap();
        for (file, text) in [
            ("api.crt", made.cert.pem()),
            ("api.key", made.signing_key.serialize_pem()),
            ("accounts.key", accounts.serialize_pem()),
            ("accounts.pub", accounts.public_key_pem()),
            ("tokens.csv", format!("{TOKEN},admin,admin,system:masters\n")),
        ] {
            fs::write(directory.join(file), text).unwrap();
        }
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let data = directory.join("etcd");
        let etcd = Server::start(
            "etcd",
            &directory,
            &text(&[
                "--data-dir",
                data.to_str().unwrap(),
                "--unsafe-no-fsync",
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
                "--initial-cluster",
                &format!("default={peer}"),
            ]),
        );
        let mut plane = Self { directory, etcd, api: None, ports };
        plane.write_kubeconfig("kubeconfig", TOKEN);
        plane.start_api();
        plane
    }

    fn start_api(&mut self) {
        let [etcd, _, port] = self.ports;
        let file = |name: &str| self.directory.join(name).display().to_string();
        let arguments = [
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", file("api.crt")),
            format!("--tls-private-key-file={}", file("api.key")),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--cert-dir={}", file("certificates")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--etcd-compaction-interval=0".to_owned(),
        ];
        self.api = Some(Server::start("kube-apiserver", &self.directory, &arguments));
    }

    fn write_kubeconfig(&self, file: &str, token: &str) {
        let [_, _, port] = self.ports;
        let authority = self.directory.join("api.crt");
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "certificate-authority": authority,
            }}],
            "users": [{"name": "tests", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "current-context": "tests",
        });
        fs::write(self.directory.join(file), config.to_string()).unwrap();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some(api) = &mut self.api {
            api.stop();
        }
        self.etcd.stop();
    }
}

fn free_ports() -> [u16; 3] {
    let probes = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    probes.map(|probe| probe.local_addr().unwrap().port())
}

/// Waits until something holds, for as long as a busy machine may need.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    for _ in 0..1200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: it did not come to that");
}

impl Cluster {
    /// The control plane without objects; `default` and `other` are enabled.
    pub(crate) async fn take() -> Self {
        let mut guard = CONTROL_PLANE.lock().await;
        if guard.is_none() {
            *guard = Some(ControlPlane::start());
        }
        let mut cluster = Self(guard);
        if cluster.plane().api.is_none() {
            cluster.start_api().await;
        }
        cluster.ready().await;
        cluster.define().await;
        cluster.wipe().await;
        cluster
    }

    fn plane(&self) -> &ControlPlane {
        self.0.as_ref().unwrap()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.plane().directory.join("kubeconfig")
    }

    pub(crate) async fn client(&self) -> Client {
        let file = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        Client::try_from(Config::from_custom_kubeconfig(file, &options).await.unwrap()).unwrap()
    }

    async fn ready(&self) {
        let client = self.client().await;
        let log = self.plane().directory.join("kube-apiserver.log");
        until(&format!("the API server is ready (see {})", log.display()), || async {
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            let ready = client.request_text(request).await.is_ok();
            ready && Api::<NamespaceObject>::all(client.clone()).get("default").await.is_ok()
        })
        .await;
    }

    /// The committed definitions and the namespaces.
    async fn define(&self) {
        let client = self.client().await;
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
        let force = PatchParams::apply("tests").force();
        for file in [
            "modules.yaml",
            "moduleversions.yaml",
            "nativemodules.yaml",
            "nativemoduleversions.yaml",
            "wirelocks.yaml",
        ] {
            let text = fs::read_to_string(crds.join(file)).unwrap();
            let crd: CustomResourceDefinition = serde_norway::from_str(&text).unwrap();
            let name = crd.metadata.name.clone().unwrap();
            api.patch(&name, &force, &Patch::Apply(&crd)).await.unwrap();
        }
        let namespaces: Api<NamespaceObject> = Api::all(client.clone());
        let mut other = NamespaceObject::default();
        other.metadata.name = Some("other".to_owned());
        drop(namespaces.create(&PostParams::default(), &other).await);
        let served = |client: Client| async move {
            let all = ListParams::default();
            Api::<Module>::all(client.clone()).list(&all).await.is_ok()
                && Api::<ModuleVersion>::all(client.clone()).list(&all).await.is_ok()
                && Api::<NativeModule>::all(client.clone()).list(&all).await.is_ok()
                && Api::<NativeModuleVersion>::all(client.clone()).list(&all).await.is_ok()
                && Api::<WireLocks>::all(client).list(&all).await.is_ok()
        };
        until("the definitions are served", || served(client.clone())).await;
    }

    async fn wipe(&self) {
        let client = self.client().await;
        let (delete, all) = (DeleteParams::default(), ListParams::default());
        for namespace in ["default", "other"] {
            let versions: Api<ModuleVersion> = Api::namespaced(client.clone(), namespace);
            versions.delete_collection(&delete, &all).await.unwrap();
            let modules: Api<Module> = Api::namespaced(client.clone(), namespace);
            modules.delete_collection(&delete, &all).await.unwrap();
            self.wipe_servers(namespace);
            let locks: Api<WireLocks> = Api::namespaced(client.clone(), namespace);
            locks.delete_collection(&delete, &all).await.unwrap();
            let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
            leases.delete_collection(&delete, &all).await.unwrap();
            let events: Api<Event> = Api::namespaced(client.clone(), namespace);
            events.delete_collection(&delete, &all).await.unwrap();
        }
    }

    /// Nobody collects here what belonged to native modules.
    fn wipe_servers(&self, namespace: &str) {
        let kinds = "nativemodules,nativemoduleversions,deployments,statefulsets,services,\
                     networkpolicies,persistentvolumeclaims,pods,secrets";
        let own = "component!=apiserver";
        let delete = [
            "delete",
            kinds,
            "-n",
            namespace,
            "-l",
            own,
            "--wait=false",
            "--grace-period=0",
            "--force",
        ];
        self.kubectl(&delete, "").unwrap();
        let claims = ["get", "persistentvolumeclaims", "-n", namespace, "-o", "name"];
        for claim in self.kubectl(&claims, "").unwrap().lines() {
            let free = r#"{"metadata": {"finalizers": null}}"#;
            drop(self.kubectl(&["patch", claim, "-n", namespace, "--type=merge", "-p", free], ""));
        }
    }

    pub(crate) fn stop_api(&mut self) {
        let plane = self.0.as_mut().unwrap();
        plane.api.take().unwrap().stop();
    }

    pub(crate) async fn start_api(&mut self) {
        self.0.as_mut().unwrap().start_api();
        self.ready().await;
    }

    /// Runs kubectl, and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(program("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            .env("HOME", &self.plane().directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}
