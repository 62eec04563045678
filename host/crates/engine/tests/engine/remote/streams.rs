//! Calls with streams.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use roadstead_domain::{Fault, LimitKind};
use roadstead_engine::{Response, Responses};

use super::serve;
use crate::support::engine;

async fn end(mut responses: Responses) -> (Vec<Bytes>, Result<(), Fault>) {
    let mut messages = Vec::new();
    loop {
        match responses.next().await {
            Response::Message(message) => messages.push(message),
            Response::End(end) => return (messages, end),
        }
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 10 s: {what}");
}

#[tokio::test]
async fn messages_pass_both_ways_and_are_counted() {
    let guest = serve(&engine(), "");
    let (mut requests, responses) = guest.module.open(guest.request("relay", ""));
    for text in ["a", "b", "c"] {
        requests.send(Bytes::from_static(text.as_bytes())).await.unwrap();
    }
    until("the stream is open", || guest.module.stats().streams == 1).await;
    requests.finish();
    let (messages, ended) = end(responses).await;
    assert_eq!((messages.concat(), ended), (b"abc".to_vec(), Ok(())));
    let stats = guest.module.stats();
    assert_eq!((stats.messages_in, stats.messages_out, stats.calls), (3, 3, 1));
    until("the stream is closed", || guest.module.stats().streams == 0).await;
}

#[tokio::test]
async fn a_stream_that_is_given_up_is_not_whole() {
    let guest = serve(&engine(), "limits: {stream_idle: 100ms}");
    let (requests, responses) = guest.module.open(guest.request("sink", ""));
    drop(requests);
    let (messages, ended) = end(responses).await;
    assert_eq!((messages.len(), ended), (0, Err(Fault::Idle(Duration::from_millis(100)))));
    let (requests, responses) = guest.module.open(guest.request("sink", ""));
    requests.finish();
    assert_eq!(end(responses).await.0, [Bytes::from_static(b"whole")]);
}

#[tokio::test]
async fn a_server_that_writes_too_fast_is_held_and_one_whose_caller_leaves_is_ended() {
    let guest = serve(&engine(), "");
    let (_, mut responses) = guest.module.open(guest.request("pour", vec![0; 1024]));
    let poured = || guest.server.poured.load(Ordering::SeqCst);
    let mut before = u64::MAX;
    while before != poured() {
        before = poured();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!((256..2000).contains(&before), "{before}");
    assert!(matches!(responses.next().await, Response::Message(_)));
    drop(responses);
    until("it was ended", || guest.module.stats().running == 0).await;
    assert_eq!(guest.module.stats().faults["CANCELLED"], 1);
}

#[tokio::test]
async fn streams_last_no_longer_than_the_spec_allows() {
    let guest = serve(&engine(), "limits: {stream_deadline: 50ms}");
    let (_, responses) = guest.module.open(guest.request("silent", ""));
    assert_eq!(end(responses).await.1, Err(Fault::Deadline(Duration::from_millis(50))));
    let guest = serve(&engine(), "limits: {stream_idle: 50ms}");
    let (_, responses) = guest.module.open(guest.request("silent", ""));
    assert_eq!(end(responses).await.1, Err(Fault::Idle(Duration::from_millis(50))));
    until("it was dropped", || guest.dropped() == 1).await;
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_call() {
    let guest = serve(&engine(), "limits: {input: 8, output: 4}");
    for (length, kind) in [(9, LimitKind::Input), (5, LimitKind::Output)] {
        let (mut requests, responses) = guest.module.open(guest.request("relay", ""));
        requests.send(Bytes::from(vec![0; length])).await.unwrap();
        match end(responses).await.1 {
            Err(Fault::Limit(reached)) => assert_eq!(reached.limit, kind),
            other => panic!("{other:?}"),
        }
    }
    until("nothing runs", || guest.module.stats().running == 0).await;
}
