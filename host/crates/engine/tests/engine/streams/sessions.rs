//! Streams of methods that take handles: they run in the handle's session, one call after the
//! other, and what ends them badly ends it.

use bytes::Bytes;
use roadstead_domain::{Fault, InstanceOrigin};
use roadstead_engine::{Call, Response};

use super::{COMPONENT, called, guest, item, open, rested};
use crate::sessions::until;
use crate::support::{Guest, blob, engine, number, prepare, value};

const NEXT: &str = "[method]counter.next";
const FOLLOW: &str = "[method]counter.follow";

/// A request whose `self` is a new counter's handle.
async fn create(guest: &Guest, start: u64) -> Vec<u8> {
    let created = guest.call("[constructor]counter", number(1, start)).await;
    created.result.unwrap().to_vec()
}

async fn next(guest: &Guest, handle: &[u8]) -> Result<u64, Fault> {
    guest.call(NEXT, handle.to_vec()).await.result.map(|answer| value(&answer))
}

fn follow(handle: &[u8], count: u64) -> Vec<u8> {
    [handle, &number(2, count)].concat()
}

fn numbers(messages: &[Bytes]) -> Vec<u64> {
    messages.iter().map(item).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_a_call_of_its_session() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let (handle, other) = (create(&guest, 5).await, create(&guest, 50).await);
    for first in [5, 9, 13] {
        let (messages, end) = called(&guest, FOLLOW, follow(&handle, 3)).await;
        assert_eq!((numbers(&messages), end), (vec![first, first + 1, first + 2], Ok(())));
        assert_eq!(next(&guest, &handle).await, Ok(first + 3));
    }
    assert_eq!(next(&guest, &other).await, Ok(50));
    let (_, mut responses) = open(&guest, FOLLOW, follow(&other, 1));
    while let Response::Message(_) = responses.next().await {}
    assert_eq!(responses.usage().instance, Some(InstanceOrigin::Session));
    let stats = guest.module.stats();
    assert_eq!((stats.sessions, stats.streams, stats.messages_out), (2, 0, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_wait_for_a_stream_of_their_session_and_others_do_not() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let (handle, other) = (create(&guest, 0).await, create(&guest, 0).await);
    let (_, mut responses) = open(&guest, FOLLOW, follow(&handle, 0));
    assert!(matches!(responses.next().await, Response::Message(_)));
    let hasty = Call {
        timeout: Some(std::time::Duration::from_millis(50)),
        ..guest.request(NEXT, handle.clone())
    };
    let waited = guest.module.call(hasty).await.result;
    assert!(matches!(waited, Err(Fault::Deadline(_))), "{waited:?}");
    assert_eq!(next(&guest, &other).await, Ok(0));
    // The caller reads no more: the guest hears of it at its next write, and the session lives.
    drop(responses);
    let after = next(&guest, &handle).await.unwrap();
    assert!(0 < after, "{after}");
    let cancelled = || guest.module.stats().faults.get("CANCELLED") == Some(&1);
    until("the stream counts as cancelled", cancelled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_badly_ends_its_session() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let lost = |result| match result {
        Err(Fault::SessionLost(why)) => why,
        other => panic!("{other:?}"),
    };
    let handle = create(&guest, 1).await;
    let (messages, end) = called(&guest, "[method]counter.trip", handle.clone()).await;
    assert!(messages.len() == 1 && matches!(end, Err(Fault::GuestTrap { .. })), "{end:?}");
    assert!(lost(next(&guest, &handle).await).contains("trapped"));
    // One that does not hear that its caller is gone.
    let handle = create(&guest, 1).await;
    let (_, mut responses) = open(&guest, "[method]counter.stall", handle.clone());
    assert!(matches!(responses.next().await, Response::Message(_)));
    drop(responses);
    assert!(lost(next(&guest, &handle).await).contains("given up"));
    rested(&guest).await;
    assert_eq!((guest.module.stats().sessions, guest.module.stats().streams), (0, 0));
    let brief = prepare(&engine, "brief", &COMPONENT, "limits: {stream_deadline: 200ms}");
    let handle = create(&brief, 1).await;
    let end = called(&brief, "[method]counter.stall", handle.clone()).await.1;
    assert!(matches!(end, Err(Fault::Deadline(_))), "{end:?}");
    assert!(lost(next(&brief, &handle).await).contains("given up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_may_be_given_away_to_a_stream() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let handle = create(&guest, 7).await;
    let (messages, end) = called(&guest, "[static]counter.spend", follow(&handle, 2)).await;
    assert_eq!((numbers(&messages), end), (vec![7, 8], Ok(())));
    assert_eq!(next(&guest, &handle).await, Err(Fault::NoSuchHandle));
    assert_eq!(guest.module.stats().sessions, 0, "it was the last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_live_handle_is_refused() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let forged = blob(1, &blob(1, b"forged"));
    assert_eq!(called(&guest, FOLLOW, forged).await.1, Err(Fault::NoSuchHandle));
    let end = called(&guest, FOLLOW, Vec::new()).await.1;
    assert!(matches!(&end, Err(Fault::BadInput(found)) if found[0].field == "self"), "{end:?}");
    let handle = create(&guest, 1).await;
    let drop = guest.call("[resource-drop]counter", handle.clone()).await.result;
    assert!(drop.is_ok());
    assert_eq!(called(&guest, FOLLOW, follow(&handle, 1)).await.1, Err(Fault::NoSuchHandle));
}
