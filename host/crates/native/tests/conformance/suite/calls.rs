//! Calls, as they pass through the proxy.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use roadstead_domain::{Fault, LimitKind};
use roadstead_engine::{Call, Response};

use crate::{
    stage::{Backend, Program, Stage, until},
    wire::{Data, Number, data, number, read, text},
};

pub(crate) async fn a_server_is_told_who_calls_and_nothing_else(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Probe, "concurrent: ['*']", "");
    let who = stage.who().await;
    assert_eq!((who.caller.as_str(), who.module.as_str()), ("alice", "probe@1.0.0"));
    assert_eq!(who.path, ["outer"]);
    assert_eq!(stage.ready(1).await, [who.epoch]);
}

pub(crate) async fn calls_run_one_at_a_time_unless_they_may_not(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Probe, "concurrent: [wait]", "");
    stage.ready(1).await;
    let beside: Vec<_> = (0..4).map(|_| stage.call("wait", number(1000))).collect();
    let most = futures::future::join_all(beside).await;
    let most = most.into_iter().map(|one| read::<Number>(&one.unwrap()).value).max();
    assert!(most > Some(1), "{most:?}");

    let alone = Stage::version(backend, "2.0.0", Program::Probe, "", "").and_run();
    alone.ready(1).await;
    let beside: Vec<_> = (0..4).map(|_| alone.call("wait", number(50))).collect();
    for one in futures::future::join_all(beside).await {
        assert_eq!(read::<Number>(&one.unwrap()).value, 1);
    }
}

pub(crate) async fn failures_keep_their_kind(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Probe, "concurrent: ['*']", "");
    stage.ready(1).await;
    // An error of the WIT is an answer.
    assert!(stage.call("fail", text("err")).await.is_ok());
    // What the code raised is in its log alone.
    let raised = stage.call("fail", text("raise")).await;
    let Err(Fault::GuestTrap { message, backtrace }) = raised else { panic!("{raised:?}") };
    assert!(!message.contains("hunter22") && backtrace.is_empty(), "{message}");
    until("its log has the reason", || {
        let lines = backend.engine().logs().tail(&stage.id.namespace, &stage.id.name, 100);
        lines.iter().any(|line| line.text.contains("hunter22"))
    })
    .await;
    // A request that does not read.
    let bad = stage.call("echo", Bytes::from_static(&[0x0a, 0xff])).await;
    assert!(matches!(bad, Err(Fault::BadInput(_))), "{bad:?}");
    let ended = stage.call("fail", text("exit")).await;
    assert!(matches!(ended, Err(Fault::Interrupted(_))), "{ended:?}");
}

pub(crate) async fn a_deadline_ends_a_call(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Probe, "", "");
    stage.ready(1).await;
    let hasty = |millis| Call {
        timeout: Some(Duration::from_millis(200)),
        ..stage.request("wait", number(millis))
    };
    let late = stage.module.call(hasty(60_000)).await.result;
    assert!(matches!(late, Err(Fault::Deadline(_))), "{late:?}");
    // It was cancelled there too: the server is free for the next, which runs alone.
    let answer: Number = stage.answer("wait", number(10)).await;
    assert_eq!(answer.value, 1);
    // Waiting for a turn ends with the deadline as well.
    let both = futures::future::join(stage.call("work", number(1500)), async {
        until("it runs", || stage.module.stats().running == 1).await;
        stage.module.call(hasty(10)).await.result
    });
    let (done, late) = both.await;
    assert!(done.is_ok(), "{done:?}");
    assert!(matches!(late, Err(Fault::Deadline(_))), "{late:?}");
}

pub(crate) async fn messages_have_bounds_both_ways(backend: &impl Backend) {
    let limits = "limits: {input: 64Ki, output: 32Ki}";
    let stage = Stage::run(backend, Program::Probe, "concurrent: ['*']", limits);
    stage.ready(1).await;
    let fits: Data = stage.answer("echo", data(vec![1; 32_000])).await;
    assert_eq!(fits.value.len(), 32_000);
    let limit = |fault: Result<Bytes, Fault>| match fault {
        Err(Fault::Limit(reached)) => (reached.limit, reached.allowed),
        other => panic!("{other:?}"),
    };
    let large = stage.call("echo", data(vec![1; 65_536])).await;
    assert_eq!(limit(large), (LimitKind::Input, 64 << 10));
    let answer = stage.call("echo", data(vec![1; 40_000])).await;
    assert_eq!(limit(answer), (LimitKind::Output, 32 << 10));
    // The server is as well as before.
    assert_eq!(stage.answer::<Data>("echo", data("x")).await.value, "x");
}

pub(crate) async fn a_broken_call_runs_again_only_where_it_may(backend: &impl Backend) {
    for (native, again) in [("idempotent: [work]", true), ("idempotent: [echo]", false)] {
        let stage = Stage::run(backend, Program::Probe, native, "limits: {deadline: 60s}");
        let first = stage.ready(1).await[0];
        let both = futures::future::join(stage.call("work", number(2000)), async {
            until("it runs", || stage.module.stats().running == 1).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            backend.signal(first, "KILL").await;
        });
        match both.await.0 {
            Ok(_) => assert!(again),
            Err(Fault::Interrupted(why)) => assert!(!again, "{why}"),
            Err(other) => panic!("{other:?}"),
        }
        stage.wanted(&[]);
        until("it is gone", || stage.epochs(&roadstead_engine::NativeState::Ready).is_empty())
            .await;
    }
}

pub(crate) async fn a_call_that_a_connection_did_not_take_goes_out_on_the_next(
    backend: &impl Backend,
) {
    // The only server ends its connection with grace: it has not begun with the call.
    let native = "activation_timeout: 30s, probes: {startup: 60s, period: 60s}";
    let stage = Stage::run(backend, Program::Liar("turn-away"), native, "");
    let ready = stage.ready(1).await;
    let answered = stage.call("echo", data("turn away")).await;
    assert!(answered.is_ok(), "{answered:?}");
    assert_eq!(stage.ready(1).await, ready);
}

pub(crate) async fn streams_hold_back_who_is_faster(backend: &impl Backend) {
    let stage = Stage::run(backend, Program::Probe, "concurrent: ['*']", "");
    stage.ready(1).await;
    let (requests, mut responses) = stage.open("count", number(50_000_000));
    requests.finish();
    let mut seen = 0_usize;
    for _ in 0..5 {
        match responses.next().await {
            Response::Message(message) => seen += message.encoded_len(),
            Response::End(end) => panic!("{end:?}"),
        }
    }
    // Nobody reads: what lies about is bounded.
    let mut last = stage.module.stats().messages_out;
    until("the server waits", || {
        let now = stage.module.stats().messages_out;
        std::mem::replace(&mut last, now) == now
    })
    .await;
    assert!(seen > 0);
    // Whoever leaves cancels.
    drop(responses);
    until("it is over", || stage.module.stats().running == 0).await;
    assert_eq!(stage.answer::<Data>("echo", data("x")).await.value, "x");
}
