//! How calls are split, as the controller writes it into a module's status.

use roadstead_catalog::{
    Catalog, CatalogError, PlanEdit, RolloutAction, RolloutEdit, conformance::publication,
};
use roadstead_catalog_kubernetes::KubernetesCatalog;
use roadstead_domain::{Namespace, Traffic};
use serde_json::{Value, json};

use crate::{
    control_plane::{Cluster, until},
    fleet::{name, version},
};

async fn traffic(catalog: &KubernetesCatalog) -> Traffic {
    let snapshot = catalog.snapshot().await.unwrap();
    let module = &snapshot.modules[&(Namespace::default(), name("m"))];
    module.traffic.clone().unwrap()
}

async fn shares(catalog: &KubernetesCatalog) -> Vec<String> {
    let traffic = traffic(catalog).await;
    traffic.shares().iter().map(|(version, percent)| format!("{version} {percent}")).collect()
}

async fn splits(catalog: &KubernetesCatalog, expected: &[&str]) {
    until(&format!("the split is {expected:?}"), || async { shares(catalog).await == expected })
        .await;
}

/// Writes a module's status, as the controller does, and says at which revision.
fn write(cluster: &Cluster, status: &Value) -> u64 {
    let patch = json!({"status": status}).to_string();
    let arguments = ["patch", "modules.roadstead.dev", "m", "--subresource=status", "--type=merge"];
    let output = ["-o", "jsonpath={.metadata.resourceVersion}", "-p", &patch];
    let revision = cluster.kubectl(&[&arguments[..], &output].concat(), "").unwrap();
    revision.trim().parse().unwrap()
}

fn serving(shares: &[(&str, u8)]) -> Value {
    let share = |(version, percent): &(&str, u8)| json!({"version": version, "percent": percent});
    json!({"serving": shares.iter().map(share).collect::<Vec<_>>()})
}

fn plan() -> RolloutEdit {
    RolloutEdit::Set(PlanEdit { steps: Some(vec![5, 100]), ..PlanEdit::default() })
}

#[tokio::test]
async fn the_split_in_the_status_holds_while_a_rollout_is_wanted() {
    let cluster = Cluster::take().await;
    let (host, other) = (cluster.host().await, cluster.host().await);
    for (version, bytes) in [("0.1.0", "a"), ("0.2.0", "b")] {
        host.catalog.publish(publication("m", version, bytes)).await.unwrap();
    }
    let default = Namespace::default();
    // Without a rollout the status is the controller's account, and no more.
    write(&cluster, &serving(&[("0.2.0", 100)]));
    splits(&host.catalog, &[]).await;
    host.catalog.edit_rollout(&default, &name("m"), plan()).await.unwrap();
    splits(&host.catalog, &["0.2.0 100"]).await;
    let revision = write(&cluster, &serving(&[("0.1.0", 95), ("0.2.0", 5)]));
    for catalog in [&host.catalog, &other.catalog] {
        splits(catalog, &["0.1.0 95", "0.2.0 5"]).await;
        assert_eq!(traffic(catalog).await.revision(), revision);
    }
    // One that is not whole is none.
    write(&cluster, &serving(&[("0.1.0", 95), ("0.2.0", 4)]));
    splits(&host.catalog, &[]).await;
    write(&cluster, &serving(&[("0.1.0", 90), ("0.2.0", 10)]));
    splits(&host.catalog, &["0.1.0 90", "0.2.0 10"]).await;
    // The pin is kept beside it.
    let pinned = host.catalog.pin(&default, &name("m"), Some(&version("0.2.0"))).await.unwrap();
    let pinned = pinned.module.unwrap();
    assert_eq!(pinned.pinned, Some(version("0.2.0")));
    assert_eq!(pinned.traffic.unwrap().shares().len(), 2);
    // The word that there is none is newer than the last split.
    let before = traffic(&host.catalog).await.revision();
    host.catalog.edit_rollout(&default, &name("m"), RolloutEdit::Unset).await.unwrap();
    splits(&other.catalog, &[]).await;
    assert!(before < traffic(&other.catalog).await.revision());
}

#[tokio::test]
async fn a_host_that_starts_without_the_api_server_knows_the_last_split() {
    let mut cluster = Cluster::take().await;
    let host = cluster.host().await;
    for (version, bytes) in [("0.1.0", "a"), ("0.2.0", "b")] {
        host.catalog.publish(publication("m", version, bytes)).await.unwrap();
    }
    host.catalog.edit_rollout(&Namespace::default(), &name("m"), plan()).await.unwrap();
    write(&cluster, &serving(&[("0.1.0", 95), ("0.2.0", 5)]));
    splits(&host.catalog, &["0.1.0 95", "0.2.0 5"]).await;
    let before = traffic(&host.catalog).await;
    let kept = host.directory.path().join("catalog.json");
    until("the split is on disk", || async {
        std::fs::read_to_string(&kept).is_ok_and(|text| text.contains(r#"["0.1.0",95]"#))
    })
    .await;
    cluster.stop_api();
    let again = KubernetesCatalog::open(cluster.settings(), kept).await.unwrap();
    assert_eq!(traffic(&again).await, before);
    let rollout = again.rollout(&Namespace::default(), &name("m")).await.unwrap();
    assert_eq!(rollout.plan.unwrap().steps, Some(vec![5, 100]));
    let error = again.edit_rollout(&Namespace::default(), &name("m"), RolloutEdit::Pause).await;
    assert!(matches!(error, Err(CatalogError::Unavailable { .. })), "{error:?}");
    cluster.start_api().await;
}

#[tokio::test]
async fn people_hear_how_far_a_rollout_got_and_decide_about_it() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    for (version, bytes) in [("0.1.0", "a"), ("0.2.0", "b")] {
        host.catalog.publish(publication("m", version, bytes)).await.unwrap();
    }
    let default = Namespace::default();
    let edit = async |edit| host.catalog.edit_rollout(&default, &name("m"), edit).await;
    edit(plan()).await.unwrap();
    let since = "2026-01-02T03:04:05Z";
    write(
        &cluster,
        &json!({
            "serving": [{"version": "0.1.0", "percent": 95}, {"version": "0.2.0", "percent": 5}],
            "rollout": {
                "from": "0.1.0", "to": "0.2.0", "phase": "Progressing", "step": 0, "since": since,
            },
        }),
    );
    splits(&host.catalog, &["0.1.0 95", "0.2.0 5"]).await;
    let rollout = host.catalog.rollout(&default, &name("m")).await.unwrap();
    let progress = rollout.progress.unwrap();
    assert_eq!(
        (progress.phase.as_str(), progress.since_unix_ms),
        ("Progressing", 1_767_323_045_000)
    );
    // The version that is rolling out needs no name; the split stays until the controller moves it.
    let decided = edit(RolloutEdit::Decide(RolloutAction::Abort, None)).await.unwrap();
    assert_eq!(decided.outcome.decision, Some((RolloutAction::Abort, version("0.2.0"))));
    assert_eq!(shares(&host.catalog).await, ["0.1.0 95", "0.2.0 5"]);
    let written = ["get", "modules.roadstead.dev", "m", "-o", "jsonpath={.spec.rollout.decision}"];
    let written = cluster.kubectl(&written, "").unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written, json!({"version": "0.2.0", "action": "Abort"}));
    // Others may write the object meanwhile, as the controller does all the time.
    let m = name("m");
    let (one, other) = tokio::join!(edit(RolloutEdit::Pause), host.catalog.pin(&default, &m, None));
    assert!(one.unwrap().outcome.paused);
    other.unwrap();
}
