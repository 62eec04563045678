//! Servers that lie: nobody but their callers notices, and those get typed errors.

use std::time::Duration;

use roadstead_domain::{Fault, LimitKind};
use roadstead_engine::{Call, CodeState, NativeState};

use crate::{
    stage::{Backend, Program, Stage, id, rest},
    wire::{Data, data, number},
};

const QUICK: &str = "activation_timeout: 500ms, probes: {startup: 4s, period: 500ms}, \
                     concurrent: ['*']";

async fn gone(stage: &Stage<'_, impl Backend>) {
    stage.wanted(&[]);
    crate::stage::until("it is gone", || {
        let standing = stage.backend.natives().standing(&stage.id);
        let live = |state: &NativeState| {
            matches!(state, NativeState::Starting | NativeState::Ready | NativeState::Draining)
        };
        !standing.attempts.iter().any(|one| live(&one.state))
    })
    .await;
}

pub(crate) async fn a_contract_that_is_not_kept_is_never_ready(backend: &impl Backend) {
    for (lie, says) in [
        ("missing-method", "Probe/Echo: is not served"),
        ("missing-service", "Probe: is not served"),
        ("streaming", "Echo: its responses are a stream"),
        ("field-number", "EchoRequest field 1: (data) is missing"),
        ("field-type", "EchoRequest field 1: is string, and should be bytes"),
        ("no-reflection", "its reflection"),
    ] {
        let stage = Stage::run(backend, Program::Liar(lie), QUICK, "");
        let why = stage.failed().await;
        assert!(why.starts_with("ContractMismatch: ") && why.contains(says), "{lie}: {why}");
        assert!(matches!(stage.module.code(), CodeState::Failed(_)), "{lie}");
        let refused = stage.call("echo", data("x")).await;
        let Err(Fault::NotReady(text)) = &refused else { panic!("{lie}: {refused:?}") };
        assert!(text.contains("ContractMismatch"), "{lie}: {text}");
        // It is not tried again.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(stage.backend.natives().standing(&stage.id).attempts.len(), 1, "{lie}");
        gone(&stage).await;
    }
}

pub(crate) async fn a_server_that_is_never_well_is_never_ready(backend: &impl Backend) {
    for (lie, says) in [
        ("never-serving", "does not serve yet"),
        ("wrong-socket", "nobody listens"),
        ("huge-reflection", "its reflection: it sent a message of"),
        ("linked-socket", "ROADSTEAD_SOCKET is not a socket"),
        ("deaf", "not ready within 4000 ms"),
        ("babble", "not ready within 4000 ms"),
        ("flood-at-once", "more control frames than its calls explain"),
        ("crash", "status 1"),
    ] {
        let stage = Stage::run(backend, Program::Liar(lie), QUICK, "");
        let refused = stage.call("echo", data("x")).await;
        assert!(matches!(refused, Err(Fault::NotReady(_))), "{lie}: {refused:?}");
        let why = stage.failed().await;
        assert!(why.contains(says), "{lie}: {why}");
        assert_ne!(stage.module.code(), CodeState::There, "{lie}");
        gone(&stage).await;
    }
    let stage = Stage::run(backend, Program::Liar("crash-when-ready"), QUICK, "");
    let why = stage.failed().await;
    assert!(why.contains("status 1"), "{why}");
}

pub(crate) async fn a_contract_is_compared_over_every_connection(backend: &impl Backend) {
    let lie = Program::Liar("'turn-away:missing-method'");
    let stage = Stage::run(backend, lie, "activation_timeout: 30s", "");
    stage.ready(1).await;
    let refused = stage.call("echo", data("turn away")).await;
    assert!(matches!(refused, Err(Fault::NotReady(_))), "{refused:?}");
    let why = stage.failed().await;
    assert!(why.contains("Probe/Echo: is not served"), "{why}");
}

pub(crate) async fn answers_that_lie_are_typed_errors(backend: &impl Backend) {
    for (lie, is_fine) in [
        ("status", trapped as fn(&Fault) -> bool),
        ("huge-headers", trapped),
        ("huge-trailers", trapped),
        (
            "huge-message",
            |fault| matches!(fault, Fault::Limit(reached) if reached.limit == LimitKind::Output),
        ),
        ("hang", |fault| matches!(fault, Fault::Deadline(_))),
        ("exit", |fault| matches!(fault, Fault::Interrupted(_))),
    ] {
        let native = format!("{QUICK}, probes: {{startup: 60s, period: 5s}}");
        let native = native.replacen("probes: {startup: 4s, period: 500ms}, ", "", 1);
        let stage = Stage::run(backend, Program::Liar(lie), &native, "");
        stage.ready(1).await;
        let call =
            Call { timeout: Some(Duration::from_secs(3)), ..stage.request("echo", data("x")) };
        let fault = stage.module.call(call).await.result.unwrap_err();
        assert!(is_fine(&fault), "{lie}: {fault:?}");
        assert!(fault.to_string().len() < 2000, "{lie}");
        gone(&stage).await;
    }
}

/// One that runs on what was given up has its turn until it has ended.
pub(crate) async fn a_call_that_was_given_up_keeps_its_turn(backend: &impl Backend) {
    let native = "activation_timeout: 30s";
    let stage = Stage::run(backend, Program::Liar("runs-on"), native, "");
    stage.ready(1).await;
    let hasty = Call { timeout: Some(Duration::from_secs(1)), ..stage.request("echo", data("x")) };
    let late = stage.module.call(hasty).await.result;
    assert!(matches!(late, Err(Fault::Deadline(_))), "{late:?}");
    let most: Data = stage.answer("echo", data("x")).await;
    assert_eq!(most.value, [1_u8].as_slice(), "calls that ran beside each other");
    gone(&stage).await;
}

fn trapped(fault: &Fault) -> bool {
    matches!(fault, Fault::GuestTrap { .. })
}

pub(crate) async fn a_stream_that_was_answered_is_not_answered_again(backend: &impl Backend) {
    let native = "activation_timeout: 30s, replicas: 2";
    let stage = Stage::run(backend, Program::Liar("not-ready-late"), native, "");
    stage.ready(2).await;
    let (requests, responses) = stage.open("count", number(1));
    requests.finish();
    let (messages, end) = rest(responses).await;
    assert_eq!(messages.len(), 1);
    assert!(matches!(end, Err(Fault::Interrupted(_))), "{end:?}");
}

pub(crate) async fn streams_that_lie_hurt_nobody(backend: &impl Backend) {
    for lie in ["flood", "break", "hang"] {
        let native = "activation_timeout: 30s, concurrent: ['*']";
        let stage = Stage::run(backend, Program::Liar(lie), native, "limits: {stream_idle: 2s}");
        stage.ready(1).await;
        let (requests, mut responses) = stage.open("count", number(1));
        requests.finish();
        if lie == "flood" {
            for _ in 0..10 {
                responses.next().await;
            }
            drop(responses);
        } else {
            let fault = rest(responses).await.1.unwrap_err();
            let is_fine = matches!(fault, Fault::Interrupted(_) | Fault::Idle(_));
            assert!(is_fine, "{lie}: {fault:?}");
        }
        crate::stage::until("the call is over", || stage.module.stats().running == 0).await;
        gone(&stage).await;
    }
}

/// Its probes are fine: the host's own work is what it wastes.
pub(crate) async fn a_server_that_floods_with_frames_is_ended(backend: &impl Backend) {
    let native = "activation_timeout: 30s, concurrent: ['*']";
    let stage = Stage::run(backend, Program::Liar("flood-frames"), native, "");
    let yaml = format!("native: {{{}, {native}}}", backend.program(Program::Probe));
    let neighbour = Stage::of(backend, id("neighbour", "1.0.0"), &yaml).and_run();
    let first = stage.ready(1).await;
    let broken = stage.call("echo", data("flood")).await;
    assert!(matches!(broken, Err(Fault::Interrupted(_))), "{broken:?}");
    let why = "it sent more control frames than its calls explain";
    crate::stage::until("it is ended for it", || {
        let failed = stage.epochs(&NativeState::Failed(why.to_owned()));
        failed == first
    })
    .await;
    assert_eq!(neighbour.answer::<Data>("echo", data("x")).await.value, "x");
    // It is begun again, as any that failed.
    let second = stage.ready(1).await;
    assert!(first < second, "{second:?}");
    stage.call("echo", data("x")).await.unwrap();
    gone(&stage).await;
    gone(&neighbour).await;
}
