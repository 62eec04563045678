//! Instances made ahead of their calls.

use std::{sync::Arc, time::Duration};

use roadstead_domain::{Fault, InstanceOrigin, LimitKind};
use roadstead_engine::{Engine, EngineConfig, Outcome};

use crate::support::{Guest, component, limit, prepare, settings, value};

fn engine(slots: u32) -> Arc<Engine> {
    Engine::new(EngineConfig { spares: 4, slots, ..settings() }).unwrap()
}

/// Starts with a loop of so many turns, says how often this instance was asked, and works for as
/// long as its start took.
fn starting(engine: &Arc<Engine>, name: &str, turns: u32, spec: &str) -> Guest {
    let core = format!(
        r#"(global $n (mut i32) (i32.const 0))
        (func $start (export "work") (local $left i32)
            (local.set $left (i32.const {turns}))
            (loop $turn
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $turn (local.get $left))))
        (start $start)
        (func (export "next") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (global.get $n))
        (func (export "trap") unreachable)"#
    );
    let functions = [("next", "(result u32)"), ("trap", ""), ("work", "")];
    prepare(engine, name, &component(&core, &functions), spec)
}

/// Calls until there are spares.
async fn warmed(guest: &Guest) -> Outcome {
    let first = guest.call("next", Vec::new()).await;
    for _ in 0..1000 {
        if 0 < guest.module.stats().spare_instances {
            return first;
        }
        assert!(guest.run("next").await.is_ok());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("no spares");
}

#[tokio::test]
async fn a_spare_instance_is_as_good_as_one_made_for_the_call() {
    let engine = engine(32);
    let guest = starting(&engine, "m", 10_000, "");
    let first = warmed(&guest).await;
    let mut used = 0;
    for _ in 0..50 {
        used += u64::from(0 < guest.module.stats().spare_instances);
        let outcome = guest.call("next", Vec::new()).await;
        assert_eq!(outcome.usage, first.usage, "what the start took counts");
        assert_eq!(outcome.usage.instance, Some(InstanceOrigin::Fresh));
        assert_eq!(value(&outcome.result.unwrap()), 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(10_000 < first.usage.fuel && 0 < used);
    assert!(guest.module.stats().spare_instances <= 4);
}

#[tokio::test]
async fn what_the_start_took_is_gone_for_the_call() {
    let engine = engine(32);
    let start = warmed(&starting(&engine, "first", 10_000, "")).await.usage.fuel;
    for (name, fuel, expected) in
        [("m", start * 3, None), ("n", start * 3 / 2, Some(LimitKind::Fuel))]
    {
        let guest = starting(&engine, name, 10_000, &format!("limits: {{fuel_per_call: {fuel}}}"));
        warmed(&guest).await;
        for _ in 0..20 {
            assert_eq!(limit(guest.run("work").await), expected, "{fuel}");
            assert_eq!(limit(guest.run("next").await), None);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn pooled_modules_have_spares_for_new_owners_and_traps_use_one_up() {
    let engine = engine(32);
    let guest = starting(&engine, "m", 1, "instances: {policy: pooled, share: caller}");
    for owner in 0..200 {
        let outcome = guest.run_as("next", &owner.to_string()).await;
        assert_eq!(outcome.usage.instance, Some(InstanceOrigin::Fresh));
        let again = guest.run_as("next", &owner.to_string()).await;
        assert_eq!(again.usage.instance, Some(InstanceOrigin::Warm));
        assert_eq!(value(&again.result.unwrap()), 2);
    }
    assert!(matches!(guest.run("trap").await, Err(Fault::GuestTrap { .. })));
    assert_eq!(value(&guest.run("next").await.unwrap()), 1);
}

#[tokio::test]
async fn spares_go_before_anyone_waits_and_with_their_module() {
    let engine = engine(4);
    let (one, two) = (starting(&engine, "one", 1, ""), starting(&engine, "two", 1, ""));
    warmed(&one).await;
    for _ in 0..20 {
        assert_eq!(value(&two.run("next").await.unwrap()), 1);
        assert_eq!(value(&one.run("next").await.unwrap()), 1);
    }
    one.module.drop_idle();
    two.module.drop_idle();
    for _ in 0..1000 {
        if engine.slots_taken() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((engine.slots_taken(), engine.memory_taken()), (0, 0));
}
