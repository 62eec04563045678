//! Which call gets which instance.

use std::time::Duration;

use roadstead_domain::{Fault, InstanceOrigin, LimitKind};

use crate::support::{Guest, component, engine, limit, number, prepare, settings, value};

/// Says how often this instance was asked, and breaks off if told to.
fn counting(engine: &std::sync::Arc<roadstead_engine::Engine>, spec: &str) -> Guest {
    named(engine, "counting", spec)
}

fn named(engine: &std::sync::Arc<roadstead_engine::Engine>, name: &str, spec: &str) -> Guest {
    let core = r#"(global $n (mut i32) (i32.const 0))
        (func (export "next") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (global.get $n))
        (func (export "trap") unreachable)
        (func (export "spin") (loop (br 0)))
        (func (export "big") (result i32)
            (i32.store (i32.const 16) (i32.const 1024))
            (i32.store (i32.const 20) (i32.const 60000))
            (i32.const 16))
        (func (export "take") (param i32))"#;
    let functions = [
        ("next", "(result u32)"),
        ("trap", ""),
        ("spin", ""),
        ("big", "(result string)"),
        ("take", r#"(param "c" u8)"#),
    ];
    prepare(engine, name, &component(core, &functions), spec)
}

async fn next(guest: &Guest) -> u64 {
    value(&guest.run("next").await.unwrap())
}

#[tokio::test]
async fn per_call_instances_remember_nothing() {
    let engine = engine();
    let guest = counting(&engine, "");
    for _ in 0..3 {
        assert_eq!(next(&guest).await, 1);
    }
    assert_eq!(guest.module.stats().idle_instances, 0);
}

#[tokio::test]
async fn pooled_instances_are_reused_and_retired() {
    let engine = engine();
    let guest = counting(&engine, "instances: {policy: pooled, max_uses: 3}");
    let first = guest.call("next", Vec::new()).await;
    assert_eq!(first.usage.instance, Some(InstanceOrigin::Fresh));
    let second = guest.call("next", Vec::new()).await;
    assert_eq!(second.usage.instance, Some(InstanceOrigin::Warm));
    assert_eq!(value(&second.result.unwrap()), 2);
    for expected in [3, 1, 2, 3, 1] {
        assert_eq!(next(&guest).await, expected);
    }
}

#[tokio::test]
async fn what_failed_is_never_used_again() {
    let engine = engine();
    let spec = "limits: {output: 1000, fuel_per_call: 100000}\ninstances: {policy: pooled}";
    let guest = counting(&engine, spec);
    assert_eq!((next(&guest).await, next(&guest).await), (1, 2));
    assert!(guest.run("trap").await.is_err());
    assert_eq!((next(&guest).await, next(&guest).await), (1, 2), "after a trap");
    assert_eq!(limit(guest.run("big").await), Some(LimitKind::Output));
    assert_eq!((next(&guest).await, next(&guest).await), (1, 2), "after too long an answer");
    assert!(matches!(guest.run("spin").await, Err(Fault::Limit(_))));
    assert_eq!((next(&guest).await, next(&guest).await), (1, 2), "after its fuel was used up");
    // A request that the guest never saw costs nothing.
    let bad = guest.call("take", number(1, 256)).await;
    assert!(matches!(bad.result, Err(Fault::BadInput(_))));
    assert_eq!((bad.usage.instance, bad.usage.fuel), (None, 0));
    assert_eq!(next(&guest).await, 3);
}

#[tokio::test]
async fn deadlines_and_cancelling_end_an_instance() {
    let engine = engine();
    let guest = counting(
        &engine,
        "limits: {fuel_per_call: 1_000_000_000_000}\ninstances: {policy: pooled}",
    );
    assert_eq!((next(&guest).await, next(&guest).await), (1, 2));
    let timeout = Duration::from_millis(20);
    assert_eq!(guest.run_for("spin", timeout).await.result, Err(Fault::Deadline(timeout)));
    assert_eq!((next(&guest).await, next(&guest).await), (1, 2));
    let cancelled = tokio::time::timeout(timeout, guest.run("spin")).await;
    assert!(cancelled.is_err());
    assert_eq!(next(&guest).await, 1);
    assert_eq!(guest.module.stats().faults["CANCELLED"], 1);
}

#[tokio::test]
async fn instances_are_not_shared_between_callers_where_the_spec_says_so() {
    let engine = engine();
    let guest = counting(&engine, "instances: {policy: pooled, share: caller}");
    let next = async |owner| value(&guest.run_as("next", owner).await.result.unwrap());
    assert_eq!((next("ann").await, next("bob").await), (1, 1));
    assert_eq!((next("ann").await, next("bob").await, next("ann").await), (2, 2, 3));
    for _ in 0..2 {
        assert_eq!(super::instances::next(&guest).await, 1, "nobody's instance is kept");
    }
    let shared = counting(&engine, "instances: {policy: pooled, share: namespace}");
    assert_eq!(value(&shared.run_as("next", "ann").await.result.unwrap()), 1);
    assert_eq!(value(&shared.run_as("next", "bob").await.result.unwrap()), 2);
}

#[tokio::test]
async fn no_more_than_warm_stay_and_idle_ones_go() {
    let engine = engine();
    let guest = counting(&engine, "instances: {policy: pooled, warm: 0}");
    assert_eq!((next(&guest).await, next(&guest).await), (1, 1));
    let spec = "limits: {session_idle: 30ms}\ninstances: {policy: pooled, warm: 2, share: caller}";
    let guest = counting(&engine, spec);
    for owner in ["a", "b", "c"] {
        assert!(guest.run_as("next", owner).await.result.is_ok());
    }
    assert_eq!(guest.module.stats().idle_instances, 2);
    let before = engine.memory_taken();
    assert!(0 < before);
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if guest.module.stats().idle_instances == 0 {
            break;
        }
    }
    assert_eq!((guest.module.stats().idle_instances, engine.memory_taken()), (0, 0));
}

#[tokio::test]
async fn idle_instances_make_room_for_calls() {
    let settings = roadstead_engine::EngineConfig { slots: 2, ..settings() };
    let engine = roadstead_engine::Engine::new(settings).unwrap();
    let pooled = |name| named(&engine, name, "instances: {policy: pooled, share: caller}");
    let (one, two) = (pooled("one"), pooled("two"));
    let idle = |guest: &Guest| guest.module.stats().idle_instances;
    assert!(one.run_as("next", "a").await.result.is_ok());
    assert!(one.run_as("next", "b").await.result.is_ok());
    assert_eq!(idle(&one), 1, "one module has half of the slots, its idle ones included");
    assert!(two.run_as("next", "a").await.result.is_ok());
    assert_eq!((idle(&one), idle(&two)), (1, 1));
    let other = named(&engine, "other", "");
    assert_eq!(next(&other).await, 1);
    assert_eq!(idle(&one) + idle(&two), 1);
}
