//! What is written of versions and modules.

use roadstead_controller::Namespaces;
use roadstead_proto::v1::{Judgement, VersionState};
use serde_json::json;

use crate::{
    control_plane::{Cluster, until},
    support::{
        Host, Objects, Running, addresses, digest, module_comes, quiet, shares, version_comes,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_say_whether_they_are_published_and_then_all_is_quiet() {
    let cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    let controller = Running::start(&cluster, "a").await;
    let host = Host::start("one", addresses(&[&controller]));
    objects.version("m", "0.1.0", json!({"p": digest("one")})).await;
    version_comes(&objects, "m-0.1.0", "Accepted", "NoModule").await;
    objects.module("m", json!({})).await;
    version_comes(&objects, "m-0.1.0", "Accepted", "Pending").await;
    let owned = objects.versions.get("m-0.1.0").await.unwrap().metadata;
    let module = objects.read("m").await.unwrap().id;
    assert_eq!(owned.owner_references.unwrap()[0].uid, module.uid, "it is adopted");

    host.is("0.1.0", VersionState::Ready);
    objects.chain("p", &["one"]).await;
    version_comes(&objects, "m-0.1.0", "Accepted", "Published").await;
    version_comes(&objects, "m-0.1.0", "Serving", "Answering").await;
    module_comes(&objects, "m", "Ready", "Answering").await;
    assert_eq!(objects.serving().await, shares(&[("0.1.0", 100)]));

    objects.version("m", "0.2.0", json!({"p": digest("two")})).await;
    let judged = objects.versions.get("m-0.2.0").await.unwrap();
    host.says.lock().unwrap().judgements.push(Judgement {
        namespace: "default".to_owned(),
        object: "m-0.2.0".to_owned(),
        uid: judged.metadata.uid.unwrap(),
        reason: "BreaksContract".to_owned(),
        message: "method Add is gone".to_owned(),
    });
    version_comes(&objects, "m-0.2.0", "Accepted", "BreaksContract").await;
    until("an event tells it", || async {
        objects.events().await.contains(&"BreaksContract".to_owned())
    })
    .await;
    let status = objects.versions.get("m-0.2.0").await.unwrap().status.unwrap();
    assert!(status.conditions.iter().any(|one| one.message.contains("method Add is gone")));

    // Reports go on, with more calls each time; nobody need hear of that.
    host.busy("0.1.0", 10, 1);
    quiet(&controller).await;
    let revision = objects.read("m").await.unwrap().id.revision;
    let before = controller.writes();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(controller.writes(), before);
    assert_eq!(objects.read("m").await.unwrap().id.revision, revision);

    // What someone else writes there does not stay.
    objects.overwrite("m", json!({"serving": [], "conditions": []})).await;
    until("the status is repaired", || async {
        objects.serving().await == shares(&[("0.1.0", 100)])
            && objects.module_says("m", "Ready").await == "Answering"
    })
    .await;
    let rollout = json!({
        "from": "0.1.0", "to": "0.2.0", "phase": "Progressing", "step": 0,
        "since": "2026-01-01T00:00:00Z",
    });
    objects.overwrite("m", json!({"rollout": rollout})).await;
    until("no rollout is left", || async { objects.phase().await.is_empty() }).await;
    quiet(&controller).await;
    assert!(controller.writes() < before + 10, "a repair is a write or two");

    let (status, text) = controller.get("/metrics").await;
    assert_eq!(status, 200);
    for line in ["leader 1", "hosts{state=\"live\"} 1", "streams 1", "objects{kind=\"version\"} 2"]
    {
        assert!(text.contains(&format!("roadstead_controller_{line}")), "{line}: {text}");
    }
    assert_eq!(controller.get("/readyz").await.0, 200);
    assert_eq!(controller.get("/healthz").await.0, 200);
    assert_eq!(controller.get("/nothing").await.0, 404);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_namespaces_that_are_enabled_are_looked_after() {
    let cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    cluster
        .kubectl(&["label", "--overwrite", "ns", "default", "roadstead.dev/enabled-"], "")
        .unwrap();
    let controller = Running::with(&cluster, "a", Namespaces::default()).await;
    objects.module("m", json!({})).await;
    until("it is ready", || async { controller.get("/readyz").await.0 == 200 }).await;
    until("it leads", || async { controller.leads() }).await;
    assert_eq!(objects.module_says("m", "Ready").await, "");
    cluster.kubectl(&["label", "ns", "default", "roadstead.dev/enabled=true"], "").unwrap();
    module_comes(&objects, "m", "Ready", "NoVersion").await;
    cluster.kubectl(&["label", "ns", "default", "roadstead.dev/enabled-"], "").unwrap();
    quiet(&controller).await;
    let before = controller.writes();
    objects.module("n", json!({})).await;
    objects.overwrite("m", json!({"conditions": []})).await;
    quiet(&controller).await;
    assert_eq!(controller.writes(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_newer_definitions_are_read_as_far_as_they_are_known() {
    let cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    let definition = |more: &str| {
        let patch = format!(
            "[{{\"op\": \"{more}\", \"path\": \"/spec/versions/0/schema/openAPIV3Schema/properties/\
             spec/properties/newer\"{}}}]",
            if more == "add" { ", \"value\": {\"type\": \"string\"}" } else { "" }
        );
        for crd in ["modules.roadstead.dev", "moduleversions.roadstead.dev"] {
            cluster.kubectl(&["patch", "crd", crd, "--type=json", "-p", &patch], "").unwrap();
        }
    };
    definition("add");
    let controller = Running::start(&cluster, "a").await;
    let host = Host::start("one", addresses(&[&controller]));
    host.is("0.1.0", VersionState::Ready);
    let kept = || async {
        objects.module("m", json!({"newer": "yes"})).await;
        let text = ["get", "module", "m", "-o", "jsonpath={.spec.newer}"];
        cluster.kubectl(&text, "").unwrap() == "yes"
    };
    until("the definition holds", kept).await;
    objects.version("m", "0.1.0", json!({})).await;
    module_comes(&objects, "m", "Ready", "Answering").await;
    let text = ["get", "module", "m", "-o", "jsonpath={.spec.newer}"];
    assert_eq!(cluster.kubectl(&text, "").unwrap(), "yes", "and it is left alone");
    definition("remove");
}
