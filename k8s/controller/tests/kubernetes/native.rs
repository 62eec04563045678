//! Native modules: the objects of their servers, and what hosts are told, against a real API server.
//! Nothing runs pods here; the test says how they stand.

use roadstead_controller::Namespaces;
use roadstead_proto::v1::{NativeUse, VersionKey};
use serde_json::{Value, json};

use crate::{
    control_plane::{Cluster, until},
    support::{Host, Running, addresses, digest, quiet},
};

fn rules() -> Value {
    json!({
        "allow": {"images": ["registry.example.com/*"]},
        "hosts": {"namespace": "default", "labels": {"app": "host"}},
        "authority": "default/native-authority",
    })
}

async fn controller(cluster: &Cluster, rules: Option<Value>) -> Running {
    let names = ["default", "other"].map(|name| name.parse().unwrap());
    Running::native(cluster, "a", Namespaces::Named(names.into()), rules).await
}

/// Objects, as people see them.
struct Seen<'a>(&'a Cluster);

impl Seen<'_> {
    fn native(&self, version: &str, native: &Value) {
        let object = |kind: &str, name: &str, spec: Value| {
            json!({"apiVersion": "roadstead.dev/v1alpha1", "kind": kind,
                "metadata": {"name": name, "namespace": "default"}, "spec": spec})
        };
        let spec = json!({
            "module": "m", "version": version, "size": 7, "spec": {"native": native},
            "digest": digest("a"), "component": digest("a"), "interface": digest("a"),
        });
        for object in [
            object("NativeModule", "m", json!({})),
            object("NativeModuleVersion", &format!("m-{version}"), spec),
        ] {
            self.0.kubectl(&["apply", "-f", "-"], &object.to_string()).unwrap();
        }
    }

    fn get(&self, what: &str, name: &str) -> Option<Value> {
        let found = self.0.kubectl(&["get", what, name, "-o", "json"], "").ok()?;
        serde_json::from_str(&found).ok()
    }

    fn names(&self, what: &str) -> Vec<String> {
        let found =
            self.0.kubectl(&["get", what, "-l", "roadstead.dev/native-module=m", "-o", "name"], "");
        found.unwrap().lines().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect()
    }

    fn deployment(&self) -> Option<Value> {
        self.get("deployment", self.names("deployments").first()?)
    }

    fn replicas(&self) -> Option<i64> {
        self.deployment()?["spec"]["replicas"].as_i64()
    }

    /// The reason of a condition of the module.
    fn says(&self, kind: &str) -> String {
        let Some(object) = self.get("nativemodule", "m") else { return String::new() };
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|one| one["type"] == kind);
        found.and_then(|one| one["reason"].as_str()).unwrap_or_default().to_owned()
    }

    /// Makes a pod of the deployment's template, as Kubernetes would.
    fn pod(&self) {
        let template = self.deployment().unwrap()["spec"]["template"].clone();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]});
        pod["metadata"] = json!({"name": "p", "labels": template["metadata"]["labels"]});
        self.0.kubectl(&["apply", "-f", "-"], &pod.to_string()).unwrap();
    }

    fn pod_is(&self, ready: bool) {
        let status = json!({"status": {"phase": "Running", "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}],
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}});
        let text = status.to_string();
        let patch = ["patch", "pod", "p", "--subresource=status", "--type=merge", "-p", &text];
        self.0.kubectl(&patch, "").unwrap();
    }
}

fn used(calls: u64, last_unix_ms: i64) -> Vec<NativeUse> {
    let key = VersionKey {
        namespace: "default".to_owned(),
        module: "m".to_owned(),
        version: "0.1.0".to_owned(),
    };
    vec![NativeUse { key: Some(key), calls, last_unix_ms, ..NativeUse::default() }]
}

async fn comes(seen: &Seen<'_>, kind: &str, reason: &str) {
    until(&format!("the module is {kind} {reason}"), || async { seen.says(kind) == reason }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_made_told_and_repaired() {
    let cluster = Cluster::take().await;
    let seen = Seen(&cluster);
    // What a pod may not be under the `restricted` profile, the API server refuses itself.
    let label = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "--overwrite", "namespace", "default", label], "").unwrap();
    drop(cluster.kubectl(&["create", "serviceaccount", "default"], ""));
    let controller = controller(&cluster, Some(rules())).await;
    let host = Host::start("one", addresses(&[&controller]));
    let image = "registry.example.com/linalg:1";
    seen.native("0.1.0", &json!({"image": image, "resources": {"memory": "64Mi"}}));
    comes(&seen, "Ready", "Starting").await;
    until("there is a deployment", || async { seen.replicas() == Some(1) }).await;
    seen.pod();
    seen.pod_is(false);
    comes(&seen, "Ready", "Starting").await;
    assert_eq!(host.natives.lock().unwrap()["m"].servers, []);
    seen.pod_is(true);
    comes(&seen, "Ready", "Answering").await;
    let pod = seen.get("pod", "p").unwrap();
    until("the host is told", || async {
        let told = host.natives.lock().unwrap();
        let servers = told.get("m").map(|told| told.servers.clone()).unwrap_or_default();
        servers.iter().any(|one| {
            (one.address.as_str(), one.version.as_str()) == ("10.0.0.7:7421", "0.1.0")
                && pod["metadata"]["uid"] == one.id
        })
    })
    .await;
    let told = host.natives.lock().unwrap()["m"].clone();
    assert_eq!(told.server_name, "native-m.default.native.roadstead.internal");
    assert!(told.authority.contains("BEGIN CERTIFICATE") && told.call_key.len() == 32);
    assert_eq!(told.standings[0].reason, "Ready");
    let secret = seen.get("secret", "native-m-tls").unwrap();
    for file in ["tls.crt", "tls.key", "hosts.crt", "call.key"] {
        assert!(secret["data"][file].is_string(), "{file}");
    }
    let module = seen.get("nativemodule", "m").unwrap();
    assert_eq!(module["status"]["servers"], "1/1");
    for (what, name) in
        [("secret", "native-m-tls"), ("service", "native-m"), ("networkpolicy", "native-m")]
    {
        let owner = seen.get(what, name).unwrap()["metadata"]["ownerReferences"][0].clone();
        assert_eq!(
            (&owner["kind"], &owner["uid"]),
            (&json!("NativeModule"), &module["metadata"]["uid"])
        );
    }

    // What others do to it does not stay, and nothing is written that stands.
    quiet(&controller).await;
    let deployment = seen.names("deployments").remove(0);
    cluster.kubectl(&["scale", "deployment", &deployment, "--replicas=5"], "").unwrap();
    until("the replicas are repaired", || async { seen.replicas() == Some(1) }).await;
    cluster.kubectl(&["delete", "service", "native-m"], "").unwrap();
    until("the service is back", || async { seen.get("service", "native-m").is_some() }).await;
    quiet(&controller).await;
    let before = controller.metrics.writes("workload");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(controller.metrics.writes("workload"), before);

    // Another controller goes on with the same authority, so nothing begins anew.
    controller.stop().await;
    let next = self::controller(&cluster, Some(rules())).await;
    let host = Host::start("one", addresses(&[&next]));
    until("it tells the same", || async {
        host.natives.lock().unwrap().get("m").is_some_and(|again| *again == told)
    })
    .await;
    assert_eq!(seen.get("secret", "native-m-tls").unwrap()["data"], secret["data"]);

    // Who is to answer next has no server yet, and hosts still know those of who does.
    seen.native("0.2.0", &json!({"image": image, "resources": {"memory": "65Mi"}}));
    is_told(&host, "Starting").await;
    let next = host.natives.lock().unwrap()["m"].clone();
    assert_eq!((next.standings[0].version.as_str(), next.servers), ("0.2.0", told.servers));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_end_when_nobody_calls_and_calls_begin_them() {
    let cluster = Cluster::take().await;
    let seen = Seen(&cluster);
    let controller = controller(&cluster, Some(rules())).await;
    let host = Host::start("one", addresses(&[&controller]));
    host.says.lock().unwrap().natives = used(1, 0);
    seen.native("0.1.0", &json!({"image": "registry.example.com/linalg:1", "idle": "1s"}));
    until("there is a deployment", || async { seen.replicas() == Some(1) }).await;
    host.says.lock().unwrap().natives = used(0, 1000);
    until("nobody calls", || async { seen.replicas() == Some(0) }).await;
    comes(&seen, "Ready", "Idle").await;
    host.says.lock().unwrap().natives = used(1, 1000);
    until("a call waits", || async { seen.replicas() == Some(1) }).await;
    let mut broken = used(0, 1000);
    broken[0].mismatch = "method Add is not there".to_owned();
    host.says.lock().unwrap().natives = broken;
    comes(&seen, "Ready", "ContractMismatch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_has_a_volume_and_one_server_at_a_time() {
    let cluster = Cluster::take().await;
    let seen = Seen(&cluster);
    let _controller = controller(&cluster, Some(rules())).await;
    let image =
        |tag: u32| json!({"image": format!("registry.example.com/a:{tag}"), "stateful": true});
    seen.native("0.1.0", &image(1));
    let container = || {
        let set = seen.get("statefulset", "native-m")?;
        Some(set["spec"]["template"]["spec"]["containers"][0]["image"].clone())
    };
    until("there is a set", || async { container() == Some("registry.example.com/a:1".into()) })
        .await;
    let claim = seen.get("persistentvolumeclaim", "native-m-state").unwrap();
    seen.native("0.2.0", &image(2));
    until("it has the new", || async { container() == Some("registry.example.com/a:2".into()) })
        .await;
    let same = seen.get("persistentvolumeclaim", "native-m-state").unwrap();
    assert_eq!(same["metadata"]["uid"], claim["metadata"]["uid"]);
    assert_eq!(seen.names("deployments"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_that_operators_do_not_allow() {
    let cluster = Cluster::take().await;
    let seen = Seen(&cluster);
    let disabled = controller(&cluster, None).await;
    let host = Host::start("one", addresses(&[&disabled]));
    seen.native("0.1.0", &json!({"image": "registry.example.com/linalg:1"}));
    comes(&seen, "Ready", "NotAllowed").await;
    is_told(&host, "NotAllowed").await;
    disabled.stop().await;
    let allowing = controller(&cluster, Some(rules())).await;
    until("there is a deployment", || async { seen.replicas() == Some(1) }).await;
    seen.native("0.2.0", &json!({"image": "elsewhere.example.com/linalg:1"}));
    comes(&seen, "Ready", "ImageNotAllowed").await;
    quiet(&allowing).await;
    assert_eq!(seen.names("deployments").len(), 1, "what may run answers on");
    allowing.stop().await;
    let mut rules = rules();
    rules["allow"]["images"] = json!(["nothing.example.com/*"]);
    let _controller = controller(&cluster, Some(rules)).await;
    until("nothing is left", || async { seen.names("deployments,services").is_empty() }).await;
}

/// Nothing ran yet in this cluster, so there is no authority that vouches for servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_told_of_the_first_module_that_may_not_run() {
    let cluster = Cluster::take().await;
    let seen = Seen(&cluster);
    let controller = controller(&cluster, Some(rules())).await;
    let host = Host::start("one", addresses(&[&controller]));
    seen.native("0.1.0", &json!({"image": "elsewhere.example.com/linalg:1"}));
    is_told(&host, "ImageNotAllowed").await;
    assert_eq!(seen.get("secret", "native-authority"), None);
}

async fn is_told(host: &Host, reason: &str) {
    until(&format!("the host is told {reason}"), || async {
        let told = host.natives.lock().unwrap();
        let standing = told.get("m").and_then(|told| told.standings.first());
        standing.is_some_and(|standing| standing.reason == reason)
    })
    .await;
}
