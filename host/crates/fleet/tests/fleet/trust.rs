//! Host and controller know each other, or nothing is said.

use std::time::Duration;

use crate::{
    controller::{Authority, Controller, split, splits},
    host::Host,
};

#[tokio::test(flavor = "multi_thread")]
async fn strangers_say_nothing_to_each_other() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    // One that the host does not trust, and one that does not trust the host.
    let mut foreign = Controller::start(&theirs, &ours).await;
    let mut wary = Controller::start(&ours, &theirs).await;
    let (_one, trusting) = ours.files(&ours);
    let (_other, same) = ours.files(&ours);
    let host = Host::with(&foreign, trusting).await;
    let other = Host::with(&wary, same).await;
    // Time for some attempts.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(foreign.is_alone() && wary.is_alone());
    // Nothing waits for a controller.
    for host in [&host, &other] {
        host.push("m", 0).await;
        assert_eq!(host.answers(), "m@0.1.0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_read_anew_for_every_attempt() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mut controller = Controller::start(&ours, &ours).await;
    let (_files, paths) = ours.files(&theirs);
    let host = Host::with(&controller, paths.clone()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(controller.is_alone());
    let (_good, renewed) = ours.files(&ours);
    std::fs::copy(&renewed.cert, &paths.cert).unwrap();
    std::fs::copy(&renewed.key, &paths.key).unwrap();
    let mut stream = controller.stream().await;
    stream.hello().await;
    host.push("m", 0).await;
    host.push("m", 1).await;
    stream.tell(splits(&[split("m", 9, &[("0.1.0", 100)])]));
    host.settles_to("m@0.1.0").await;
}
