//! A module that traps again and again is cut off for a while, and nobody else is.

use std::{sync::Arc, time::Duration};

use roadstead_domain::{Fault, Span};
use roadstead_engine::{BreakerConfig, BreakerState, Engine, EngineConfig};

use crate::support::{Guest, component, number, prepare, settings, trap};

/// Traps when it is told to.
fn fragile(engine: &Arc<Engine>, name: &str, policy: &str) -> Guest {
    let core = r#"(func (export "run") (param i32)
            (if (i32.eq (local.get 0) (i32.const 1)) (then unreachable))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (loop (br 0)))))"#;
    let spec = format!("limits: {{fuel_per_call: 1_000_000}}\ninstances: {{policy: {policy}}}");
    prepare(engine, name, &component(core, &[("run", r#"(param "how" u32)"#)]), &spec)
}

fn engine(breaker: Option<BreakerConfig>) -> Arc<Engine> {
    Engine::new(EngineConfig { breaker, ..settings() }).unwrap()
}

fn config(pause: Span) -> BreakerConfig {
    BreakerConfig { traps: 5, window: Span::secs(600), pause }
}

async fn run(guest: &Guest, how: u64) -> Result<bytes::Bytes, Fault> {
    guest.call("run", number(1, how)).await.result
}

const ANSWER: u64 = 0;
const TRAP: u64 = 1;
const EXHAUST: u64 = 2;

#[tokio::test]
async fn repeated_traps_are_answered_for_without_an_instance() {
    for policy in ["per-call", "pooled"] {
        let engine = engine(Some(config(Span::secs(600))));
        let guest = fragile(&engine, "fragile", policy);
        for _ in 0..5 {
            trap(run(&guest, TRAP).await);
        }
        assert_eq!(guest.module.stats().breaker, BreakerState::Open);
        let refused = guest.call("run", number(1, ANSWER)).await;
        match refused.result {
            Err(Fault::BreakerOpen { retry_after }) => {
                assert!(Duration::from_secs(500) < retry_after, "{retry_after:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(refused.usage.instance, None);
        let stats = guest.module.stats();
        assert_eq!((stats.faults["GUEST_TRAP"], stats.faults["BREAKER_OPEN"]), (5, 1));
        let other = fragile(&engine, "other", policy);
        assert!(run(&other, ANSWER).await.is_ok());
    }
}

#[tokio::test]
async fn only_traps_count_and_only_where_they_are_half() {
    let engine = engine(Some(config(Span::secs(600))));
    let guest = fragile(&engine, "fragile", "per-call");
    for _ in 0..20 {
        assert!(matches!(run(&guest, EXHAUST).await, Err(Fault::Limit(_))));
        let garbled = guest.call("run", vec![0xff]).await.result;
        assert!(matches!(garbled, Err(Fault::BadInput(_))), "{garbled:?}");
    }
    for _ in 0..20 {
        trap(run(&guest, TRAP).await);
        assert!(run(&guest, ANSWER).await.is_ok());
    }
    assert_eq!(guest.module.stats().breaker, BreakerState::Closed);
}

#[tokio::test]
async fn after_the_pause_answers_close_it() {
    let engine = engine(Some(config("20ms".parse().unwrap())));
    let guest = fragile(&engine, "fragile", "per-call");
    for _ in 0..5 {
        trap(run(&guest, TRAP).await);
    }
    let mut refused = 0;
    loop {
        match run(&guest, ANSWER).await {
            Ok(_) => break,
            Err(Fault::BreakerOpen { retry_after }) => {
                refused += 1;
                tokio::time::sleep(retry_after).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(0 < refused);
    assert_eq!(guest.module.stats().breaker, BreakerState::HalfOpen);
    trap(run(&guest, TRAP).await);
    assert_eq!(guest.module.stats().breaker, BreakerState::Open, "one probe is enough");
    for _ in 0..3 {
        while let Err(fault) = run(&guest, ANSWER).await {
            let Fault::BreakerOpen { retry_after } = fault else { panic!("{fault:?}") };
            tokio::time::sleep(retry_after).await;
        }
    }
    assert_eq!(guest.module.stats().breaker, BreakerState::Closed);
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let engine = engine(None);
    let guest = fragile(&engine, "fragile", "per-call");
    for _ in 0..60 {
        trap(run(&guest, TRAP).await);
    }
}

#[tokio::test]
async fn what_goes_wrong_stands_in_the_modules_log() {
    let engine = engine(Some(config(Span::secs(600))));
    let guest = fragile(&engine, "fragile", "per-call");
    for _ in 0..5 {
        trap(run(&guest, TRAP).await);
    }
    let slow = fragile(&engine, "slow", "per-call");
    assert!(run(&slow, EXHAUST).await.is_err());
    let lines = |guest: &Guest| -> Vec<String> {
        let id = guest.module.id();
        let lines = engine.logs().tail(&id.namespace, &id.name, 100);
        lines.iter().map(|line| format!("{}: {}", line.source, line.text)).collect()
    };
    let broken = lines(&guest);
    let aborted = broken.iter().filter(|line| line.contains("the module trapped: it aborted"));
    assert_eq!(aborted.count(), 5, "{broken:?}");
    assert!(broken.iter().all(|line| line.starts_with("host: ")));
    assert!(broken.iter().any(|line| line.contains("breaker open after 5 traps")), "{broken:?}");
    assert!(lines(&slow)[0].contains("`fuel_per_call` of 1000000"), "{:?}", lines(&slow));
}
