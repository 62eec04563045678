//! What the host gives to all calls and instances together, and to one module of it.

use std::{sync::Arc, time::Duration};

use roadstead_domain::{ByteSize, Fault, LimitKind};
use roadstead_engine::{Engine, EngineConfig, LoadError, NamespaceShare};
use tokio::task::JoinHandle;

use crate::support::{
    Guest, blob, component, engine, limit, number, prepare, settings, spec, try_prepare, wat,
};

/// Grows its memory by so many pages; `hold` then spins.
const GROW: &str = r#"(func $grow (export "grow") (param i32)
        (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable)))
    (func (export "hold") (param i32) (call $grow (local.get 0)) (loop (br 0)))"#;

/// Takes bytes; `hold` then spins, `echo` gives them back.
const BYTES: &str = r#"(memory (export "memory") 40)
    (func (export "take") (param i32 i32))
    (func (export "hold") (param i32 i32) (loop (br 0)))
    (func (export "echo") (param i32 i32) (result i32)
        (i32.store (i32.const 16) (local.get 0))
        (i32.store (i32.const 20) (local.get 1))
        (i32.const 16))"#;

fn growing() -> Vec<u8> {
    component(GROW, &[("grow", r#"(param "pages" u32)"#), ("hold", r#"(param "pages" u32)"#)])
}

fn bytes() -> Vec<u8> {
    let functions = [
        ("take", r#"(param "bytes" (list u8))"#),
        ("hold", r#"(param "bytes" (list u8))"#),
        ("echo", r#"(param "bytes" (list u8)) (result (list u8))"#),
    ];
    component(BYTES, &functions)
}

fn overloaded(result: Result<bytes::Bytes, Fault>) -> &'static str {
    match result {
        Err(Fault::Overloaded { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

/// An instance of it takes 3.5 MiB besides its memory.
const BUSY: &str = "limits: {memory: 1Mi, fuel_per_call: 1_000_000_000_000, deadline: 60s}";

/// Keeps an instance with so many pages more than one.
fn hold(guest: &Guest, pages: u64) -> JoinHandle<()> {
    let guest = guest.clone();
    tokio::spawn(async move { drop(guest.call("hold", number(1, pages)).await) })
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it never came true");
}

fn small(memory: u64) -> Arc<Engine> {
    Engine::new(EngineConfig { memory_budget: ByteSize::mib(memory), ..settings() }).unwrap()
}

#[tokio::test]
async fn the_hosts_memory_budget_is_overload() {
    let engine = small(9);
    let guest = |name| prepare(&engine, name, &growing(), BUSY);
    let (first, second, third) = (guest("first"), guest("second"), guest("third"));
    let holding = [hold(&first, 15), hold(&second, 15)];
    until(|| engine.memory_taken() == 9 << 20).await;
    assert_eq!(overloaded(third.call("grow", number(1, 1)).await.result), "host's memory budget");
    let (waiting, ()) = tokio::join!(third.call("grow", number(1, 1)), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        holding[0].abort();
    });
    assert_eq!(limit(waiting.result), None, "who waits gets what is given back");
    holding[1].abort();
    until(|| engine.memory_taken() == 0).await;
}

#[tokio::test]
async fn idle_instances_go_before_anyone_is_refused() {
    let engine = small(9);
    let pooled = format!("{BUSY}\ninstances: {{policy: pooled}}");
    let guest = |name| prepare(&engine, name, &growing(), &pooled);
    let (first, second) = (guest("first"), guest("second"));
    for full in [&first, &second] {
        assert_eq!(limit(full.call("grow", number(1, 15)).await.result), None);
    }
    assert_eq!(engine.memory_taken(), 9 << 20);
    // One goes for the third's instance, the other for its growth.
    let third = prepare(&engine, "third", &growing(), "limits: {memory: 1Mi}");
    assert_eq!(limit(third.call("grow", number(1, 15)).await.result), None);
    let idle = [first, second].map(|guest| guest.module.stats().idle_instances);
    assert!(idle.iter().sum::<u64>() < 2, "{idle:?}");
}

#[tokio::test]
async fn a_quota_bounds_the_memory_of_a_modules_instances() {
    let engine = engine();
    let spec = format!("{BUSY}\nquota: {{memory: 9Mi}}");
    let guest = prepare(&engine, "m", &growing(), &spec);
    let holding = [hold(&guest, 15), hold(&guest, 15)];
    until(|| engine.memory_taken() == 9 << 20).await;
    let refused = overloaded(guest.call("grow", number(1, 1)).await.result);
    assert_eq!(refused, "module's part of the memory budget");
    let free = prepare(&engine, "free", &growing(), BUSY);
    assert_eq!(limit(free.call("grow", number(1, 15)).await.result), None);
    holding.iter().for_each(JoinHandle::abort);
    let never = "limits: {memory: 8Mi}\nquota: {memory: 8Mi}";
    let refused = try_prepare(&engine, "m", &growing(), never).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("limits.memory") && refused.contains("quota.memory"), "{refused}");
    try_prepare(&engine, "m", &growing(), "limits: {memory: 4Mi}\nquota: {memory: 8Mi}").unwrap();
}

#[tokio::test]
async fn a_namespace_has_its_share_of_each_resource() {
    let start = |namespace| Engine::new(EngineConfig { namespace, ..settings() }).unwrap();
    let memory = ByteSize::mib(8);
    let engine = start(NamespaceShare { memory: Some(memory), ..NamespaceShare::default() });
    let guest = |name| prepare(&engine, name, &growing(), BUSY);
    let (first, second) = (guest("first"), guest("second"));
    let holding = hold(&first, 15);
    until(|| engine.memory_taken() == 9 << 19).await;
    let refused = overloaded(second.call("grow", number(1, 1)).await.result);
    assert_eq!(refused, "namespace's part of the memory budget");
    let never = "limits: {memory: 5Mi}";
    let refused = try_prepare(&engine, "m", &growing(), never).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("namespace"), "{refused}");
    holding.abort();
    for share in [
        NamespaceShare { slots: Some(1), ..NamespaceShare::default() },
        NamespaceShare { concurrency: Some(1), ..NamespaceShare::default() },
    ] {
        let engine = start(share);
        let guest = |name| prepare(&engine, name, &growing(), BUSY);
        let (first, second) = (guest("first"), guest("second"));
        let holding = hold(&first, 1);
        until(|| 0 < engine.memory_taken()).await;
        let (waited, ()) = tokio::join!(second.call("grow", number(1, 1)), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(second.module.stats().running, 0);
            holding.abort();
        });
        assert_eq!(limit(waited.result), None);
    }
}

#[tokio::test]
async fn one_module_gets_half_of_the_hosts_memory() {
    let engine = small(12);
    let spec = "limits: {memory: 2Mi, fuel_per_call: 1_000_000_000_000}";
    let guest = |name| prepare(&engine, name, &growing(), spec);
    let (greedy, other) = (guest("greedy"), guest("other"));
    let holding = greedy.clone();
    let holding = tokio::spawn(async move { holding.call("hold", number(1, 20)).await });
    until(|| 9 << 19 < engine.memory_taken()).await;
    overloaded(greedy.call("grow", number(1, 20)).await.result);
    assert_eq!(limit(other.call("grow", number(1, 20)).await.result), None);
    holding.abort();
    until(|| engine.memory_taken() == 0).await;
    assert_eq!(limit(greedy.call("grow", number(1, 20)).await.result), None);
}

#[tokio::test]
async fn specs_beyond_the_host_are_refused() {
    let engine = small(64);
    for (field, fits, never) in [
        ("limits.memory", "memory: 28Mi", "memory: 29Mi"),
        ("limits.deadline", "memory: 1Mi, deadline: 1h", "memory: 1Mi, deadline: 61m"),
        (
            "limits.fuel_per_call",
            "memory: 1Mi, fuel_per_call: 1_000_000_000_000_000",
            "memory: 1Mi, fuel_per_call: 18_446_744_073_709_551_615",
        ),
        ("limits.handles", "memory: 1Mi, handles: 8192", "memory: 1Mi, handles: 8193"),
    ] {
        let prepare = |limits| {
            let spec = format!("limits: {{{limits}}}");
            try_prepare(&engine, "m", &growing(), &spec).map(|_| ())
        };
        prepare(fits).unwrap();
        let refused = prepare(never).unwrap_err();
        assert!(matches!(refused, LoadError::NeverFits(_)), "{refused:?}");
        assert!(refused.to_string().contains(field), "{refused}");
    }
    let refused = engine.inspect(&growing(), &spec("limits: {memory: 1Mi, deadline: 2h}"));
    assert!(refused.unwrap_err().to_string().contains("limits.deadline"));
}

#[tokio::test]
async fn the_defaults_let_the_largest_messages_through() {
    let engine = engine();
    let guest = prepare(&engine, "echo", &bytes(), "");
    // A tag and a length of four bytes stand before the bytes.
    let message = blob(1, &vec![7; (2 << 20) - 5]);
    assert_eq!(message.len(), (2 << 20) - 1);
    let outcome = guest.call("echo", message.clone()).await;
    assert_eq!(outcome.result.unwrap(), message);
    until(|| engine.values_taken() == 0).await;
}

#[tokio::test]
async fn flags_count_as_the_strings_that_they_are_here() {
    let engine = engine();
    let names: Vec<String> = ('a'..='z').map(|letter| format!("\"{letter}\"")).collect();
    let names = names.join(" ");
    // A list of so many elements, all flags of each set.
    let text = format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "give") (param i32) (result i32)
                    (memory.fill (i32.const 1024) (i32.const 255) (i32.const 60000))
                    (i32.store (i32.const 16) (i32.const 1024))
                    (i32.store (i32.const 20) (local.get 0))
                    (i32.const 16)))
            (core instance $i (instantiate $m))
            (type $flags (flags {names}))
            (func $give (param "n" u32) (result (list $flags))
                (canon lift (core func $i "give") (memory (core memory $i "memory"))))
            (component $letters
                (type $flags (flags {names}))
                (import "flags-here" (type $here (eq $flags)))
                (import "give" (func $give (param "n" u32) (result (list $here))))
                (export $there "flags-there" (type $here))
                (export "give" (func $give) (func (param "n" u32) (result (list $there)))))
            (instance $letters (instantiate $letters
                (with "flags-here" (type $flags)) (with "give" (func $give))))
            (export "test:letters/letters@0.1.0" (instance $letters)))"#
    );
    let spec = "limits: {host_copy: 1Mi}";
    let guest = prepare(&engine, "letters", &wat(&text), spec);
    assert_eq!(limit(guest.call("give", number(1, 100)).await.result), None);
    // 2.2 MB in strings; by their letters a hundred kilobytes.
    let over = guest.call("give", number(1, 2000)).await.result;
    assert_eq!(limit(over), Some(LimitKind::HostCopy));
}

#[tokio::test]
async fn values_of_all_calls_have_one_budget() {
    let config = EngineConfig { value_budget: ByteSize::mib(64), ..settings() };
    let engine = Engine::new(config).unwrap();
    let spec = "limits: {fuel_per_call: 1_000_000_000_000, deadline: 5m}";
    let guest = |name| prepare(&engine, name, &bytes(), spec);
    let (greedy, other): (Guest, Guest) = (guest("greedy"), guest("other"));
    let large = || blob(1, &vec![7; 300_000]);
    let hold = || {
        let greedy = greedy.clone();
        tokio::spawn(async move { greedy.call("hold", large()).await })
    };
    // Of a module that answered it is known what a call needs.
    assert!(greedy.call("take", large()).await.result.is_ok());
    let holding = [hold(), hold()];
    until(|| engine.values_taken() == 32 << 20).await;
    // What is small always fits, and another module has its own part; who needs more waits.
    assert!(greedy.call("take", blob(1, &[7; 1000])).await.result.is_ok());
    assert!(other.call("take", large()).await.result.is_ok());
    let refused = greedy.call("take", large()).await.result;
    assert_eq!(overloaded(refused), "host's room for values");
    let (waiting, ()) = tokio::join!(greedy.call("take", large()), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        holding.iter().for_each(JoinHandle::abort);
    });
    assert!(waiting.result.is_ok());
    until(|| engine.values_taken() == 0).await;
    // What would not fit a host that does nothing else is the limit's fault.
    let too_large = greedy.call("take", blob(1, &vec![7; 1 << 20])).await.result;
    assert_eq!(limit(too_large), Some(LimitKind::HostCopy));
}
