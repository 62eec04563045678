//! Rollouts from end to end, with hosts that report over their streams.

use roadstead_proto::v1::VersionState;
use serde_json::{Value, json};

use crate::{
    control_plane::{Cluster, until},
    support::{Host, Objects, Running, addresses, module_comes, shares},
};

/// Three steps of a second each.
fn spec(more: Value) -> Value {
    let mut rollout = json!({
        "steps": [10, 50, 100], "interval": "1s", "minimumCalls": 10, "maxFailureRatio": 0.1,
    });
    if let Some(more) = more.as_object() {
        rollout.as_object_mut().unwrap().extend(more.clone());
    }
    json!({"rollout": rollout})
}

/// Version 0.1.0 answers, and 0.2.0 is pushed and ready.
async fn begun(objects: &Objects, host: &Host) {
    objects.module("m", spec(Value::Null)).await;
    host.is("0.1.0", VersionState::Ready);
    objects.version("m", "0.1.0", json!({})).await;
    module_comes(objects, "m", "Ready", "Answering").await;
    host.is("0.2.0", VersionState::Ready);
    objects.version("m", "0.2.0", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_version_goes_step_by_step_and_a_bad_one_back() {
    let cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    let controller = Running::start(&cluster, "a").await;
    let host = Host::start("one", addresses(&[&controller]));
    begun(&objects, &host).await;
    until("the first step", || async {
        objects.serving().await == shares(&[("0.1.0", 90), ("0.2.0", 10)])
    })
    .await;
    until("hosts hear of it", || async {
        host.shares() == [("0.1.0".to_owned(), 90), ("0.2.0".to_owned(), 10)]
    })
    .await;
    module_comes(&objects, "m", "Progressing", "TooFewCalls").await;
    host.busy("0.2.0", 5, 0);
    until("all steps", || async { objects.phase().await == "Completed 2" }).await;
    until("hosts hear of that too", || async { host.shares() == [("0.2.0".to_owned(), 100)] })
        .await;
    until("events tell of it", || async {
        let told = objects.events().await;
        let count = |reason: &str| told.iter().filter(|one| *one == reason).count();
        (count("RolloutBegun"), count("RolloutStep"), count("RolloutCompleted")) == (1, 2, 1)
    })
    .await;

    host.is("0.3.0", VersionState::Ready);
    host.busy("0.3.0", 5, 3);
    objects.version("m", "0.3.0", json!({})).await;
    until("it is taken back", || async { objects.phase().await == "RolledBack 0" }).await;
    assert_eq!(objects.serving().await, shares(&[("0.2.0", 100)]));
    module_comes(&objects, "m", "Degraded", "RolledBack").await;
    until("hosts hear of it", || async { host.shares() == [("0.2.0".to_owned(), 100)] }).await;

    let promote = json!({"decision": {"version": "0.3.0", "action": "Promote"}});
    objects.module("m", spec(promote)).await;
    until("it is promoted", || async { objects.serving().await == shares(&[("0.3.0", 100)]) })
        .await;
    objects.change("m", json!({"rollout": null})).await;
    until("without a rollout the newest answers", || async { host.shares().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_is_killed_at_any_step_is_followed_by_another() {
    let cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    let mut controller = Running::start(&cluster, "c0").await;
    let known = addresses(&[&controller]);
    let host = Host::start("one", std::sync::Arc::clone(&known));
    begun(&objects, &host).await;
    let steps = ["Progressing 0", "Progressing 1", "Progressing 2"];
    for (number, step) in steps.into_iter().enumerate() {
        until(step, || async { objects.phase().await == step }).await;
        // Killed within the step, nothing given back.
        drop(controller);
        controller = Running::start(&cluster, &format!("c{}", number + 1)).await;
        *known.lock().unwrap() = vec![controller.address];
        until("the next one leads", || async { controller.leads() }).await;
        assert_eq!(objects.phase().await, step, "no step is skipped");
        module_comes(&objects, "m", "Progressing", "TooFewCalls").await;
        host.busy("0.2.0", 5, 0);
        until("it goes on", || async { objects.phase().await != step }).await;
        host.busy("0.2.0", 0, 0);
    }
    until("it ends the same", || async { objects.phase().await == "Completed 2" }).await;
    assert_eq!(objects.serving().await, shares(&[("0.2.0", 100)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_takes_over_rolls_back_too() {
    let cluster = Cluster::take().await;
    let objects = Objects::new(&cluster).await;
    let first = Running::start(&cluster, "c0").await;
    let known = addresses(&[&first]);
    let host = Host::start("one", std::sync::Arc::clone(&known));
    begun(&objects, &host).await;
    until("the first step", || async { objects.phase().await == "Progressing 0" }).await;
    drop(first);
    let second = Running::start(&cluster, "c1").await;
    *known.lock().unwrap() = vec![second.address];
    host.busy("0.2.0", 5, 5);
    until("it is taken back", || async { objects.phase().await == "RolledBack 0" }).await;
    assert_eq!(objects.serving().await, shares(&[("0.1.0", 100)]));
}
