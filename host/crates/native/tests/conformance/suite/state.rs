//! Modules with a state.

use bytes::Bytes;
use roadstead_engine::NativeState;

use crate::{
    stage::{Backend, Program, Stage, until},
    wire::Number,
};

pub(crate) async fn what_is_durable_outlives_its_server(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Counter, "idle: 1s", "");
    for count in 1..=3 {
        assert_eq!(stage.answer::<Number>("step", Bytes::new()).await.value, count);
    }
    let first = stage.ready(1).await[0];
    backend.signal(first, "KILL").await;
    until("the first is gone", || stage.epochs(&NativeState::Ready) != [first]).await;
    assert_eq!(stage.answer::<Number>("step", Bytes::new()).await.value, 4);
    stage.becomes(NativeState::Idle).await;
    assert_eq!(stage.answer::<Number>("step", Bytes::new()).await.value, 5);
}

pub(crate) async fn two_attempts_never_overlap(backend: &impl Backend) {
    let one = Stage::run(backend, Program::Counter, "grace: 20s", "");
    assert_eq!(one.answer::<Number>("step", Bytes::new()).await.value, 1);
    let first = one.ready(1).await[0];
    let two = Stage::version(backend, "2.0.0", Program::Counter, "", "");
    two.wanted(std::slice::from_ref(&two.id.version));
    assert_eq!(two.answer::<Number>("step", Bytes::new()).await.value, 2);
    assert_eq!(one.state(), NativeState::Off);
    assert_eq!(two.ready(1).await, [first + 1]);
    let notes = backend.state(&one.id, "notes").await.unwrap();
    let epochs: Vec<u64> =
        notes.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    // What the first did, its last commit among it, is before all that the second did.
    assert!(epochs.is_sorted(), "{notes}");
    let commits = notes.lines().filter(|line| line.starts_with(&format!("{first} commits")));
    assert_eq!(commits.count(), 2, "one of its call, one of its end: {notes}");
}
