//! One host of many for a task, against a real API server.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::ListParams};
use roadstead_catalog::{Catalog, CatalogError, Election, conformance::publication};
use roadstead_catalog_kubernetes::KubernetesSettings;
use roadstead_domain::Namespace;

use crate::control_plane::{Cluster, Host, until};

const TASK: &str = "compile-0123";

async fn host(cluster: &Cluster, name: &str) -> Host {
    let namespace: Namespace = "other".parse().unwrap();
    let (host, lease_namespace) = (name.to_owned(), Some(namespace));
    Host::open(KubernetesSettings { host, lease_namespace, ..cluster.settings() }).await
}

fn election(host: &Host) -> std::sync::Arc<dyn Election> {
    host.catalog.election().unwrap()
}

async fn leases(cluster: &Cluster) -> Vec<(String, String)> {
    let api: Api<Lease> = Api::namespaced(cluster.client().await, "other");
    let found = api.list(&ListParams::default()).await.unwrap();
    let named =
        |lease: Lease| (lease.metadata.name.unwrap(), lease.spec.unwrap().holder_identity.unwrap());
    found.items.into_iter().map(named).collect()
}

#[tokio::test]
async fn one_host_has_a_task_until_it_gives_it_up() {
    let cluster = Cluster::take().await;
    let (one, other) = (host(&cluster, "one").await, host(&cluster, "other").await);
    let office = election(&one).stand(TASK).await.unwrap().unwrap();
    assert_eq!(leases(&cluster).await, [(format!("tests-{TASK}"), "one".to_owned())]);
    for host in [&one, &other] {
        assert!(election(host).stand(TASK).await.unwrap().is_none());
    }
    let elsewhere = election(&other).stand("sweep").await.unwrap().unwrap();
    drop(elsewhere);
    // Renewed over and over, it stays, whatever the others see meanwhile.
    let before = leases(&cluster).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(election(&other).stand(TASK).await.unwrap().is_none());
    }
    assert!(office.is_held());
    assert!(before.contains(&(format!("tests-{TASK}"), "one".to_owned())));
    drop(office);
    let stand = async || election(&other).stand(TASK).await.unwrap();
    until("it is free", || async { stand().await.is_some() }).await;
    until("nothing is left", || async { leases(&cluster).await.is_empty() }).await;
}

#[tokio::test]
async fn a_host_that_died_is_followed_by_another_and_takes_its_own_back() {
    let cluster = Cluster::take().await;
    // What a host wrote that was killed right then: the clock in it is far ahead, and means nothing.
    let lease = |task: &str, holder: &str| {
        format!(
            r#"{{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                 "metadata": {{"name": "tests-{task}", "namespace": "other"}},
                 "spec": {{"holderIdentity": "{holder}", "leaseDurationSeconds": 15,
                           "renewTime": "2099-01-01T00:00:00.000000Z"}}}}"#
        )
    };
    cluster.kubectl(&["create", "-f", "-"], &lease(TASK, "dead")).unwrap();
    cluster.kubectl(&["create", "-f", "-"], &lease("sweep", "one")).unwrap();
    let one = host(&cluster, "one").await;
    let own = election(&one).stand("sweep").await.unwrap();
    assert!(own.is_some(), "its own, from a former life");
    assert!(election(&one).stand(TASK).await.unwrap().is_none(), "not at first sight");
    let other = host(&cluster, "other").await;
    let (mut held, mut stood) = (None, 0);
    for _ in 0..1200 {
        let (first, second) = (
            election(&one).stand(TASK).await.unwrap(),
            election(&other).stand(TASK).await.unwrap(),
        );
        stood += usize::from(first.is_some()) + usize::from(second.is_some());
        held = first.or(second);
        if held.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(stood, 1);
    assert!(held.unwrap().is_held());
}

#[tokio::test]
async fn who_lost_a_task_hears_of_it() {
    let cluster = Cluster::take().await;
    let one = host(&cluster, "one").await;
    let office = election(&one).stand(TASK).await.unwrap().unwrap();
    cluster.kubectl(&["-n", "other", "delete", "lease", &format!("tests-{TASK}")], "").unwrap();
    until("the loss is noticed", || async { !office.is_held() }).await;
    assert!(election(&one).stand(TASK).await.unwrap().is_some());
}

#[tokio::test]
async fn nobody_is_chosen_without_the_api_server() {
    let mut cluster = Cluster::take().await;
    let one = host(&cluster, "one").await;
    one.catalog.publish(publication("m", "0.1.0", "a")).await.unwrap();
    assert!(one.catalog.needed().await.unwrap().is_some());
    cluster.stop_api();
    let error = election(&one).stand(TASK).await.err().unwrap();
    assert!(matches!(error, CatalogError::Unavailable { .. }), "{error:?}");
    until("what is needed is not known", || async {
        one.catalog.needed().await.unwrap().is_none()
    })
    .await;
    cluster.start_api().await;
    until("it is known again", || async { one.catalog.needed().await.unwrap().is_some() }).await;
    assert!(election(&one).stand(TASK).await.unwrap().is_some());
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_named() {
    let cluster = Cluster::take().await;
    let lease_namespace = Some("nowhere".parse().unwrap());
    let host = Host::open(KubernetesSettings { lease_namespace, ..cluster.settings() }).await;
    let error = election(&host).stand(TASK).await.err().unwrap();
    assert!(error.to_string().contains("namespace"), "{error:?}");
}

#[tokio::test]
async fn what_objects_name_is_needed_whether_it_counts_or_not() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    let published = publication("m", "0.1.0", "a");
    let component = published.record.component;
    host.catalog.publish(published).await.unwrap();
    let needed = async || {
        let snapshot = host.catalog.needed().await.unwrap()?;
        let versions = snapshot.modules.into_values().flat_map(|module| module.versions);
        Some(versions.map(|(version, _)| version.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(needed().await.unwrap(), ["0.1.0"]);
    // A version of no module, with a lock that nobody published.
    let object = cluster.kubectl(&["get", "moduleversion", "m-0.1.0", "-o", "json"], "").unwrap();
    let mut object: serde_json::Value = serde_json::from_str(&object).unwrap();
    object["metadata"] = serde_json::json!({"name": "orphan-0.2.0", "namespace": "default"});
    object["spec"]["module"] = "orphan".into();
    object["spec"]["version"] = "0.2.0".into();
    cluster.kubectl(&["create", "-f", "-"], &object.to_string()).unwrap();
    until("it is needed too", || async {
        needed().await.is_some_and(|versions| versions == ["0.1.0", "0.2.0"])
    })
    .await;
    let needed_now = host.catalog.needed().await.unwrap().unwrap();
    let all = needed_now.modules.values().flat_map(|module| module.versions.values());
    assert!(all.into_iter().all(|record| record.component == component));
}
