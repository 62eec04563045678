//! Guests that wait for the host: they hold no thread, and can be ended all the same.

use std::time::Duration;

use roadstead_domain::Fault;
use roadstead_engine::Engine;

use crate::support::{Guest, engine, number, prepare, wat};

/// Sleeps for so many milliseconds by the host's clock.
fn sleeper(engine: &std::sync::Arc<Engine>, spec: &str) -> Guest {
    let bytes = wat(r#"(component
            (import "wasi:io/poll@0.2.0" (instance $poll
                (export "pollable" (type $p (sub resource)))
                (export "[method]pollable.block" (func (param "self" (borrow $p))))))
            (alias export $poll "pollable" (type $pollable))
            (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
                (alias outer 1 $pollable (type $p))
                (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
            (core func $subscribe (canon lower (func $clock "subscribe-duration")))
            (core func $block (canon lower (func $poll "[method]pollable.block")))
            (core func $drop (canon resource.drop $pollable))
            (core module $m
                (import "" "subscribe" (func $subscribe (param i64) (result i32)))
                (import "" "block" (func $block (param i32)))
                (import "" "drop" (func $drop (param i32)))
                (func (export "sleep") (param i32)
                    (local $pollable i32)
                    (local.set $pollable (call $subscribe
                        (i64.mul (i64.extend_i32_u (local.get 0)) (i64.const 1000000))))
                    (call $block (local.get $pollable))
                    (call $drop (local.get $pollable))))
            (core instance $i (instantiate $m (with "" (instance
                (export "subscribe" (func $subscribe))
                (export "block" (func $block))
                (export "drop" (func $drop))))))
            (func (export "sleep") (param "ms" u32) (canon lift (core func $i "sleep"))))"#);
    prepare(engine, "sleeper", &bytes, &format!("capabilities: {{clocks: real}}\n{spec}"))
}

async fn gone(guest: &Guest) {
    for _ in 0..1000 {
        if guest.module.stats().running == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{:?}", guest.module.stats());
}

#[tokio::test]
async fn many_more_guests_wait_than_there_are_threads() {
    let engine = engine();
    let guest = sleeper(&engine, "quota: {concurrency: 16}");
    let start = tokio::time::Instant::now();
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let guest = guest.clone();
            tokio::spawn(async move { guest.call("sleep", number(1, 300)).await.result })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert!((300..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    engine.shutdown().await;
}

#[tokio::test]
async fn a_waiting_guest_ends_at_its_deadline_and_when_given_up() {
    let engine = engine();
    let guest = sleeper(&engine, "limits: {deadline: 100ms}");
    let outcome = guest.call("sleep", number(1, 60_000)).await;
    assert_eq!(outcome.result, Err(Fault::Deadline(Duration::from_millis(100))));
    gone(&guest).await;
    let guest = sleeper(&engine, "");
    let given_up =
        tokio::time::timeout(Duration::from_millis(50), guest.call("sleep", number(1, 60_000)));
    assert!(given_up.await.is_err());
    gone(&guest).await;
    engine.shutdown().await;
}

#[tokio::test]
async fn a_waiting_guest_ends_when_the_host_does() {
    let engine = engine();
    let guest = sleeper(&engine, "");
    let waiting = guest.clone();
    let call = tokio::spawn(async move { waiting.call("sleep", number(1, 60_000)).await.result });
    while guest.module.stats().running == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    engine.shutdown().await;
    assert_eq!(call.await.unwrap(), Err(Fault::Draining));
}
