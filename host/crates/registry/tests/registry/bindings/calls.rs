//! What goes with a call through a binding, and what bounds it.

use std::{sync::Arc, time::Duration};

use roadstead_domain::{BindingProblem, CallId, Fault, LimitKind};
use roadstead_engine::Call;

use super::{
    CALC, SPIN, behind, bound, core, current, limits, pair, push_front, run, running, until,
    with_spec,
};
use crate::harness::{Host, calc, call_of_add, try_to_add};

#[tokio::test]
async fn the_target_has_what_is_left_of_the_callers_time() {
    let host = Host::new().await;
    host.push_as(with_spec("calc", &limits("100ms")), &core(SPIN)).await.unwrap();
    push_front(&host, &limits("1m")).await;
    let fault = behind(run(&host, "front").await);
    let hundred = Duration::from_millis(100);
    assert_eq!(fault.problem, BindingProblem::Fault(Fault::Deadline(hundred)), "the target's own");
    host.push_as(with_spec("calc", &limits("10m")), &core(SPIN)).await.unwrap();
    let live = current(&host, "front");
    let call = Call { timeout: Some(hundred), ..call_of_add(&live, 2, 3) };
    let ended = live.module().unwrap().call(call).await.result;
    assert_eq!(ended, Err(Fault::Deadline(hundred)), "the caller's time is over for both");
    until("the target's call ends with it", || running(&host, "calc") == 0).await;
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_targets_call() {
    let host = Host::new().await;
    host.push_as(with_spec("calc", &limits("10m")), &core(SPIN)).await.unwrap();
    push_front(&host, &limits("10m")).await;
    let live = current(&host, "front");
    let call = call_of_add(&live, 2, 3);
    let calling = tokio::spawn(async move { live.module().unwrap().call(call).await });
    until("the target runs", || running(&host, "calc") == 1).await;
    calling.abort();
    until("nothing runs", || running(&host, "calc") + running(&host, "front") == 0).await;
    let faults = current(&host, "calc").module().unwrap().stats().faults;
    assert_eq!(faults.get("CANCELLED"), Some(&1));
}

#[tokio::test]
async fn what_the_target_runs_into_is_the_targets() {
    let host = Host::new().await;
    let spec = "limits: {fuel_per_call: 10_000}\n";
    host.push_as(with_spec("calc", spec), &core(SPIN)).await.unwrap();
    push_front(&host, "").await;
    let fault = behind(run(&host, "front").await);
    let BindingProblem::Fault(Fault::Limit(reached)) = fault.problem else { panic!("{fault}") };
    assert_eq!((reached.limit, reached.allowed), (LimitKind::Fuel, 10_000));
    let faults = |name| current(&host, name).module().unwrap().stats().faults;
    assert_eq!(faults("calc").get("FUEL_EXHAUSTED"), Some(&1));
    assert_eq!(faults("front").keys().collect::<Vec<_>>(), [&"BINDING_FAULT"]);
}

#[tokio::test]
async fn a_target_that_is_full_refuses_the_call() {
    let host = Host::new().await;
    let spec = format!("{}quota: {{concurrency: 1, queue: 0}}\n", limits("10m"));
    host.push_as(with_spec("calc", &spec), &core(SPIN)).await.unwrap();
    push_front(&host, "").await;
    let live = current(&host, "calc");
    let call = call_of_add(&live, 2, 3);
    let holding = tokio::spawn(async move { live.module().unwrap().call(call).await });
    until("the target runs", || running(&host, "calc") == 1).await;
    let fault = behind(run(&host, "front").await);
    let problem = &fault.problem;
    assert!(matches!(problem, BindingProblem::Fault(Fault::Overloaded { .. })), "{fault}");
    holding.abort();
}

#[tokio::test]
async fn a_call_through_a_binding_waits_for_a_place_for_a_short_time_alone() {
    let host = Host::new().await;
    let spec = format!("{}quota: {{concurrency: 1}}\n", limits("10m"));
    host.push_as(with_spec("calc", &spec), &core(SPIN)).await.unwrap();
    push_front(&host, &limits("1m")).await;
    let live = current(&host, "calc");
    let call = call_of_add(&live, 2, 3);
    let holding = tokio::spawn(async move { live.module().unwrap().call(call).await });
    until("the target runs", || running(&host, "calc") == 1).await;
    let fault = behind(run(&host, "front").await);
    let problem = &fault.problem;
    assert!(matches!(problem, BindingProblem::Fault(Fault::Overloaded { .. })), "{fault}");
    holding.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_go_through_at_once() {
    let host = pair().await;
    let live = current(&host, "front");
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let live = Arc::clone(&live);
            tokio::spawn(async move {
                for _ in 0..20 {
                    assert_eq!(try_to_add(&live, 2, 3).await, Ok(15));
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let calls = |name| current(&host, name).module().unwrap().stats().calls;
    assert_eq!((calls("front"), calls("calc")), (64 * 20, 64 * 20));
}

/// `fill`, which gives so many bytes, and `take`, which counts those that it gets.
const DATA: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func $grow (param i32)
      (drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get 0) (i32.const 16))))))
    (global $top (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (call $grow (local.get 3))
      (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get 3))))
    (func (export "fill") (param i32) (result i32)
      (call $grow (local.get 0))
      (i32.store (i32.const 16) (i32.const 65536))
      (i32.store (i32.const 20) (local.get 0))
      (i32.const 16))
    (func (export "take") (param i32 i32) (result i32) (local.get 1)))
  (core instance $i (instantiate $m))
  (func $fill (param "n" u32) (result (list u8))
    (canon lift (core func $i "fill") (memory (core memory $i "memory"))))
  (func $take (param "bytes" (list u8)) (result u32)
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (instance $out (export "fill" (func $fill)) (export "take" (func $take)))
  (export "demo:data/data@0.1.0" (instance $out)))"#;

/// `fetch` and `send`, which have so many bytes from `fill` or for `take`.
const CARRIER: &str = r#"(component
  (import "demo:data/data@0.1.0" (instance $data
    (export "fill" (func (param "n" u32) (result (list u8))))
    (export "take" (func (param "bytes" (list u8)) (result u32)))))
  (core module $memory
    (memory (export "memory") 1)
    (func $grow (export "grow") (param i32)
      (drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get 0) (i32.const 16))))))
    (global $top (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (call $grow (local.get 3))
      (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get 3)))))
  (core instance $memory (instantiate $memory))
  (core func $fill (canon lower (func $data "fill")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $take (canon lower (func $data "take") (memory (core memory $memory "memory"))))
  (core module $m
    (import "memory" "memory" (memory 1))
    (import "memory" "grow" (func $grow (param i32)))
    (import "data" "fill" (func $fill (param i32 i32)))
    (import "data" "take" (func $take (param i32 i32) (result i32)))
    (func (export "fetch") (param i32 i32) (result i32)
      (call $fill (local.get 0) (i32.const 16))
      (i32.load (i32.const 20)))
    (func (export "send") (param i32 i32) (result i32)
      (call $grow (local.get 0))
      (call $take (i32.const 65536) (local.get 0))))
  (core instance $i (instantiate $m
    (with "memory" (instance $memory))
    (with "data" (instance (export "fill" (func $fill)) (export "take" (func $take))))))
  (func $fetch (param "n" u32) (param "unused" u32) (result u32)
    (canon lift (core func $i "fetch")))
  (func $send (param "n" u32) (param "unused" u32) (result u32)
    (canon lift (core func $i "send")))
  (instance $out (export "fetch" (func $fetch)) (export "send" (func $send)))
  (export "demo:carrier/ops@0.1.0" (instance $out)))"#;

/// Carries so many bytes one way or the other; answers how many arrived.
async fn carry(host: &Host, method: &str, bytes: u64) -> Result<u64, Fault> {
    let live = current(host, "carrier");
    let plan = Arc::clone(&live.method("demo.carrier.ops.v0_1.Ops", method)?.plan);
    let mut request = vec![0x08];
    varint(&mut request, bytes);
    let call = Call::new(CallId(1), plan, request.into());
    let answer = live.module()?.call(call).await.result?;
    Ok(answer.iter().skip(1).rev().fold(0, |value, byte| (value << 7) | u64::from(byte & 0x7f)))
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while 0x7f < value {
        to.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    to.push(u8::try_from(value).unwrap());
}

async fn push_carrier(host: &Host, spec: &str) {
    let carrier = wat::parse_str(CARRIER).unwrap();
    let spec = format!("bindings: {{'demo:data/data@0.1.0': {{module: data}}}}\n{spec}");
    host.push_as(with_spec("carrier", &spec), &carrier).await.unwrap();
}

#[tokio::test]
async fn bytes_go_through_a_binding_as_far_as_both_sides_limits_allow() {
    let host = Host::new().await;
    let data = wat::parse_str(DATA).unwrap();
    host.push("data", &data).await.unwrap();
    push_carrier(&host, "").await;
    for bytes in [0, 1, 100_000, 1 << 20] {
        for method in ["Fetch", "Send"] {
            assert_eq!(carry(&host, method, bytes).await, Ok(bytes), "{method}");
        }
    }
    push_carrier(&host, "limits: {host_copy: 1Mi}").await;
    assert_eq!(carry(&host, "Fetch", 1000).await, Ok(1000));
    for method in ["Fetch", "Send"] {
        let Err(Fault::Limit(reached)) = carry(&host, method, 200_000).await else {
            panic!("{method}: more than the caller may have copied")
        };
        assert_eq!((reached.limit, reached.allowed), (LimitKind::HostCopy, 1 << 20));
    }
    push_carrier(&host, "").await;
    host.push_as(with_spec("data", "limits: {input: 1Ki, output: 1Ki}"), &data).await.unwrap();
    for (method, limit) in [("Fetch", LimitKind::Output), ("Send", LimitKind::Input)] {
        assert_eq!(carry(&host, method, 1000).await, Ok(1000));
        let fault = behind(carry(&host, method, 2000).await);
        let BindingProblem::Fault(Fault::Limit(reached)) = fault.problem else { panic!("{fault}") };
        assert_eq!((reached.limit, reached.allowed), (limit, 1 << 10));
    }
}

#[tokio::test]
async fn a_module_calls_nobody_while_it_is_made() {
    let host = Host::new().await;
    host.push("calc", &calc(0)).await.unwrap();
    let text = format!(
        r#"(component
          (import "{CALC}" (instance $ops
            (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
          (core func $add (canon lower (func $ops "add")))
          (core module $m
            (import "ops" "add" (func $add (param i32 i32) (result i32)))
            (func $begin (drop (call $add (i32.const 1) (i32.const 2))))
            (start $begin)
            (func (export "add") (param i32 i32) (result i32) (i32.const 7)))
          (core instance $i (instantiate $m (with "ops" (instance (export "add" (func $add))))))
          (func $f (param "a" u32) (param "b" u32) (result u32)
            (canon lift (core func $i "add")))
          (instance $out (export "add" (func $f)))
          (export "demo:front/ops@0.1.0" (instance $out)))"#
    );
    let request = bound("front", &[(CALC, "{module: calc}")]);
    host.push_as(request, &wat::parse_str(text).unwrap()).await.unwrap();
    let fault = behind(run(&host, "front").await);
    assert!(matches!(fault.problem, BindingProblem::Fault(Fault::NotReady(_))), "{fault}");
}

/// `add` tells how often its instance was called.
const COUNTER: &str = r#"(component
  (core module $m
    (global $calls (mut i32) (i32.const 0))
    (func (export "add") (param i32 i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (global.get $calls)))
  (core instance $i (instantiate $m))
  (func $f (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (instance $out (export "add" (func $f)))
  (export "demo:calc/ops@0.1.0" (instance $out)))"#;

#[tokio::test]
async fn the_target_knows_who_called_the_module_that_calls_it() {
    let host = Host::new().await;
    let spec = "instances: {policy: pooled, share: caller}";
    let counter = wat::parse_str(COUNTER).unwrap();
    host.push_as(with_spec("calc", spec), &counter).await.unwrap();
    push_front(&host, "").await;
    let live = current(&host, "front");
    let call = async |owner: &str| {
        let call = Call { owner: Some(owner.into()), ..call_of_add(&live, 2, 3) };
        let answer = live.module().unwrap().call(call).await.result.unwrap();
        answer[1]
    };
    assert_eq!((call("ann").await, call("ann").await), (1, 2), "an instance of its own");
    assert_eq!(call("bob").await, 1, "never another's");
    assert_eq!(call("ann").await, 3);
}
