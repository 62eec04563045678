//! Who may run, who waits, and who is sent away.

use std::{sync::Arc, time::Duration};

use roadstead_domain::Fault;
use roadstead_engine::{Call, CallPath, Engine, EngineConfig, NamespaceShare};

use crate::support::{Guest, component, engine, prepare, settings, wat};

fn spinner(engine: &Arc<Engine>, spec: &str) -> Guest {
    spinner_called(engine, "spinner", spec)
}

fn spinner_called(engine: &Arc<Engine>, name: &str, spec: &str) -> Guest {
    let bytes = component(
        r#"(func (export "spin") (loop (br 0))) (func (export "nothing"))"#,
        &[("spin", ""), ("nothing", "")],
    );
    prepare(engine, name, &bytes, &format!("limits: {{fuel_per_call: 1_000_000_000_000}}\n{spec}"))
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it never came true");
}

#[tokio::test]
async fn the_queue_is_bounded_and_waiting_ends_with_the_deadline() {
    let engine = engine();
    let guest = spinner(&engine, "quota: {concurrency: 1, queue: 1}");
    let (running, waiting) = (guest.clone(), guest.clone());
    let running = tokio::spawn(async move { running.run("spin").await });
    until(|| guest.module.stats().running == 1).await;
    let timeout = Duration::from_millis(200);
    let waiting = tokio::spawn(async move { waiting.run_for("nothing", timeout).await });
    until(|| guest.module.stats().queued == 1).await;
    let refused = guest.run("nothing").await.unwrap_err();
    assert!(matches!(refused, Fault::Overloaded { what: "module's queue", .. }), "{refused:?}");
    let waited = waiting.await.unwrap();
    assert_eq!(waited.result, Err(Fault::Deadline(timeout)));
    assert_eq!((waited.usage.instance, guest.module.stats().queued), (None, 0));
    running.abort();
    until(|| guest.module.stats().running == 0).await;
    assert!(guest.run("nothing").await.is_ok());
}

#[tokio::test]
async fn one_module_cannot_take_all_slots_of_the_host() {
    let engine = Engine::new(EngineConfig { slots: 4, ..settings() }).unwrap();
    let greedy = spinner(&engine, "quota: {concurrency: 1000}");
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let greedy = greedy.clone();
            tokio::spawn(async move { greedy.run("spin").await })
        })
        .collect();
    until(|| greedy.module.stats().running == 2 && greedy.module.stats().queued == 8).await;
    assert!(spinner(&engine, "").run("nothing").await.is_ok());
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn an_instance_with_many_memories_takes_many_slots() {
    let engine = Engine::new(EngineConfig { slots: 4, ..settings() }).unwrap();
    let of = |memories: usize| {
        let text = format!(
            r#"(component (core module $m {} (func (export "f")))
                (core instance $i (instantiate $m))
                (func (export "f") (canon lift (core func $i "f"))))"#,
            "(memory 1)".repeat(memories)
        );
        prepare(&engine, "memories", &wat(&text), "")
    };
    assert!(of(4).run("f").await.is_ok());
    let fault = of(5).run("f").await.unwrap_err();
    assert!(matches!(fault, Fault::NeverFits(_)), "{fault:?}");
}

#[tokio::test]
async fn slow_calls_of_old_keep_nobody_out_while_others_hold_the_places() {
    let namespace = NamespaceShare { concurrency: Some(2), ..NamespaceShare::default() };
    let engine = Engine::new(EngineConfig { namespace, ..settings() }).unwrap();
    let (flood, guest) =
        (spinner_called(&engine, "flood", ""), spinner_called(&engine, "guest", ""));
    let slow = Duration::from_millis(800);
    assert_eq!(guest.run_for("spin", slow).await.result, Err(Fault::Deadline(slow)));
    until(|| guest.module.stats().running == 0).await;
    let short = Duration::from_millis(100);
    let flooding: Vec<_> = (0..2)
        .map(|_| {
            let flood = flood.clone();
            tokio::spawn(async move { flood.run_for("spin", short).await })
        })
        .collect();
    until(|| flood.module.stats().running == 2).await;
    let answered = guest.run_for("nothing", Duration::from_millis(700)).await;
    assert_eq!(answered.result, Ok(bytes::Bytes::new()));
    for call in flooding {
        assert_eq!(call.await.unwrap().result, Err(Fault::Deadline(short)));
    }
}

#[tokio::test]
async fn a_call_that_came_through_another_module_takes_no_place_of_the_namespace() {
    let namespace = NamespaceShare { concurrency: Some(1), ..NamespaceShare::default() };
    let engine = Engine::new(EngineConfig { namespace, ..settings() }).unwrap();
    let (outer, inner) =
        (spinner_called(&engine, "outer", ""), spinner_called(&engine, "inner", ""));
    let holding = outer.clone();
    let holding = tokio::spawn(async move { holding.run("spin").await });
    until(|| outer.module.stats().running == 1).await;
    // One from outside waits for the namespace, and keeps none waiting that came through another.
    let waiting = inner.clone();
    let waiting = tokio::spawn(async move { waiting.run("nothing").await });
    until(|| inner.module.stats().queued == 1).await;
    let path: CallPath = [Arc::from("outer@0.1.0")].into_iter().collect();
    let through = Call { path, ..inner.request("nothing", Vec::new()) };
    assert_eq!(inner.module.call(through).await.result, Ok(bytes::Bytes::new()));
    assert_eq!(inner.module.stats().queued, 1);
    holding.abort();
    assert!(waiting.await.unwrap().is_ok());
}

/// A component of so many, each of which suspends a call while they are all called from one.
fn suspending(count: usize) -> Vec<u8> {
    let each = |part: fn(usize) -> String| (0..count).map(part).collect::<String>();
    let wait = r#"async (param "how-long" u64)"#;
    let waits = each(|i| {
        format!(
            r#"(import "w{i}" (func $w{i} async (param "how-long" u64)))
               (core func $f{i} (canon lower (func $w{i}) async))"#
        )
    });
    let imports = each(|i| format!(r#"(import "f" "{i}" (func $f{i} (param i64) (result i32)))"#));
    let calls = each(|i| format!("(drop (call $f{i} (i64.const 3600000000000)))"));
    let given = each(|i| format!(r#"(export "{i}" (func $f{i}))"#));
    let instances =
        each(|i| format!(r#"(instance $i{i} (instantiate $c (with "wait" (func $wait))))"#));
    let called = each(|i| format!(r#"(with "w{i}" (func $i{i} "wait"))"#));
    // A component cannot call those in itself, but those beside it.
    wat(&format!(
        r#"(component
            (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
                (export "wait-for" (func {wait}))))
            (alias export $clock "wait-for" (func $wait))
            (component $c
                (import "wait" (func $wait {wait}))
                (core func $blocks (canon lower (func $wait)))
                (func (export "wait") {wait} (canon lift (core func $blocks))))
            (component $caller {waits}
                (core module $m {imports} (func (export "f") {calls}))
                (core instance $i (instantiate $m (with "f" (instance {given}))))
                (func (export "f") (canon lift (core func $i "f"))))
            {instances}
            (instance $caller (instantiate $caller {called}))
            (export "f" (func $caller "f")))"#
    ))
}

#[tokio::test]
async fn an_instance_that_can_suspend_many_calls_takes_many_slots() {
    let engine = Engine::new(EngineConfig { slots: 16, ..settings() }).unwrap();
    // Half of the slots, for one module: 32 stacks, of which three are not those that wait.
    let most = prepare(&engine, "suspending", &suspending(29), "");
    assert_eq!(most.run("f").await, Ok(bytes::Bytes::new()));
    let fault = prepare(&engine, "suspending", &suspending(62), "").run("f").await.unwrap_err();
    assert!(matches!(fault, Fault::NeverFits(_)), "{fault:?}");
}

#[tokio::test]
async fn calls_in_plenty_all_get_their_answer() {
    let engine = Engine::new(EngineConfig { slots: 8, ..settings() }).unwrap();
    for spec in ["quota: {queue: 1000}", "quota: {queue: 1000}\ninstances: {policy: pooled}"] {
        let guest = spinner(&engine, spec);
        let calls: Vec<_> = (0..500)
            .map(|_| {
                let guest = guest.clone();
                tokio::spawn(async move { guest.run("nothing").await })
            })
            .collect();
        for call in calls {
            assert!(call.await.unwrap().is_ok());
        }
        let stats = guest.module.stats();
        assert_eq!((stats.calls, stats.queued, stats.faults.len()), (500, 0, 0));
        until(|| guest.module.stats().running == 0).await;
    }
}

#[tokio::test]
async fn a_call_that_cannot_be_met_in_time_is_refused_at_once() {
    let engine = engine();
    let guest = spinner(&engine, "quota: {concurrency: 1}");
    // The queue learns what a call takes.
    let slow = Duration::from_millis(400);
    assert_eq!(guest.run_for("spin", slow).await.result, Err(Fault::Deadline(slow)));
    until(|| guest.module.stats().running == 0).await;
    let running = guest.clone();
    let running = tokio::spawn(async move { running.run("spin").await });
    until(|| guest.module.stats().running == 1).await;
    let hasty = Duration::from_millis(100);
    match guest.run_for("nothing", hasty).await.result {
        Err(Fault::Overloaded { what: "module's queue", retry_after }) => {
            assert!(Duration::from_millis(100) < retry_after, "{retry_after:?}");
        }
        other => panic!("{other:?}"),
    }
    let patient = guest.clone();
    let patient = tokio::spawn(async move { patient.run("nothing").await });
    until(|| guest.module.stats().queued == 1).await;
    running.abort();
    assert!(patient.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_flood_of_one_module_leaves_slots_to_another() {
    let engine = Engine::new(EngineConfig { slots: 4, ..settings() }).unwrap();
    let floods: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let bytes = component(r#"(func (export "spin") (loop (br 0)))"#, &[("spin", "")]);
            prepare(&engine, name, &bytes, "limits: {fuel_per_call: 1_000_000_000_000}")
        })
        .into();
    let calls: Vec<_> = (0..300)
        .map(|n: usize| {
            let flood = floods[n % 3].clone();
            tokio::spawn(async move { flood.run_for("spin", Duration::from_millis(20)).await })
        })
        .collect();
    let quiet = spinner(&engine, "");
    for _ in 0..20 {
        let outcome = quiet.run_for("nothing", Duration::from_secs(5)).await;
        assert!(outcome.result.is_ok(), "{outcome:?}");
    }
    for call in calls {
        assert!(call.await.unwrap().result.is_err());
    }
}
