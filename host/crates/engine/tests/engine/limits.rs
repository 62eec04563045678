//! Each limit of a spec, obeyed and violated, in both instance policies.

use roadstead_domain::{Fault, LimitKind};
use roadstead_engine::LoadError;

use crate::support::{
    POLICIES, blob, component, engine, limit, number, prepare, trap, try_prepare, value,
};

/// Grows its memory by so many pages, and traps if it may not.
const GROW: &str = r#"(func (export "grow") (param i32)
    (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable)))"#;

#[tokio::test]
async fn fuel_is_per_call_also_for_a_reused_instance() {
    let engine = engine();
    let core = r#"(func (export "count") (param i32)
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"#;
    let bytes = component(core, &[("count", r#"(param "n" u32)"#)]);
    for policy in POLICIES {
        let spec = format!("limits: {{fuel_per_call: 100_000}}\n{policy}");
        let guest = prepare(&engine, "count", &bytes, &spec);
        for _ in 0..10 {
            let outcome = guest.call("count", number(1, 10_000)).await;
            assert_eq!(limit(outcome.result), None);
            assert!((40_000..100_000).contains(&outcome.usage.fuel), "{:?}", outcome.usage);
        }
        let outcome = guest.call("count", number(1, 1_000_000)).await;
        assert_eq!(limit(outcome.result), Some(LimitKind::Fuel), "{policy}");
        assert_eq!(outcome.usage.fuel, 100_000);
        assert_eq!(limit(guest.call("count", number(1, 10_000)).await.result), None);
    }
}

#[tokio::test]
async fn the_start_function_counts() {
    let engine = engine();
    let core = r#"(func $start (local $n i32) (local.set $n (i32.const 100000))
            (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (start $start)
        (func (export "nothing"))"#;
    let bytes = component(core, &[("nothing", "")]);
    for policy in POLICIES {
        let rich = format!("limits: {{fuel_per_call: 1_000_000}}\n{policy}");
        let outcome = prepare(&engine, "m", &bytes, &rich).call("nothing", Vec::new()).await;
        assert_eq!(limit(outcome.result), None);
        assert!(400_000 < outcome.usage.fuel);
        let poor = format!("limits: {{fuel_per_call: 100_000}}\n{policy}");
        let guest = prepare(&engine, "m", &bytes, &poor);
        assert_eq!(limit(guest.run("nothing").await), Some(LimitKind::Fuel), "{policy}");
    }
}

#[tokio::test]
async fn memory_is_counted_and_a_trap_after_a_refusal_is_the_limits() {
    let engine = engine();
    let bytes = component(GROW, &[("grow", r#"(param "pages" u32)"#)]);
    for policy in POLICIES {
        let spec = format!("limits: {{memory: 1Mi}}\n{policy}");
        let guest = prepare(&engine, "grow", &bytes, &spec);
        let outcome = guest.call("grow", number(1, 15)).await;
        assert_eq!(limit(outcome.result), None);
        assert_eq!(outcome.usage.peak_memory, 1 << 20);
        let guest = prepare(&engine, "grow", &bytes, &spec);
        let outcome = guest.call("grow", number(1, 16)).await;
        assert_eq!(limit(outcome.result), Some(LimitKind::Memory), "{policy}");
        assert_eq!(outcome.usage.peak_memory, 64 << 10);
    }
}

#[tokio::test]
async fn two_memories_and_tables_count_together() {
    let engine = engine();
    let core = r#"(memory $second 1) (table $t 8192 funcref)
        (func (export "grow") (param i32)
            (if (i32.eq (memory.grow $second (local.get 0)) (i32.const -1)) (then unreachable)))
        (func (export "grow-table") (param i32)
            (if (i32.eq (table.grow $t (ref.null func) (local.get 0)) (i32.const -1))
                (then unreachable)))"#;
    let functions = [("grow", r#"(param "n" u32)"#), ("grow-table", r#"(param "n" u32)"#)];
    let bytes = component(core, &functions);
    for policy in POLICIES {
        // Two pages and 8192 elements of 8 bytes are there from the start.
        let spec = format!("limits: {{memory: 256Ki, tables: 10000}}\n{policy}");
        let prepare = || prepare(&engine, "grow", &bytes, &spec);
        let outcome = prepare().call("grow", number(1, 1)).await;
        assert_eq!((limit(outcome.result), outcome.usage.peak_memory), (None, 256 << 10));
        let over = prepare().call("grow", number(1, 2)).await.result;
        assert_eq!(limit(over), Some(LimitKind::Memory), "{policy}");
        assert_eq!(limit(prepare().call("grow-table", number(1, 1808)).await.result), None);
        let over = prepare().call("grow-table", number(1, 1809)).await.result;
        assert_eq!(limit(over), Some(LimitKind::Tables), "{policy}");
    }
}

#[tokio::test]
async fn asking_for_the_impossible_does_not_lower_the_account() {
    let engine = engine();
    // Each failing growth is beyond what the memory's own type allows.
    let core = r#"(memory (export "memory") 1 20)
        (func (export "grow")
            (local $n i32)
            (drop (memory.grow (i32.const 7)))
            (drop (memory.grow (i32.const 65536)))
            (drop (memory.grow (i32.const -1)))
            (drop (memory.grow (i32.const 20)))
            (if (i32.eq (memory.grow (i32.const 9)) (i32.const -1)) (then unreachable)))"#;
    let bytes = component(core, &[("grow", "")]);
    let guest = prepare(&engine, "grow", &bytes, "limits: {memory: 1Mi}");
    assert_eq!(limit(guest.run("grow").await), Some(LimitKind::Memory));
    let guest = prepare(&engine, "grow", &bytes, "limits: {memory: 1088Ki}");
    assert_eq!(limit(guest.run("grow").await), None);
}

#[tokio::test]
async fn a_refusal_that_the_guest_lives_with_is_no_fault() {
    let engine = engine();
    let core = r#"(func (export "try") (result i32) (memory.grow (i32.const 1000)))
        (func (export "divide") (drop (i32.div_u (i32.const 1) (i32.const 0))))"#;
    let bytes = component(core, &[("try", "(result s32)"), ("divide", "")]);
    let spec = format!("limits: {{memory: 1Mi}}\n{}", POLICIES[1]);
    let guest = prepare(&engine, "try", &bytes, &spec);
    assert_eq!(value(&guest.run("try").await.unwrap()), 1, "-1 in zigzag");
    // The next call of the same instance traps for a reason of its own.
    assert_eq!(trap(guest.run("divide").await).0, "it divided by zero");
}

#[tokio::test]
async fn parts_are_counted() {
    let engine = engine();
    let five = crate::support::wat(
        r#"(component
            (core module $m (memory 1) (table 1 funcref) (func (export "f")))
            (core instance (instantiate $m)) (core instance (instantiate $m))
            (core instance (instantiate $m)) (core instance (instantiate $m))
            (core instance $i (instantiate $m))
            (func (export "f") (canon lift (core func $i "f"))))"#,
    );
    for policy in POLICIES {
        let spec = |n| format!("limits: {{instances: {n}}}\n{policy}");
        assert_eq!(limit(prepare(&engine, "five", &five, &spec(5)).run("f").await), None);
        let fault = prepare(&engine, "five", &five, &spec(4)).run("f").await.unwrap_err();
        assert!(matches!(fault, Fault::NeverFits(_)), "{fault:?}");
    }
    // Core instances alone are seen only when they are made.
    let plain = crate::support::wat(
        r#"(component
            (core module $m (func (export "f")))
            (core instance (instantiate $m)) (core instance (instantiate $m))
            (core instance $i (instantiate $m))
            (func (export "f") (canon lift (core func $i "f"))))"#,
    );
    for policy in POLICIES {
        let spec = |n| format!("limits: {{instances: {n}}}\n{policy}");
        assert_eq!(limit(prepare(&engine, "three", &plain, &spec(3)).run("f").await), None);
        let over = prepare(&engine, "three", &plain, &spec(2)).run("f").await;
        assert_eq!(limit(over), Some(LimitKind::Instances));
    }
}

#[tokio::test]
async fn requests_and_responses_are_bounded() {
    let engine = engine();
    let core = r#"(memory (export "memory") 4)
        (func (export "take") (param i32 i32))
        (func (export "give") (param i32) (result i32)
            (i32.store (i32.const 16) (i32.const 1024))
            (i32.store (i32.const 20) (local.get 0))
            (i32.const 16))"#;
    let functions = [
        ("take", r#"(param "bytes" (list u8))"#),
        ("give", r#"(param "n" u32) (result (list u8))"#),
    ];
    let bytes = component(core, &functions);
    for policy in POLICIES {
        let spec = format!("limits: {{input: 1003, output: 1003}}\n{policy}");
        let guest = prepare(&engine, "bytes", &bytes, &spec);
        assert_eq!(limit(guest.call("take", blob(1, &[7; 1000])).await.result), None);
        let over = guest.call("take", blob(1, &[7; 1001])).await.result;
        assert_eq!(limit(over), Some(LimitKind::Input), "{policy}");
        assert_eq!(guest.call("give", number(1, 1000)).await.result.unwrap().len(), 1003);
        let over = guest.call("give", number(1, 1001)).await.result;
        assert_eq!(limit(over), Some(LimitKind::Output), "{policy}");
        assert_eq!(limit(guest.call("give", number(1, 10)).await.result), None);
    }
}

#[tokio::test]
async fn copying_is_bounded_on_the_way_in_and_out() {
    let engine = engine();
    let core = r#"(memory (export "memory") 4)
        (func (export "take") (param i32 i32))
        (func (export "give") (param i32) (result i32)
            (i32.store (i32.const 16) (i32.const 1024))
            (i32.store (i32.const 20) (local.get 0))
            (i32.const 16))"#;
    let functions = [
        ("take", r#"(param "bytes" (list u8))"#),
        ("give", r#"(param "n" u32) (result (list u8))"#),
    ];
    let bytes = component(core, &functions);
    for policy in POLICIES {
        // A value on the host takes 40 bytes and more, so 64 KiB are about 1,000 of them.
        let spec = format!("limits: {{host_copy: 64Ki}}\n{policy}");
        let guest = prepare(&engine, "bytes", &bytes, &spec);
        assert_eq!(limit(guest.call("take", blob(1, &[7; 500])).await.result), None);
        let over = guest.call("take", blob(1, &[7; 5000])).await.result;
        assert_eq!(limit(over), Some(LimitKind::HostCopy), "{policy}");
        assert_eq!(limit(guest.call("give", number(1, 500)).await.result), None);
        let over = guest.call("give", number(1, 5000)).await.result;
        assert_eq!(limit(over), Some(LimitKind::HostCopy), "{policy}");
    }
}

#[tokio::test]
async fn copying_is_bounded_in_each_host_call() {
    let engine = engine();
    let bytes = crate::support::wat(
        r#"(component
            (import "wasi:logging/logging@0.1.0-draft" (instance $log
                (type $l (enum "trace" "debug" "info" "warn" "error" "critical"))
                (export "level" (type $level (eq $l)))
                (export "log" (func
                    (param "level" $level) (param "context" string) (param "message" string)))))
            (core module $memory (memory (export "memory") 16))
            (core instance $memory (instantiate $memory))
            (core func $log (canon lower (func $log "log") (memory (core memory $memory "memory"))))
            (core module $m
                (import "" "log" (func $log (param i32 i32 i32 i32 i32)))
                (func (export "log") (param i32)
                    (call $log (i32.const 2) (i32.const 0) (i32.const 0)
                        (i32.const 0) (local.get 0))))
            (core instance $i (instantiate $m
                (with "" (instance (export "log" (func $log))))))
            (func (export "log") (param "bytes" u32) (canon lift (core func $i "log"))))"#,
    );
    for policy in POLICIES {
        let spec = format!("limits: {{host_copy: 64Ki, output: 1Ki}}\n{policy}");
        let guest = prepare(&engine, "log", &bytes, &spec);
        assert_eq!(limit(guest.call("log", number(1, 60_000)).await.result), None);
        let over = guest.call("log", number(1, 70_000)).await.result;
        assert_eq!(limit(over), Some(LimitKind::HostCopy), "{policy}");
    }
}

#[tokio::test]
async fn handles_are_bounded() {
    let engine = engine();
    let bytes = crate::support::wat(
        r#"(component
            (type $r (resource (rep i32)))
            (core func $new (canon resource.new $r))
            (core module $m
                (import "" "new" (func $new (param i32) (result i32)))
                (func (export "make") (param i32)
                    (loop
                        (drop (call $new (i32.const 1)))
                        (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))
            (core instance $i (instantiate $m
                (with "" (instance (export "new" (func $new))))))
            (func (export "make") (param "n" u32) (canon lift (core func $i "make"))))"#,
    );
    for policy in POLICIES {
        let spec = format!("limits: {{handles: 100}}\n{policy}");
        let guest = prepare(&engine, "handles", &bytes, &spec);
        assert_eq!(limit(guest.call("make", number(1, 90)).await.result), None);
        let guest = prepare(&engine, "handles", &bytes, &spec);
        let over = guest.call("make", number(1, 200)).await.result;
        assert_eq!(limit(over), Some(LimitKind::Handles), "{policy}");
    }
}

#[tokio::test]
async fn what_a_module_starts_with_must_fit_its_own_limits() {
    let engine = engine();
    let core = r#"(memory (export "memory") 100) (func (export "f"))"#;
    let bytes = component(core, &[("f", "")]);
    let small = crate::support::spec("limits: {memory: 1Mi}");
    assert!(engine.inspect(&bytes, &small).unwrap_err().to_string().contains("limits.memory"));
    let guest = prepare(&engine, "m", &bytes, "limits: {memory: 1Mi}");
    assert!(matches!(guest.module.load().unwrap_err().as_ref(), LoadError::NeverFits(_)));
    for (field, spec) in [
        ("limits.memory", "limits: {memory: 5Gi}"),
        ("limits.tables", "limits: {tables: 1_000_000}"),
        ("limits.instances", "limits: {instances: 10000}"),
    ] {
        let refused = try_prepare(&engine, "m", &bytes, spec).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains(field), "{refused}");
    }
}
