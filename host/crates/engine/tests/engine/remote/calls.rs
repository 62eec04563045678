//! Calls without streams.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use roadstead_domain::{ByteSize, Fault, LimitKind, Span};
use roadstead_engine::{
    BreakerConfig, BreakerState, Call, CodeState, Engine, EngineConfig, LoadError,
};

use super::serve;
use crate::support::{engine, id, limit, settings, spec};

#[tokio::test]
async fn an_answer_and_what_the_server_is_told() {
    let engine = engine();
    let guest = serve(&engine, "limits: {deadline: 5s}");
    let call = Call {
        owner: Some("alice".into()),
        path: ["outer".into()].into_iter().collect(),
        traceparent: Some("00-1-2-01".into()),
        ..guest.request("echo", "text")
    };
    let outcome = guest.module.call(call).await;
    assert_eq!(outcome.result, Ok(Bytes::from_static(b"text")));
    assert_eq!((outcome.usage.instance, outcome.usage.fuel), (None, 0));
    let told = guest.server.calls.lock().pop().unwrap();
    assert_eq!(told.module, *guest.module.id());
    assert_eq!(told.owner.as_deref(), Some("alice"));
    assert_eq!(
        (&*told.path.modules()[0], told.traceparent.as_deref()),
        ("outer", Some("00-1-2-01"))
    );
    let left = told.deadline.saturating_duration_since(std::time::Instant::now());
    assert!(left <= Duration::from_secs(5), "{left:?}");
    let stats = guest.module.stats();
    assert_eq!((stats.calls, stats.running, stats.queued), (1, 0, 0));
    assert_eq!((guest.module.code(), stats.loaded), (CodeState::Missing, false));
    assert!(guest.module.load().is_ok());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_at_the_deadline() {
    let guest = serve(&engine(), "limits: {deadline: 50ms}");
    let outcome = guest.call("hang", "").await;
    assert_eq!(outcome.result, Err(Fault::Deadline(Duration::from_millis(50))));
    assert_eq!((guest.dropped(), guest.module.stats().running), (1, 0));
    let hasty = Call { timeout: Some(Duration::from_millis(5)), ..guest.request("hang", "") };
    let result = guest.module.call(hasty).await.result;
    assert_eq!(result, Err(Fault::Deadline(Duration::from_millis(5))));
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_the_call() {
    let guest = serve(&engine(), "");
    {
        let mut calling = pin!(guest.call("hang", ""));
        assert!(futures::poll!(&mut calling).is_pending());
        assert_eq!((guest.came(), guest.module.stats().running), (1, 1));
    }
    let stats = guest.module.stats();
    assert_eq!((guest.dropped(), stats.running, stats.faults["CANCELLED"]), (1, 0, 1));
}

#[tokio::test]
async fn messages_are_no_longer_than_the_spec_allows() {
    let guest = serve(&engine(), "limits: {input: 16, output: 4095}");
    assert_eq!(guest.call("echo", vec![0; 16]).await.result.unwrap().len(), 16);
    assert_eq!(limit(guest.call("echo", vec![0; 17]).await.result), Some(LimitKind::Input));
    assert_eq!(guest.came(), 1);
    assert_eq!(limit(guest.call("large", "").await.result), Some(LimitKind::Output));
    let guest = serve(&engine(), "limits: {output: 4096}");
    assert_eq!(guest.call("large", "").await.result.unwrap().len(), 4096);
    // As they stand on the wire, messages take as much as through the compiled codec.
    let long = vec![0; 3 << 20];
    assert_eq!(limit(guest.call("echo", long.clone()).await.result), Some(LimitKind::Output));
    assert_eq!(serve(&engine(), "").call("echo", long).await.result.unwrap().len(), 3 << 20);
}

#[tokio::test]
async fn an_answer_is_charged_to_the_modules_part_of_the_budget_for_values() {
    let value_budget = ByteSize::mib(8);
    let engine = Engine::new(EngineConfig { value_budget, ..settings() }).unwrap();
    let guest = serve(&engine, "");
    guest.call("echo", "").await.result.unwrap();
    let room = guest.server.calls.lock().pop().unwrap().room;
    let (mut one, mut other) = (room.hold(), room.hold());
    // Half of the host's is the most of one module.
    assert!(one.set(3 << 20).is_ok());
    let refused = other.set(2 << 20);
    assert!(matches!(refused, Err(Fault::Overloaded { .. })), "{refused:?}");
    assert!(other.set(1 << 10).is_ok());
    assert!(one.set(5 << 20).is_err());
    one.set(1 << 20).unwrap();
    assert!(other.set(2 << 20).is_ok());
    drop((one, other));
    assert!(room.hold().set(4 << 20).is_ok());
}

#[tokio::test]
async fn calls_wait_for_their_turn_and_no_more_than_may_wait() {
    let guest = serve(&engine(), "quota: {concurrency: 1, queue: 1}\nlimits: {deadline: 10s}");
    let mut first = pin!(guest.call("hang", ""));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(guest.call("echo", "second"));
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!((guest.came(), guest.module.stats().queued), (1, 1));
    let third = guest.call("echo", "").await.result;
    assert!(matches!(third, Err(Fault::Overloaded { .. })), "{third:?}");
    let shed = guest.module.shed(None);
    assert!(matches!(shed, Some(Fault::Overloaded { .. })), "{shed:?}");
    first.set(guest.call("echo", ""));
    assert!(second.await.result.is_ok());
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_cut_off() {
    let breaker = Some(BreakerConfig { traps: 3, window: Span::secs(600), pause: Span::secs(600) });
    let engine = Engine::new(EngineConfig { breaker, ..settings() }).unwrap();
    let guest = serve(&engine, "");
    for _ in 0..3 {
        let result = guest.call("trap", "").await.result;
        assert!(matches!(result, Err(Fault::GuestTrap { .. })), "{result:?}");
    }
    let result = guest.call("echo", "").await.result;
    assert!(matches!(result, Err(Fault::BreakerOpen { .. })), "{result:?}");
    assert_eq!((guest.came(), guest.module.stats().breaker), (3, BreakerState::Open));
    assert!(matches!(guest.module.shed(None), Some(Fault::BreakerOpen { .. })));
    let logs = engine.logs().tail(&guest.module.id().namespace, &guest.module.id().name, 9);
    assert!(logs.iter().any(|line| line.text.contains("no")), "{logs:?}");
    assert!(logs.iter().any(|line| line.text.contains("breaker open")), "{logs:?}");
}

#[tokio::test]
async fn a_host_that_stops_takes_no_more_calls() {
    let engine = engine();
    let guest = serve(&engine, "");
    engine.shutdown().await;
    assert_eq!(guest.call("echo", "").await.result, Err(Fault::Draining));
    assert_eq!(guest.came(), 0);
}

#[tokio::test]
async fn deadlines_beyond_the_hosts_never_fit_and_an_instances_limits_say_nothing() {
    let engine = engine();
    let server = Arc::new(super::Server::default());
    let remote =
        |yaml: &str| engine.remote(id("m"), Arc::new(spec(yaml)), Arc::clone(&server) as _);
    for yaml in ["limits: {deadline: 2h}", "limits: {stream_deadline: 25h}"] {
        let refused = remote(yaml).err();
        assert!(matches!(refused, Some(LoadError::NeverFits(_))), "{refused:?}");
    }
    assert!(remote("limits: {memory: 1Ti, handles: 1_000_000}").is_ok());
}
