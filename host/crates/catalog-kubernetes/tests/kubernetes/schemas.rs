//! What the API server itself refuses, by the definitions.

use serde_json::{Value, json};

use crate::{control_plane::Cluster, fleet::digest};

fn object(kind: &str, name: &str, spec: Value) -> String {
    let metadata = json!({"name": name, "namespace": "default"});
    let object = json!({
        "apiVersion": "roadstead.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec,
    });
    object.to_string()
}

fn version(change: impl FnOnce(&mut Value)) -> String {
    let mut spec = json!({
        "module": "m", "version": "0.1.0", "size": 7,
        "digest": digest("a"), "component": digest("a"), "interface": digest("a"),
    });
    change(&mut spec);
    object("ModuleVersion", "m-0.1.0", spec)
}

fn apply(cluster: &Cluster, text: &str) -> Result<String, String> {
    cluster.kubectl(&["apply", "--validate=strict", "-f", "-"], text)
}

#[track_caller]
fn refused(cluster: &Cluster, text: &str, part: &str) {
    let error = apply(cluster, text).unwrap_err();
    assert!(error.contains(part), "{text}: {error}");
}

#[tokio::test]
async fn versions_say_what_they_must_and_never_change() {
    let cluster = Cluster::take().await;
    for (name, value, part) in [
        ("module", json!("other"), "<module>-<version>"),
        ("version", json!("0.2.0"), "<module>-<version>"),
        ("version", json!("1.0"), "spec.version"),
        ("digest", json!("sha256:00"), "spec.digest"),
        ("componentInstances", json!(0), "spec.componentInstances"),
        ("size", json!(-1), "spec.size"),
        ("limits", json!({}), "unknown field"),
        ("spec", json!({"limits": {"memry": "1Mi"}}), "unknown field"),
        ("spec", json!({"limits": {"memory": "1 Mi"}}), "spec.limits.memory"),
        ("spec", json!({"limits": {"deadline": "5"}}), "spec.limits.deadline"),
        ("spec", json!({"instances": {"policy": "none"}}), "spec.instances.policy"),
    ] {
        refused(&cluster, &version(|spec| spec[name] = value), part);
    }
    apply(&cluster, &version(|_| {})).unwrap();
    let stored = cluster.kubectl(&["get", "rsv", "m-0.1.0", "-o", "json"], "").unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored["spec"]["componentInstances"], 1);
    let limits = &stored["spec"]["spec"]["limits"];
    let defaults = serde_json::to_value(roadstead_domain::ModuleSpec::default()).unwrap();
    assert_eq!(*limits, defaults["limits"], "defaults are written out");
    refused(&cluster, &version(|spec| spec["size"] = 8.into()), "a version never changes");
    // The same again is no change, and a label is none of the version.
    apply(&cluster, &version(|_| {})).unwrap();
    cluster.kubectl(&["label", "rsv", "m-0.1.0", "a=b"], "").unwrap();
    let shown = cluster.kubectl(&["get", "rsv"], "").unwrap();
    assert!(shown.contains("ACCEPTED"), "{shown}");
    let selected = ["get", "rsv", "--field-selector", "spec.module=none", "-o", "name"];
    assert_eq!(cluster.kubectl(&selected, "").unwrap(), "");
}

#[tokio::test]
async fn native_versions_are_a_kind_of_their_own() {
    let cluster = Cluster::take().await;
    let image = json!({"native": {"image": "registry.example.com/serve:1"}});
    let native = |name: &str, inner: Value| {
        let spec: Value = serde_json::from_str(&version(|spec| spec["spec"] = inner)).unwrap();
        object("NativeModuleVersion", name, spec["spec"].clone())
    };
    refused(&cluster, &version(|spec| spec["spec"] = image.clone()), "is a NativeModuleVersion");
    refused(&cluster, &native("m-0.1.0", json!({})), "needs spec.native.image");
    let command = json!({"native": {"command": ["serve"]}});
    refused(&cluster, &native("m-0.1.0", command), "needs spec.native.image");
    refused(&cluster, &native("other-0.1.0", image.clone()), "<module>-<version>");
    let unknown = json!({"native": {"image": "a", "hostPath": "/"}});
    refused(&cluster, &native("m-0.1.0", unknown), "unknown field");
    apply(&cluster, &native("m-0.1.0", image)).unwrap();
    let other = json!({"native": {"image": "registry.example.com/serve:2"}});
    refused(&cluster, &native("m-0.1.0", other), "a version never changes");
    let shown = cluster.kubectl(&["get", "rsnv"], "").unwrap();
    assert!(shown.contains("registry.example.com/serve:1"), "{shown}");
    refused(&cluster, &object("NativeModule", "grpc", json!({})), "reserved");
    refused(&cluster, &object("NativeModule", "m", json!({"rollout": {"steps": []}})), "steps");
    refused(&cluster, &object("NativeModule", "m", json!({"image": "a"})), "unknown field");
    apply(&cluster, &object("NativeModule", "m", json!({"pinned": "0.1.0"}))).unwrap();
}

#[tokio::test]
async fn modules_have_names_and_rollouts_that_make_sense() {
    let cluster = Cluster::take().await;
    let module = |name: &str, spec: Value| object("Module", name, spec);
    refused(&cluster, &module("grpc", json!({})), "reserved");
    refused(&cluster, &module("a.b", json!({})), "1 to 63");
    refused(&cluster, &module("m", json!({"pinned": "one"})), "spec.pinned");
    let rollout = |rollout: Value| module("m", json!({"rollout": rollout}));
    for (bad, part) in [
        (json!({"steps": [5, 101]}), "spec.rollout.steps"),
        (json!({"steps": [0, 50]}), "spec.rollout.steps"),
        (json!({"steps": []}), "spec.rollout.steps"),
        (json!({"steps": [50, 5]}), "more than the one before"),
        (json!({"steps": [5, 5]}), "more than the one before"),
        (json!({"interval": "5"}), "spec.rollout.interval"),
        (json!({"maxFailureRatio": 1.5}), "spec.rollout.maxFailureRatio"),
        (json!({"minimumCalls": 0}), "spec.rollout.minimumCalls"),
        (json!({"step": [5]}), "unknown field"),
    ] {
        refused(&cluster, &rollout(bad), part);
    }
    apply(&cluster, &rollout(json!({}))).unwrap();
    let stored = cluster.kubectl(&["get", "rsm", "m", "-o", "json"], "").unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    let defaults = serde_json::to_value(roadstead_k8s_api::Rollout::default()).unwrap();
    assert_eq!(stored["spec"]["rollout"], defaults);
    // Status is a subresource: who writes the object does not write it.
    let status = json!({"status": {"conditions": [{
        "type": "Ready", "status": "True", "reason": "Answering", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}});
    let patch = |more: &[&str], change: &Value| {
        let text = change.to_string();
        let words = ["patch", "module", "m", "--type=merge", "-p", &text];
        cluster.kubectl(&[&words[..], more].concat(), "")
    };
    patch(&[], &status).unwrap();
    let ready = ["get", "module", "m", "-o", "jsonpath={.status.conditions[0].reason}"];
    assert_eq!(cluster.kubectl(&ready, "").unwrap(), "");
    patch(&["--subresource=status"], &status).unwrap();
    assert_eq!(cluster.kubectl(&ready, "").unwrap(), "Answering");
    let mut unknown = status;
    unknown["status"]["conditions"][0]["reason"] = "Unheard".into();
    assert!(patch(&["--subresource=status"], &unknown).unwrap_err().contains("Unheard"));
}

#[tokio::test]
async fn locks_are_one_object_and_only_grow() {
    let cluster = Cluster::take().await;
    let locks =
        |name: &str, packages: Value| object("WireLocks", name, json!({"packages": packages}));
    let (one, two) = (digest("1"), digest("2"));
    refused(&cluster, &locks("other", json!({})), "`locks`");
    refused(&cluster, &locks("locks", json!({"p": ["1"]})), "spec.packages");
    apply(&cluster, &locks("locks", json!({"p": [one, two], "q": [one]}))).unwrap();
    apply(&cluster, &locks("locks", json!({"p": [one, two, one], "q": [one]}))).unwrap();
    refused(&cluster, &locks("locks", json!({"p": [one, two], "q": [one]})), "never taken away");
    refused(&cluster, &locks("locks", json!({"p": [one, two, one]})), "never taken away");
}
