//! Ceilings, room and the breaker hold for streams as for any call.

use std::time::Duration;

use roadstead_domain::{Fault, LimitKind, Span};
use roadstead_engine::{BreakerConfig, BreakerState, Call, Engine, EngineConfig, Response};

use super::{COMPONENT, all, called, guest, open, two};
use crate::support::{blob, engine, number, prepare, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_longer_time_does_not_widen_the_streams() {
    let engine = engine();
    let guest = guest(&engine, "stream_deadline: 300ms, deadline: 50ms");
    for timeout in [None, Some(Duration::from_secs(3600))] {
        let call = Call { timeout, ..guest.request("silent", Vec::new()) };
        let end = all(guest.module.open(call).1).await.1;
        assert_eq!(end, Err(Fault::Deadline(Duration::from_millis(300))), "{timeout:?}");
    }
    let call = Call { timeout: Some(Duration::from_millis(20)), ..guest.request("silent", vec![]) };
    let end = all(guest.module.open(call).1).await.1;
    assert_eq!(end, Err(Fault::Deadline(Duration::from_millis(20))), "a shorter one counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_in_streams_open_the_breaker_for_streams() {
    let breaker = BreakerConfig { traps: 5, window: Span::secs(600), pause: Span::secs(600) };
    let engine = Engine::new(EngineConfig { breaker: Some(breaker), ..settings() }).unwrap();
    let guest = guest(&engine, "memory: 64Mi");
    for _ in 0..5 {
        let (messages, end) = called(&guest, "trap-after", number(1, 3)).await;
        assert!(messages.len() == 3 && matches!(end, Err(Fault::GuestTrap { .. })), "{end:?}");
    }
    assert_eq!(guest.module.stats().breaker, BreakerState::Open);
    let (messages, end) = called(&guest, "count", two(3, 3)).await;
    assert!(messages.is_empty() && matches!(end, Err(Fault::BreakerOpen { .. })), "{end:?}");
    let (_requests, responses) = open(&guest, "sum", Vec::new());
    let end = all(responses).await.1;
    assert!(matches!(end, Err(Fault::BreakerOpen { .. })), "before its first message: {end:?}");
    let unary = guest.call("awaited", number(1, 1)).await.result;
    assert!(matches!(unary, Err(Fault::BreakerOpen { .. })), "{unary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_of_few_streams_among_many_do_not() {
    let breaker = BreakerConfig { traps: 5, window: Span::secs(600), pause: Span::secs(600) };
    let engine = Engine::new(EngineConfig { breaker: Some(breaker), ..settings() }).unwrap();
    let guest = guest(&engine, "memory: 64Mi");
    for _ in 0..10 {
        for _ in 0..2 {
            called(&guest, "count", two(1, 1)).await.1.unwrap();
        }
        called(&guest, "trap-after", number(1, 1)).await.1.unwrap_err();
    }
    assert_eq!(guest.module.stats().breaker, BreakerState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn items_take_no_more_of_the_host_than_the_spec_says() {
    let engine = engine();
    let little = prepare(&engine, "little", &COMPONENT, "limits: {host_copy: 1Mi, output: 8Mi}");
    let ample = prepare(&engine, "ample", &COMPONENT, "limits: {host_copy: 64Mi, output: 8Mi}");
    let is_room = |end: Result<(), Fault>| match end {
        Err(Fault::Limit(reached)) => reached.limit == LimitKind::HostCopy,
        other => panic!("{other:?}"),
    };
    // Out of the guest: one item that is too large, and many that are not.
    let (messages, end) = called(&little, "texts", two(3, 2 << 20)).await;
    assert!(messages.is_empty() && is_room(end));
    let (messages, end) = called(&ample, "texts", two(3, 2 << 20)).await;
    assert_eq!((messages.len(), end), (3, Ok(())));
    let (messages, end) = called(&little, "texts", two(200, 50_000)).await;
    assert_eq!((messages.len(), end), (200, Ok(())));
    // Into the guest: the same row, with a long text.
    let (rows, _) = called(&ample, "rows", number(1, 1)).await;
    let [_, _, row @ ..] = &rows[0][..] else { panic!("{rows:?}") };
    let long = [row, &blob(2, &vec![b'x'; 1 << 20])].concat();
    for (guest, fits) in [(&little, false), (&ample, true)] {
        let (mut requests, mut responses) = open(guest, "echo", Vec::new());
        requests.send(blob(2, &long).into()).await.unwrap();
        match responses.next().await {
            Response::Message(message) => assert!(fits && message.len() > 1 << 20),
            Response::End(end) => assert!(!fits && is_room(end)),
        }
    }
}
