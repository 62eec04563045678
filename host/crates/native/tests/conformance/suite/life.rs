//! From a server's start to its end.

use bytes::Bytes;
use roadstead_domain::Fault;
use roadstead_engine::{CodeState, NativeState, Response};

use crate::{
    stage::{Backend, Program, Stage, rest, until},
    wire::{Data, Number, data, number, read, text},
};

pub(crate) async fn a_server_starts_answers_and_streams(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Probe, "concurrent: ['*']", "");
    // A call waits for the server.
    let answer: Data = stage.answer("echo", data("text")).await;
    assert_eq!(answer.value, "text");
    assert_eq!((stage.state(), stage.module.code()), (NativeState::Ready, CodeState::There));

    let large = vec![7; 1 << 20];
    let answer: Data = stage.answer("echo", data(large.clone())).await;
    assert_eq!(answer.value, large);

    let (requests, responses) = stage.open("count", number(1000));
    requests.finish();
    let (messages, end) = rest(responses).await;
    assert_eq!((messages.len(), end), (1000, Ok(())));
    assert_eq!(read::<Number>(&messages[999]).value, 1000);

    // The parameters, of which there are none, then items.
    let (mut requests, mut responses) = stage.open("sums", Bytes::new());
    requests.send(Bytes::from_static(&[0x0a, 0])).await.unwrap();
    for (item, sum) in [(1, 1), (2, 3), (3, 6)] {
        requests.send(Bytes::from(vec![0x10, item])).await.unwrap();
        match responses.next().await {
            Response::Message(message) => assert_eq!(read::<Number>(&message).value, sum),
            Response::End(end) => panic!("{end:?}"),
        }
    }
    requests.finish();
    assert_eq!(rest(responses).await, (Vec::new(), Ok(())));
}

pub(crate) async fn a_server_that_is_killed_is_begun_again(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Probe, "concurrent: ['*']", "");
    stage.ready(1).await;
    let first = stage.who().await.epoch;
    backend.signal(first, "KILL").await;
    until("there is another", || {
        stage.epochs(&NativeState::Ready).iter().any(|epoch| *epoch > first)
    })
    .await;
    assert!(stage.who().await.epoch > first);
    let ended = backend.natives().standing(&stage.id).attempts;
    let how = ended.iter().find(|one| one.epoch == first).unwrap();
    let NativeState::Failed(why) = &how.state else { panic!("{how:?}") };
    assert!(why.contains("signal 9"), "{why}");
}

pub(crate) async fn a_server_that_is_stopped_is_noticed(backend: &impl Backend) {
    let native = "probes: {period: 200ms, failures: 2}, concurrent: ['*']";
    let stage = Stage::run(backend, Program::Probe, native, "");
    let first = stage.ready(1).await[0];
    backend.signal(first, "STOP").await;
    // A call that finds it stopped is not left hanging.
    let broken = stage.call("echo", data("x")).await;
    assert!(matches!(broken, Err(Fault::Interrupted(_)) | Ok(_)), "{broken:?}");
    until("there is another", || {
        stage.epochs(&NativeState::Ready).iter().any(|epoch| *epoch > first)
    })
    .await;
    let ended = backend.natives().standing(&stage.id).attempts;
    let how = &ended.iter().find(|one| one.epoch == first).unwrap().state;
    assert!(matches!(how, NativeState::Failed(why) if why.contains("probes")), "{how:?}");
}

pub(crate) async fn a_server_that_is_stuck_is_noticed(backend: &impl Backend) {
    let native = "probes: {period: 100ms, progress: 500ms}, concurrent: ['*']";
    let stage = Stage::run(backend, Program::Probe, native, "limits: {deadline: 60s}");
    let first = stage.ready(1).await[0];
    let hung = stage.call("fail", text("hang")).await;
    assert!(matches!(hung, Err(Fault::Interrupted(_))), "{hung:?}");
    until("it ended for that", || {
        let attempts = backend.natives().standing(&stage.id).attempts;
        let how = &attempts.iter().find(|one| one.epoch == first).unwrap().state;
        matches!(how, NativeState::Failed(why) if why.contains("stuck"))
    })
    .await;
    stage.ready(1).await;
}

pub(crate) async fn an_idle_server_ends_and_a_call_begins_the_next(backend: &impl Backend) {
    let native = "idle: 300ms, concurrent: ['*']";
    let stage = Stage::run(backend, Program::Probe, native, "");
    until("it was ready", || stage.state() == NativeState::Ready).await;
    stage.becomes(NativeState::Idle).await;
    assert_eq!(stage.module.code(), CodeState::Missing);
    let first = stage.who().await.epoch;
    stage.becomes(NativeState::Idle).await;
    // Many at once begin one server.
    let calls = (0..10).map(|_| stage.who());
    let epochs: Vec<_> =
        futures::future::join_all(calls).await.iter().map(|who| who.epoch).collect();
    assert!(epochs.iter().all(|epoch| *epoch == first + 1), "{epochs:?}");
    // One that comes while the server ends gets the next.
    until("it ends", || stage.state() != NativeState::Ready).await;
    assert!(stage.who().await.epoch > first);
}

pub(crate) async fn a_call_that_runs_is_finished_when_its_server_ends(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Probe, "concurrent: ['*']", "");
    stage.ready(1).await;
    let calls = futures::future::join(stage.call("wait", number(6000)), async {
        stage.waits().await;
        stage.wanted(&[]);
        until("it ends", || stage.state() == NativeState::Draining).await;
        stage.call("echo", data("x")).await
    });
    let (finished, refused) = calls.await;
    assert_eq!(read::<Number>(&finished.unwrap()).value, 1);
    assert!(matches!(refused, Err(Fault::NotReady(_))), "{refused:?}");
    stage.becomes(NativeState::Off).await;
}

pub(crate) async fn another_version_is_ready_before_the_first_one_ends(backend: &impl Backend) {
    let one = Stage::run(backend, Program::Probe, "concurrent: ['*']", "");
    one.ready(1).await;
    let two = Stage::version(backend, "2.0.0", Program::Probe, "concurrent: ['*']", "");
    two.wanted(std::slice::from_ref(&two.id.version));
    // The old one answers until the new one does.
    until("the new one is ready", || {
        let states = (two.state(), one.state());
        assert!(
            states.0 == NativeState::Ready || matches!(states.1, NativeState::Ready),
            "{states:?}"
        );
        states.0 == NativeState::Ready
    })
    .await;
    one.becomes(NativeState::Off).await;
    assert_eq!(two.who().await.module, "probe@2.0.0");
}

pub(crate) async fn a_version_that_is_not_to_run_says_so(backend: &impl Backend) {
    let one = Stage::run(backend, Program::Probe, "concurrent: ['*']", "");
    let two = Stage::version(backend, "2.0.0", Program::Probe, "concurrent: ['*']", "");
    one.ready(1).await;
    let refused = two.call("echo", data("x")).await;
    let Err(Fault::NotReady(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("pin"), "{why}");
    assert_eq!(two.state(), NativeState::Off);
}

pub(crate) async fn replicas_share_calls_and_stand_in_for_each_other(backend: &impl Backend) {
    let native = "replicas: 2, idempotent: ['*']";
    let stage = Stage::run(backend, Program::Probe, native, "");
    let epochs = stage.ready(2).await;
    // Methods that run alone run alone on each of them.
    let calls = [stage.call("wait", number(500)), stage.call("wait", number(500))];
    for answer in futures::future::join_all(calls).await {
        assert_eq!(read::<Number>(&answer.unwrap()).value, 1);
    }
    backend.signal(epochs[0], "KILL").await;
    for _ in 0..20 {
        assert_eq!(stage.answer::<Data>("echo", data("x")).await.value, "x");
    }
    stage.ready(2).await;
}

pub(crate) async fn servers_that_fail_are_begun_ever_more_seldom(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Liar("crash"), "activation_timeout: 300ms", "");
    let why = stage.failed().await;
    assert!(why.contains("status 1: see the module's log"), "{why}");
    // What it said is in its log, for whoever may look.
    until("it is in the log", || {
        let lines = backend.engine().logs().tail(&stage.id.namespace, &stage.id.name, 100);
        lines.iter().any(|line| line.text.contains("I do not want to"))
    })
    .await;
    until("the waits are longer", || backend.natives().standing(&stage.id).attempts.len() >= 4)
        .await;
    let refused = stage.call("echo", data("x")).await;
    let Err(Fault::NotReady(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("see its log") || why.contains("300 ms"), "{why}");
}

pub(crate) async fn kill_in_every_state_comes_to_the_same_end(backend: &impl Backend) {
    // A loaded machine answers probes late.
    let native = "idle: 1h, concurrent: ['*'], grace: 2m, probes: {failures: 100}";
    let stage = Stage::run(backend, Program::Probe, native, "limits: {deadline: 5m}");
    // While it starts.
    until("it starts", || !stage.epochs(&NativeState::Starting).is_empty()).await;
    let starting = stage.epochs(&NativeState::Starting)[0];
    backend.signal(starting, "KILL").await;
    let ready = stage.ready(1).await[0];
    assert!(ready > starting);
    // While it is ready, with a call.
    let calls = futures::future::join(stage.call("wait", number(300_000)), async {
        stage.waits().await;
        backend.signal(ready, "KILL").await;
    });
    let (broken, ()) = calls.await;
    assert!(matches!(broken, Err(Fault::Interrupted(_))), "{broken:?}");
    let others = || stage.epochs(&NativeState::Ready).into_iter().find(|one| *one != ready);
    until("there is another", || others().is_some()).await;
    let next = others().unwrap();
    // While it ends.
    let calls = futures::future::join(stage.call("wait", number(300_000)), async {
        stage.waits().await;
        stage.wanted(&[]);
        until("it ends", || stage.state() == NativeState::Draining).await;
        backend.signal(next, "KILL").await;
    });
    let (broken, ()) = calls.await;
    assert!(matches!(broken, Err(Fault::Interrupted(_))), "{broken:?}");
    stage.becomes(NativeState::Off).await;
}
