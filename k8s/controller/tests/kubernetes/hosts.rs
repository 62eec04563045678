//! Hosts' streams: who may open one, and what a bad one brings upon itself.

use std::time::Duration;

use roadstead_controller::Role;
use roadstead_proto::v1::{
    HostReport, VersionReport, VersionState, fleet_service_client::FleetServiceClient,
};
use serde_json::json;
use tonic::{Code, Status, Streaming};

use crate::{
    control_plane::{Cluster, until},
    support::{
        Authority, Host, Objects, Running, addresses, channel, hello, module_comes, open, report,
    },
};

async fn end<T>(mut from: Streaming<T>) -> Option<Status> {
    loop {
        match from.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_hosts_with_certificates_get_in_and_each_has_one_stream() {
    let cluster = Cluster::take().await;
    let controller = Running::start(&cluster, "a").await;
    until("it leads", || async { matches!(controller.leadership.role(), Role::Leads(_)) }).await;
    until("streams are served", || async { open(controller.address).await.is_ok() }).await;
    let stranger = Authority::new("stranger").sign();
    for shown in [None, Some(stranger)] {
        let channel = channel(controller.address, shown).await;
        let nothing = tokio_stream::iter([]);
        assert!(FleetServiceClient::new(channel).sync(nothing).await.is_err());
    }

    let (first, mut from_first) = open(controller.address).await.unwrap();
    first.send(hello("one")).await.unwrap();
    let told = from_first.message().await.unwrap().unwrap();
    assert_eq!(told.report_interval_ms, 1000);
    let (second, mut from_second) = open(controller.address).await.unwrap();
    second.send(hello("one")).await.unwrap();
    from_second.message().await.unwrap().unwrap();
    assert_eq!(end(from_first).await.unwrap().code(), Code::Aborted);

    // A hello that is none, a second one, and a report that is none.
    let broken = HostReport { versions: vec![VersionReport::default()], ..HostReport::default() };
    for bad in [
        vec![report(HostReport::default())],
        vec![hello("NOT A NAME")],
        vec![hello("two"), hello("two")],
        vec![hello("two"), report(broken)],
    ] {
        let (to, from) = open(controller.address).await.unwrap();
        for request in bad {
            to.send(request).await.unwrap();
        }
        assert_eq!(end(from).await.unwrap().code(), Code::InvalidArgument);
    }
    // A message that is too large.
    let (to, from) = open(controller.address).await.unwrap();
    to.send(hello("two")).await.unwrap();
    let namespaces = vec!["x".repeat(1 << 20); 9];
    to.send(report(HostReport { namespaces, ..HostReport::default() })).await.unwrap();
    assert!(matches!(end(from).await.unwrap().code(), Code::OutOfRange | Code::ResourceExhausted));
    // All that left the one that behaves alone.
    second.send(report(HostReport::default())).await.unwrap();
    let more = tokio::time::timeout(Duration::from_millis(500), from_second.message()).await;
    assert!(more.is_err(), "its stream goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_noticed() {
    let cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    let controller = Running::start(&cluster, "a").await;
    let one = Host::start("one", addresses(&[&controller]));
    let two = Host::start("two", addresses(&[&controller]));
    one.is("0.1.0", VersionState::Ready);
    objects.module("m", json!({})).await;
    objects.version("m", "0.1.0", json!({})).await;
    module_comes(&objects, "m", "Ready", "Answering").await;
    drop(two);
    until("an event tells of it", || async {
        objects.events().await.contains(&"HostsSilent".to_owned())
    })
    .await;
    assert_eq!(objects.module_says("m", "Ready").await, "Answering");
    drop(one);
    module_comes(&objects, "m", "Ready", "HostsSilent").await;
    let back = Host::start("one", addresses(&[&controller]));
    back.is("0.1.0", VersionState::Ready);
    module_comes(&objects, "m", "Ready", "Answering").await;
}
