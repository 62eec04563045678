//! One replica leads.

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use roadstead_controller::Role;
use serde_json::json;
use tonic::Code;

use crate::{
    control_plane::{Cluster, until},
    support::{Objects, Running, hello, module_comes, open},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_one_leads_and_the_other_follows_until_it_is_gone() {
    let cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    let first = Running::start(&cluster, "first").await;
    until("it leads", || async { first.leads() }).await;
    let second = Running::start(&cluster, "second").await;
    until("the other follows", || async { second.leadership.role() == Role::Follows }).await;
    until("both are ready", || async {
        first.get("/readyz").await.0 == 200 && second.get("/readyz").await.0 == 200
    })
    .await;
    assert!(second.get("/metrics").await.1.contains("roadstead_controller_leader 0"));
    objects.module("m", json!({})).await;
    module_comes(&objects, "m", "Ready", "NoVersion").await;
    assert_eq!((second.writes(), second.leads()), (0, false));
    let refused = open(second.address).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);

    // The one that leads is told to stop: streams end, and the lease is free at once.
    until("streams are served", || async { open(first.address).await.is_ok() }).await;
    let (to, mut from) = open(first.address).await.unwrap();
    to.send(hello("one")).await.unwrap();
    from.message().await.unwrap().unwrap();
    first.stop().await;
    let end = loop {
        match from.message().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(status) => break Some(status.code()),
        }
    };
    assert_eq!(end, Some(Code::Unavailable));
    until("the other leads", || async { second.leads() }).await;
    objects.module("n", json!({})).await;
    module_comes(&objects, "n", "Ready", "NoVersion").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_the_lease_writes_nothing_more() {
    let cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    let controller = Running::start(&cluster, "a").await;
    until("it leads", || async { controller.leads() }).await;
    let leases: Api<Lease> = Api::namespaced(cluster.client().await, "default");
    let spec = json!({"spec": {"holderIdentity": "someone-else", "leaseDurationSeconds": 8}});
    let patch = Patch::Merge(spec);
    leases.patch("controller", &PatchParams::default(), &patch).await.unwrap();
    until("it follows", || async { controller.leadership.role() == Role::Follows }).await;
    let before = controller.writes();
    objects.module("m", json!({})).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(
        (controller.writes(), objects.module_says("m", "Ready").await),
        (before, String::new())
    );
    // Nobody renews that lease, so it is taken back.
    until("it leads again", || async { controller.leads() }).await;
    module_comes(&objects, "m", "Ready", "NoVersion").await;
}
