//! Several hosts, and people with kubectl, on the same objects.

use std::collections::BTreeSet;

use roadstead_catalog::{
    Catalog, CatalogError, LockChange, Pending, Publication, Published, Refusal, Verdict,
    conformance::{native, next, publication},
};
use roadstead_catalog_kubernetes::{KubernetesCatalog, KubernetesSettings, Namespaces, OpenError};
use roadstead_domain::{Digest, ModuleName, Namespace, Version};
use roadstead_k8s_api::{ModuleVersion, PUSHED_BY};

use crate::control_plane::{Cluster, Host, until};

pub(crate) fn name(text: &str) -> ModuleName {
    text.parse().unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(crate) async fn versions(catalog: &KubernetesCatalog, module: &str) -> Vec<String> {
    let snapshot = catalog.snapshot().await.unwrap();
    let module = snapshot.modules.get(&(Namespace::default(), name(module)));
    module.into_iter().flat_map(|module| module.versions.keys()).map(Version::to_string).collect()
}

/// Waits until a catalog shows exactly these versions of a module.
pub(crate) async fn shows(catalog: &KubernetesCatalog, module: &str, expected: &[&str]) {
    let what = format!("the catalog shows {module} with {expected:?}");
    until(&what, || async { versions(catalog, module).await == expected }).await;
}

/// A publication with a lock of package `p`.
fn locked(module: &str, version: &str, from: Option<&str>, to: &str) -> Publication {
    let mut publication = publication(module, version, &format!("{module}{version}{to}"));
    publication.record.locks = [("p".to_owned(), digest(to))].into();
    let from = from.map(digest);
    publication.locks = vec![LockChange { package: "p".to_owned(), from, to: digest(to) }];
    publication
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_push_at_once_get_different_numbers() {
    let cluster = Cluster::take().await;
    let hosts = [cluster.host().await, cluster.host().await];
    let push = |host: usize, index: usize| {
        let catalog = hosts[host].catalog.clone();
        async move {
            let bytes = format!("bytes {host} {index}");
            let mut guess = version("0.1.0");
            loop {
                match catalog.publish(next("m", &guess.to_string(), &bytes)).await {
                    Ok(Published::Created(change)) => return change.outcome.version.to_string(),
                    Ok(Published::Unchanged(record)) => panic!("{} existed", record.version),
                    Err(CatalogError::NotNext { next, .. }) => guess = next,
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    };
    let pairs = (0..2).flat_map(|host| (0..6).map(move |index| (host, index)));
    let tasks: Vec<_> = pairs.map(|(host, index)| tokio::spawn(push(host, index))).collect();
    let mut given = BTreeSet::new();
    for task in tasks {
        assert!(given.insert(task.await.unwrap()), "a number was given out twice");
    }
    let all: Vec<String> = (0..12).map(|patch| format!("0.1.{patch}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for host in &hosts {
        shows(&host.catalog, "m", &all).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_two_moves_a_lock_and_the_other_leaves_nothing() {
    let cluster = Cluster::take().await;
    let hosts = [cluster.host().await, cluster.host().await];
    let push = |host: usize| {
        let catalog = hosts[host].catalog.clone();
        let name = format!("m{host}");
        let publication = locked(&name, "0.1.0", None, &format!("p{host}"));
        async move { catalog.publish(publication).await }
    };
    let (one, other) = tokio::join!(push(0), push(1));
    let (winner, refused) = match (one, other) {
        (Ok(_), Err(error)) => (0, error),
        (Err(error), Ok(_)) => (1, error),
        both => panic!("{both:?}"),
    };
    let now = Some(digest(&format!("p{winner}")));
    assert!(
        matches!(&refused, CatalogError::LockMoved { package, now: found } if package == "p" && *found == now),
        "{refused:?}"
    );
    let loser = 1 - winner;
    for host in &hosts {
        shows(&host.catalog, &format!("m{winner}"), &["0.1.0"]).await;
        assert_eq!(versions(&host.catalog, &format!("m{loser}")).await, [""; 0]);
    }
    let objects = cluster.kubectl(&["get", "moduleversions", "-o", "name"], "").unwrap();
    assert_eq!(objects.lines().count(), 1, "{objects}");
    // Derived anew, it goes through: the object of its first try is in nobody's way.
    let again = locked(&format!("m{loser}"), "0.1.0", Some(&format!("p{winner}")), "p2");
    hosts[loser].catalog.publish(again).await.unwrap();
    for host in &hosts {
        shows(&host.catalog, &format!("m{loser}"), &["0.1.0"]).await;
    }
}

#[tokio::test]
async fn every_host_sees_what_another_changes() {
    let cluster = Cluster::take().await;
    let (one, other) = (cluster.host().await, cluster.host().await);
    let mut watch = other.catalog.watch();
    let default = Namespace::default();
    one.catalog.publish(locked("m", "0.1.0", None, "p1")).await.unwrap();
    one.catalog.publish(publication("m", "0.2.0", "b")).await.unwrap();
    shows(&other.catalog, "m", &["0.1.0", "0.2.0"]).await;
    assert!(watch.has_changed().unwrap());
    let told = *watch.borrow_and_update();
    assert_eq!(told, other.catalog.snapshot().await.unwrap().revision);

    // The other acts on it at once, and what it does is seen by the first.
    other.catalog.pin(&default, &name("m"), Some(&version("0.1.0"))).await.unwrap();
    let pinned = one.catalog.delete(&default, &name("m"), Some(&version("0.1.0"))).await;
    assert!(matches!(pinned, Err(CatalogError::Pinned { .. })), "{pinned:?}");
    one.catalog.pin(&default, &name("m"), None).await.unwrap();
    one.catalog.delete(&default, &name("m"), Some(&version("0.2.0"))).await.unwrap();
    shows(&other.catalog, "m", &["0.1.0"]).await;
    let gone = other.catalog.pin(&default, &name("m"), Some(&version("0.2.0"))).await;
    assert!(matches!(gone, Err(CatalogError::NoSuchVersion { .. })), "{gone:?}");
    // A deleted number may be written out again, with other content.
    other.catalog.publish(publication("m", "0.2.0", "c")).await.unwrap();
    shows(&one.catalog, "m", &["0.1.0", "0.2.0"]).await;
    one.catalog.delete(&default, &name("m"), None).await.unwrap();
    shows(&other.catalog, "m", &[]).await;
    until("the objects are gone", || async {
        cluster.kubectl(&["get", "modules,moduleversions", "-o", "name"], "").unwrap().is_empty()
    })
    .await;
    // Locks outlive their modules.
    let locks = other.catalog.snapshot().await.unwrap().locks;
    assert_eq!(locks[&(default, "p".to_owned())], digest("p1"));
}

/// The text of a version's object.
fn object(publication: &Publication, annotations: serde_json::Value) -> String {
    let Publication { name, record, .. } = publication;
    let mut spec = serde_json::to_value(record).unwrap();
    let camel = [
        ("stored_beside", "storedBeside"),
        ("component_instances", "componentInstances"),
        ("published_unix_ms", "publishedUnixMs"),
    ];
    let fields = spec.as_object_mut().unwrap();
    for (from, to) in camel {
        let value = fields.remove(from).unwrap();
        fields.insert(to.to_owned(), value);
    }
    fields.retain(|_, value| !value.is_null());
    fields.insert("module".to_owned(), name.to_string().into());
    let object = format!("{name}-{}", record.version);
    serde_json::json!({
        "apiVersion": "roadstead.dev/v1alpha1",
        "kind": "ModuleVersion",
        "metadata": {"name": object, "namespace": "default", "annotations": annotations},
        "spec": spec,
    })
    .to_string()
}

const MODULE: &str = r#"{"apiVersion": "roadstead.dev/v1alpha1", "kind": "Module",
    "metadata": {"name": "m", "namespace": "default"}, "spec": {}}"#;

fn apply(cluster: &Cluster, text: &str) {
    cluster.kubectl(&["apply", "--validate=strict", "-f", "-"], text).unwrap();
}

async fn pending(host: &Host, module: &str) -> Pending {
    until("a version waits to be judged", || async { !host.catalog.pending().await.is_empty() })
        .await;
    let mut all = host.catalog.pending().await;
    assert_eq!((all.len(), all[0].name.as_str()), (1, module));
    all.remove(0)
}

#[tokio::test]
async fn what_people_apply_shows_up_once_it_is_judged() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    apply(&cluster, MODULE);
    let free = publication("m", "0.1.0", "a");
    apply(&cluster, &object(&free, serde_json::json!({})));
    shows(&host.catalog, "m", &["0.1.0"]).await;
    let snapshot = host.catalog.snapshot().await.unwrap();
    let record = &snapshot.modules[&(Namespace::default(), name("m"))].versions[&version("0.1.0")];
    assert_eq!(**record, free.record);

    // A new lock is for a host to judge.
    let new = locked("m", "0.2.0", None, "p1");
    apply(&cluster, &object(&new, serde_json::json!({})));
    let found = pending(&host, "m").await;
    assert_eq!(*found.record, new.record);
    let refused = Verdict::Refused(Refusal::BreaksContract, "m.Gone: the function is gone".into());
    host.catalog.settle(&found, refused).await.unwrap();
    let key = (Namespace::default(), "m-0.2.0".to_owned());
    let reports = host.catalog.reports();
    assert_eq!(reports.borrow()[&key].why, Refusal::BreaksContract);
    assert_eq!(host.catalog.pending().await, [], "judged once for the same locks");
    assert_eq!(versions(&host.catalog, "m").await, ["0.1.0"]);
    // Other locks make it worth another look, and then it fits.
    host.catalog.publish(locked("n", "0.1.0", None, "p0")).await.unwrap();
    let found = pending(&host, "m").await;
    let change = LockChange { package: "p".to_owned(), from: Some(digest("p0")), to: digest("p1") };
    host.catalog.settle(&found, Verdict::Follows(vec![change])).await.unwrap();
    assert_eq!(versions(&host.catalog, "m").await, ["0.1.0", "0.2.0"]);
    assert_eq!(host.catalog.pending().await, []);
    assert!(reports.borrow().is_empty());
    assert_eq!(
        host.catalog.snapshot().await.unwrap().locks[&(Namespace::default(), "p".to_owned())],
        digest("p1")
    );

    // Pins and deletions by hand count as well.
    let pin = ["patch", "module", "m", "--type=merge", "-p", r#"{"spec": {"pinned": "0.1.0"}}"#];
    cluster.kubectl(&pin, "").unwrap();
    until("the pin is seen", || async {
        let snapshot = host.catalog.snapshot().await.unwrap();
        snapshot.modules[&(Namespace::default(), name("m"))].pinned == Some(version("0.1.0"))
    })
    .await;
    cluster.kubectl(&["delete", "module", "m"], "").unwrap();
    shows(&host.catalog, "m", &[]).await;
}

#[tokio::test]
async fn a_push_completes_what_a_killed_one_left() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    apply(&cluster, MODULE);
    let left = locked("m", "0.1.0", None, "p1");
    apply(&cluster, &object(&left, serde_json::json!({PUSHED_BY: "tests"})));
    until("the object is seen", || async {
        // Other content under its number waits for the host that may still be at work.
        !cluster.kubectl(&["get", "moduleversion", "m-0.1.0"], "").unwrap().is_empty()
    })
    .await;
    assert_eq!(host.catalog.pending().await, [], "its host has a while for it");
    assert_eq!(versions(&host.catalog, "m").await, [""; 0]);
    let mut again = left.clone();
    again.record.published_unix_ms = 77;
    let Published::Created(change) = host.catalog.publish(again).await.unwrap() else { panic!() };
    assert_eq!(*change.outcome, left.record);
    assert_eq!(versions(&host.catalog, "m").await, ["0.1.0"]);
}

#[tokio::test]
async fn one_bad_object_hides_no_other() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    host.catalog.publish(publication("m", "0.1.0", "a")).await.unwrap();
    // The definition takes it, the host does not: no limit of memory.
    let mut bad = publication("m", "0.2.0", "b");
    bad.record.spec.limits.memory = roadstead_domain::ByteSize(0);
    apply(&cluster, &object(&bad, serde_json::json!({})));
    host.catalog.publish(publication("m", "0.3.0", "c")).await.unwrap();
    let late = cluster.host().await;
    for host in [&host, &late] {
        shows(&host.catalog, "m", &["0.1.0", "0.3.0"]).await;
    }
    let error = host.catalog.publish(publication("m", "0.2.0", "d")).await.unwrap_err();
    assert!(matches!(&error, CatalogError::Refused { message, .. } if message.contains("memory")));
}

#[tokio::test]
async fn refusals_of_the_cluster_are_told_apart() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    let mut elsewhere = publication("m", "0.1.0", "a");
    elsewhere.namespace = "kube-system".parse().unwrap();
    let error = host.catalog.publish(elsewhere).await.unwrap_err();
    assert!(matches!(error, CatalogError::NotEnabled(_)), "{error:?}");

    let mut large = publication("m", "0.1.0", "a");
    let reason = "x".repeat(4 << 20);
    large.record.unmapped =
        vec![roadstead_catalog::UnmappedRecord { export: "e".to_owned(), reason }];
    let error = host.catalog.publish(large).await.unwrap_err();
    assert!(matches!(error, CatalogError::TooLarge(_)), "{error:?}");
    assert_eq!(versions(&host.catalog, "m").await, [""; 0]);

    // Someone without rights cannot start, someone who may only read can serve.
    let settings =
        KubernetesSettings { kubeconfig: Some(cluster.host_kubeconfig()), ..cluster.settings() };
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("catalog.json");
    let error = KubernetesCatalog::open(settings.clone(), kept).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::Unavailable { why } if why.contains("forbidden")),
        "{error:?}"
    );
    let role = ["create", "clusterrole", "look", "--verb=get,list,watch"];
    let kinds = ["modules", "moduleversions", "nativemodules", "nativemoduleversions", "wirelocks"];
    let resources =
        format!("--resource={}", kinds.map(|kind| format!("{kind}.roadstead.dev")).join(","));
    drop(cluster.kubectl(&[&role[..], &[&*resources]].concat(), ""));
    let bind = ["create", "clusterrolebinding", "look", "--clusterrole=look", "--user=host"];
    drop(cluster.kubectl(&bind, ""));
    host.catalog.publish(publication("m", "0.1.0", "a")).await.unwrap();
    let reader = Host::open(settings).await;
    assert_eq!(versions(&reader.catalog, "m").await, ["0.1.0"]);
    let error = reader.catalog.publish(publication("m", "0.2.0", "b")).await.unwrap_err();
    assert!(matches!(error, CatalogError::Forbidden { .. }), "{error:?}");
    cluster.kubectl(&["delete", "clusterrolebinding", "look"], "").unwrap();
}

#[tokio::test]
async fn namespaces_come_and_go_with_their_label() {
    let cluster = Cluster::take().await;
    let label = |value: &str| {
        let change = format!("roadstead.dev/enabled{value}");
        cluster.kubectl(&["label", "--overwrite", "namespace", "other", &change], "").unwrap();
    };
    label("-");
    let all = cluster.host().await;
    let mut there = publication("m", "0.1.0", "a");
    there.namespace = "other".parse().unwrap();
    all.catalog.publish(there.clone()).await.unwrap();
    let selector = KubernetesSettings::default().namespaces;
    let labelled =
        Host::open(KubernetesSettings { namespaces: selector, ..cluster.settings() }).await;
    let count = || async { labelled.catalog.snapshot().await.unwrap().modules.len() };
    assert_eq!(count().await, 0);
    label("=true");
    until("the namespace is served", || async { count().await == 1 }).await;
    there.record.version = version("0.2.0");
    labelled.catalog.publish(there.clone()).await.unwrap();
    label("-");
    until("the namespace is served no more", || async { count().await == 0 }).await;
    there.record.version = version("0.3.0");
    let error = labelled.catalog.publish(there).await.unwrap_err();
    assert!(matches!(error, CatalogError::NotEnabled(_)), "{error:?}");
    let named = Namespaces::Named(vec!["default".parse().unwrap()]);
    let one = Host::open(KubernetesSettings { namespaces: named, ..cluster.settings() }).await;
    assert_eq!(one.catalog.snapshot().await.unwrap().modules.len(), 0);
}

#[tokio::test]
async fn every_field_of_a_version_comes_back_from_the_cluster() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    let mut full = publication("m", "1.2.3-RC.1", "a");
    full.record.spec = roadstead_domain::ModuleSpec::parse(
        include_str!("full.yaml"),
        roadstead_domain::SpecFormat::Yaml,
    )
    .unwrap();
    full.record.size = 1 << 40;
    host.catalog.publish(full.clone()).await.unwrap();
    let other = cluster.host().await;
    let snapshot = other.catalog.snapshot().await.unwrap();
    let module = &snapshot.modules[&(Namespace::default(), name("m"))];
    assert_eq!(*module.versions[&full.record.version], full.record);
    let objects: kube::Api<ModuleVersion> = kube::Api::default_namespaced(cluster.client().await);
    let object = roadstead_k8s_api::version_object(&name("m"), &full.record.version);
    assert_eq!(objects.get(&object).await.unwrap().spec.version, full.record.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_kinds_come_to_at_once_is_of_one() {
    let cluster = Cluster::take().await;
    let hosts = [cluster.host().await, cluster.host().await];
    for round in 0..4 {
        let module = format!("m{round}");
        let push = |host: usize, publication: Publication| {
            let catalog = hosts[host].catalog.clone();
            tokio::spawn(async move { catalog.publish(publication).await })
        };
        let plain = push(0, publication(&module, "0.1.0", "a"));
        let native = push(1, native(&module, "0.1.0", "a"));
        let (plain, native) = (plain.await.unwrap(), native.await.unwrap());
        let refused = match (plain, native) {
            (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
            both => panic!("{both:?}"),
        };
        assert!(matches!(refused, CatalogError::NameTaken { .. }), "{refused:?}");
        for host in &hosts {
            shows(&host.catalog, &module, &["0.1.0"]).await;
        }
    }
    let kinds = "modules,moduleversions,nativemodules,nativemoduleversions";
    let objects = cluster.kubectl(&["get", kinds, "-o", "name"], "").unwrap();
    assert_eq!(objects.lines().count(), 8, "{objects}");
}

#[tokio::test]
async fn by_hand_the_older_module_keeps_its_name() {
    let cluster = Cluster::take().await;
    let host = cluster.host().await;
    let client = cluster.client().await;
    host.catalog.publish(native("m", "0.1.0", "a")).await.unwrap();
    let object = cluster.kubectl(&["get", "nativemoduleversion", "m-0.1.0", "-o", "json"], "");
    let object: serde_json::Value = serde_json::from_str(&object.unwrap()).unwrap();
    let owner = &object["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["name"]), (&"NativeModule".into(), &"m".into()));
    let api: kube::Api<roadstead_k8s_api::Module> = kube::Api::namespaced(client, "default");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let module = roadstead_k8s_api::Module::new("m", roadstead_k8s_api::ModuleSpec::default());
    api.create(&kube::api::PostParams::default(), &module).await.unwrap();
    let other = cluster.host().await;
    for catalog in [&host.catalog, &other.catalog] {
        shows(catalog, "m", &["0.1.0"]).await;
        let refused = catalog.publish(publication("m", "0.2.0", "b")).await.unwrap_err();
        assert!(matches!(refused, CatalogError::NameTaken { native: true, .. }), "{refused:?}");
    }
    // Deleted by name is the one that keeps it; the other has it then.
    let default = Namespace::default();
    host.catalog.delete(&default, &name("m"), None).await.unwrap();
    host.catalog.publish(publication("m", "0.2.0", "b")).await.unwrap();
    shows(&other.catalog, "m", &["0.2.0"]).await;
}
