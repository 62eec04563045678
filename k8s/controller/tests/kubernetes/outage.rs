//! An API server that goes away and comes back.

use roadstead_proto::v1::VersionState;
use serde_json::json;

use crate::{
    control_plane::{Cluster, until},
    support::{Host, Objects, Running, addresses, module_comes},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_api_server_nothing_is_led_and_with_it_all_goes_on() {
    let mut cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    let controller = Running::start(&cluster, "a").await;
    let host = Host::start("one", addresses(&[&controller]));
    host.is("0.1.0", VersionState::Ready);
    objects.module("m", json!({})).await;
    objects.version("m", "0.1.0", json!({})).await;
    module_comes(&objects, "m", "Ready", "Answering").await;
    cluster.stop_api();
    until("it leads no more", || async { !controller.leads() }).await;
    until("it is not ready", || async { controller.get("/readyz").await.0 == 503 }).await;
    assert_eq!(controller.get("/healthz").await.0, 200);
    cluster.start_api().await;
    until("it leads again", || async { controller.leads() }).await;
    until("it is ready", || async { controller.get("/readyz").await.0 == 200 }).await;
    host.is("0.2.0", VersionState::Ready);
    let objects = Objects::new(&cluster).await;
    objects.version("m", "0.2.0", json!({})).await;
    until("it goes on", || async { objects.serving().await == [("0.2.0".to_owned(), 100)] }).await;
}
