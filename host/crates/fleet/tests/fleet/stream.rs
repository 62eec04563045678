//! What goes over a stream, both ways.

use roadstead_domain::{Fault, Namespace};
use roadstead_fleet::Judgement;
use roadstead_proto::v1::{HostReport, SyncResponse, VersionState};
use tonic::Status;

use crate::{
    controller::{Authority, Controller, Talking, split, splits},
    host::{Host, module},
};

/// Versions that a report tells of.
fn versions(report: &HostReport) -> Vec<String> {
    let key = |key: Option<&roadstead_proto::v1::VersionKey>| key.unwrap().version.clone();
    let mut versions: Vec<_> = report.versions.iter().map(|one| key(one.key.as_ref())).collect();
    versions.sort();
    versions
}

/// A host with two versions of `m`, its controller, and their stream after the first report.
async fn connected() -> (Host, Controller, Talking, Authority) {
    let authority = Authority::new();
    let mut controller = Controller::start(&authority, &authority).await;
    let host = Host::of(&controller, &authority).await;
    let mut stream = controller.stream().await;
    stream.hello().await;
    stream.report().await;
    for more in 0..2 {
        host.push("m", more).await;
    }
    (host, controller, stream, authority)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_says_who_it_is_then_all_then_what_changed() {
    let authority = Authority::new();
    let mut controller = Controller::start(&authority, &authority).await;
    let host = Host::of(&controller, &authority).await;
    let mut stream = controller.stream().await;
    let hello = stream.hello().await;
    assert_eq!((hello.host.as_str(), hello.pool.as_str()), ("host-0", "pool"));
    assert_eq!((hello.release.as_str(), hello.started_unix_ms), ("0.1.0", 7));
    assert_eq!(hello.fingerprint, "engine");
    let first = stream.report().await;
    assert_eq!((versions(&first), first.current), (Vec::new(), true));
    assert_eq!(first.namespaces, ["default"]);
    assert_eq!(first.load.unwrap().connections, 3);

    // A new version is told at once, though nobody asked for counters yet.
    host.push("m", 0).await;
    let report = stream.report().await;
    assert_eq!(versions(&report), ["0.1.0"]);
    assert_eq!(report.versions[0].state(), VersionState::Ready);
    assert_eq!(report.revision, host.registry.routes().revision());
    host.push("m", 1).await;
    assert_eq!(versions(&stream.report().await), ["0.1.1"]);

    // Counters at the interval that the controller says.
    let found = host.registry.get(&Namespace::default(), &module("m")).unwrap();
    let outcomes = found.versions.values().next().unwrap().outcomes();
    outcomes.count(None);
    outcomes.count(Some(&Fault::Host { log_id: String::new() }));
    stream.tell(splits(&[]));
    let report = stream.until(|report| !report.versions.is_empty()).await;
    assert_eq!(versions(&report), ["0.1.0"]);
    assert_eq!((report.versions[0].calls, report.versions[0].failures), (2, 1));

    let version = "0.1.1".parse().unwrap();
    host.registry.delete(&Namespace::default(), &module("m"), Some(&version)).await.unwrap();
    let report = stream.until(|report| !report.gone.is_empty()).await;
    assert_eq!(report.gone[0].version, "0.1.1");
    assert!(report.versions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn judgements_and_the_end_are_told_at_once() {
    let (host, _controller, mut stream, _authority) = connected().await;
    let judgement = Judgement {
        namespace: Namespace::default(),
        object: "m-0.9.0".to_owned(),
        uid: "u".to_owned(),
        reason: "BreaksContract",
        message: "it breaks".to_owned(),
    };
    host.seen.judgements.lock().push(judgement);
    host.seen.changes.send_replace(());
    let report = stream.until(|report| !report.judgements.is_empty()).await;
    let told = &report.judgements[0];
    assert_eq!((told.object.as_str(), told.reason.as_str()), ("m-0.9.0", "BreaksContract"));
    assert_eq!((told.uid.as_str(), told.message.as_str()), ("u", "it breaks"));
    *host.seen.draining.lock() = true;
    host.seen.changes.send_replace(());
    stream.until(|report| report.draining).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_does_what_it_is_told_and_nothing_older() {
    let (host, _controller, stream, _authority) = connected().await;
    stream.tell(splits(&[split("m", 20, &[("0.1.0", 100)])]));
    host.settles_to("m@0.1.0").await;
    stream.tell(splits(&[split("m", 19, &[("0.1.1", 100)])]));
    // Time enough to do it by mistake.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(host.answers(), "m@0.1.0");
    stream.tell(splits(&[split("m", 22, &[])]));
    host.settles_to("m@0.1.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_changes_nothing_and_hides_nothing() {
    let (host, _controller, mut stream, _authority) = connected().await;
    stream.tell(SyncResponse {
        splits: vec![
            split("Not A Name", 9, &[("0.1.0", 100)]),
            split("m", 30, &[("0.1.0", 99)]),
            split("m", 31, &[("zero", 100)]),
            split("m", 5, &[("0.1.0", 100)]),
        ],
        report_interval_ms: 1,
        ..SyncResponse::default()
    });
    host.settles_to("m@0.1.0").await;
    stream.report().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_controller_a_host_serves_on_and_comes_back_with_everything() {
    let (host, controller, mut stream, authority) = connected().await;
    stream.tell(splits(&[split("m", 20, &[("0.1.0", 100)])]));
    host.settles_to("m@0.1.0").await;
    stream.until(|report| report.versions.is_empty()).await;
    // A replica that leads no more says so.
    stream.refuse(Status::unavailable("another one leads"));
    drop(stream);
    let at = controller.stop().await;
    assert_eq!(host.answers(), "m@0.1.0");
    let mut controller = Controller::start_at(at, &authority, &authority).await;
    let mut stream = controller.stream().await;
    assert_eq!(stream.hello().await.host, "host-0");
    assert_eq!(versions(&stream.report().await), ["0.1.0", "0.1.1"]);
    assert_eq!(host.answers(), "m@0.1.0");
    // It says anew what it knows, which may be older than what the host knows.
    stream.tell(splits(&[split("m", 19, &[("0.1.1", 100)])]));
    stream.tell(splits(&[split("m", 21, &[("0.1.0", 50), ("0.1.1", 50)])]));
    for _ in 0..6000 {
        let answers: Vec<_> = (0..100).map(|_| host.answers()).collect();
        if answers.iter().filter(|label| *label == "m@0.1.1").count() == 50 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the newer split does not hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_controller_may_say_ends_the_stream() {
    let (host, mut controller, stream, _authority) = connected().await;
    let split = split("m", 20, &[("0.1.0", 100)]);
    stream.tell(SyncResponse { splits: vec![split; 50_001], ..SyncResponse::default() });
    let mut stream = controller.stream().await;
    stream.hello().await;
    assert_eq!(host.answers(), "m@0.1.1", "nothing of it was done");
}
