//! Calls that versions share, over the wire: who answers, what is counted, what is shown.

use std::collections::BTreeMap;

use bytes::Bytes;
use roadstead_domain::{Namespace, Traffic};
use roadstead_proto::v1::{
    GetModuleRequest, GetRolloutRequest, RolloutAction, UpdateRolloutRequest,
    module_service_client::ModuleServiceClient,
};
use tonic::{Code, Request, client::Grpc, transport::Channel};

use crate::{
    guest,
    sessions::{Client, publish},
    support::{Host, call, call_with, failure},
};

async fn steer(host: &Host, name: &str, revision: u64, shares: &[(&str, u8)]) {
    let shares = shares.iter().map(|(version, percent)| (version.parse().unwrap(), *percent));
    let traffic = Traffic::new(revision, shares).unwrap();
    host.registry.steer(vec![(Namespace::default(), name.parse().unwrap(), traffic)]).await;
}

/// A host with two versions of the guest, of which the newer gets 5 of 100 calls.
async fn shared() -> (Host, Channel) {
    let host = Host::start().await;
    host.push("guest", "version: 0.1.0").await;
    host.push("guest", "version: 0.2.0").await;
    steer(&host, "guest", 1, &[("0.1.0", 95), ("0.2.0", 5)]).await;
    let channel = host.channel().await;
    (host, channel)
}

fn answered<T>(response: &tonic::Response<T>) -> String {
    response.metadata().get("roadstead-module").unwrap().to_str().unwrap().to_owned()
}

/// Calls that ended and failures, by version.
fn outcomes(host: &Host) -> Vec<(u64, u64)> {
    let module = host.registry.get(&Namespace::default(), &"guest".parse().unwrap()).unwrap();
    module.versions.values().map(|live| live.outcomes().read()).collect()
}

#[tokio::test]
async fn five_of_a_hundred_calls_are_five() {
    let (host, channel) = shared().await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..200 {
        let answer = call(&channel, "Add", vec![0x08, 2, 0x10, 3]).await.unwrap();
        *counts.entry(answered(&answer)).or_default() += 1;
    }
    let expected = [("guest@0.1.0", 190), ("guest@0.2.0", 10)];
    assert_eq!(counts, expected.map(|(version, count)| (version.to_owned(), count)).into());
    assert_eq!(outcomes(&host), [(190, 0), (10, 0)]);
    host.stop().await;
}

#[tokio::test]
async fn outcomes_count_what_the_version_is_to_blame_for() {
    let (host, channel) = shared().await;
    steer(&host, "guest", 2, &[("0.2.0", 100)]).await;
    let of = async |module: &str, method: &str, message: &[u8]| {
        let mut request = Request::new(Bytes::copy_from_slice(message));
        request.metadata_mut().insert("roadstead-module", module.parse().unwrap());
        call_with(Grpc::new(channel.clone()), &guest::path(method), request).await
    };
    let on = async |method: &str, message: &[u8]| of("guest", method, message).await;
    on("Add", &[0x08, 2, 0x10, 3]).await.unwrap();
    assert_eq!(outcomes(&host), [(0, 0), (1, 0)]);
    assert_eq!(failure(on("Trap", b"").await).1, "GUEST_TRAP");
    assert_eq!(outcomes(&host), [(0, 0), (2, 1)]);
    assert_eq!(failure(on("Add", b"\xff").await).1, "BAD_INPUT");
    assert_eq!(outcomes(&host), [(0, 0), (3, 1)]);
    // A caller that leaves counts for nothing.
    let left = tokio::time::timeout(std::time::Duration::from_millis(200), on("Spin", b"")).await;
    assert!(left.is_err());
    on("Add", &[0x08, 2, 0x10, 3]).await.unwrap();
    assert_eq!(outcomes(&host), [(0, 0), (4, 1)]);
    // Whoever names a version goes past the split, and counts for nothing in it.
    assert_eq!(failure(of("guest@0.2.0", "Trap", b"").await).1, "GUEST_TRAP");
    assert_eq!(failure(of("guest@0.1.0", "Trap", b"").await).1, "GUEST_TRAP");
    assert_eq!(outcomes(&host), [(0, 0), (4, 1)]);
    host.stop().await;
}

#[tokio::test]
async fn sessions_stay_and_take_no_turns_of_others() {
    let host = Host::start().await;
    for version in ["0.1.0", "0.1.10"] {
        publish(&host, "count", version).await;
    }
    let client = Client(host.channel().await);
    steer(&host, "count", 1, &[("0.1.0", 100)]).await;
    let old = client.create().await;
    steer(&host, "count", 2, &[("0.1.0", 20), ("0.1.10", 80)]).await;
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for n in 1..=100_u8 {
        let (said, module, _) = client.next(&old).await;
        assert_eq!((said, module.as_str()), (n, "count@0.1.0"));
        let handle = client.create().await;
        let (_, module, _) = client.next(&handle).await;
        *made.entry(module).or_default() += 1;
        client.call("Drop", &handle).await.unwrap();
    }
    let expected = [("count@0.1.0", 20), ("count@0.1.10", 80)];
    assert_eq!(made, expected.map(|(version, count)| (version.to_owned(), count)).into());
    host.stop().await;
}

#[tokio::test]
async fn what_is_told_of_a_module_shows_who_gets_how_much() {
    let (host, channel) = shared().await;
    let pushed = host.push("guest", "version: 0.3.0").await;
    assert!(pushed.waits);
    let mut client = ModuleServiceClient::new(channel);
    let request = GetModuleRequest { name: "guest".to_owned() };
    let module = client.get_module(request).await.unwrap().into_inner().module.unwrap();
    let percents: Vec<_> = module.versions.iter().map(|version| version.percent).collect();
    assert_eq!(percents, [0, 5, 95]);
    steer(&host, "guest", 2, &[]).await;
    assert!(!host.push("guest", "version: 0.4.0").await.waits);
    host.stop().await;
}

#[tokio::test]
async fn a_host_of_its_own_moves_no_calls_and_says_so() {
    let host = Host::with_guest().await;
    let mut client = ModuleServiceClient::new(host.channel().await);
    let unsupported = (Code::FailedPrecondition, "ROLLOUT_UNSUPPORTED".to_owned());
    let name = || "guest".to_owned();
    let asked = client.get_rollout(GetRolloutRequest { name: name() }).await;
    assert_eq!(failure(asked), unsupported);
    let mut pause = UpdateRolloutRequest { name: name(), ..Default::default() };
    let none = client.update_rollout(pause.clone()).await;
    assert_eq!(failure(none), (Code::InvalidArgument, "BAD_INPUT".to_owned()));
    pause.set_action(RolloutAction::Pause);
    assert_eq!(failure(client.update_rollout(pause).await), unsupported);
    host.stop().await;
}
