//! Modules that call other modules of their namespace.

mod calls;

use std::{sync::Arc, time::Duration};

use roadstead_domain::{BindingFault, BindingProblem, Fault, ModuleSpec, Namespace, SpecFormat};
use roadstead_engine::CallPath;
use roadstead_registry::{BindingStanding, LiveVersion, PushError, PushRequest};

use crate::harness::{Host, calc, exported, named, try_to_add};

const CALC: &str = "demo:calc/ops@0.1.0";

/// A component that serves `add` as `export` by calling the one that it imports.
fn through(import: &str, export: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
          (import "{import}" (instance $ops
            (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
          (core func $add (canon lower (func $ops "add")))
          (core module $m
            (import "ops" "add" (func $add (param i32 i32) (result i32)))
            (func (export "add") (param i32 i32) (result i32)
              local.get 0 local.get 1 call $add))
          (core instance $i (instantiate $m (with "ops" (instance (export "add" (func $add))))))
          (func $f (param "a" u32) (param "b" u32) (result u32)
            (canon lift (core func $i "add")))
          (instance $out (export "add" (func $f)))
          (export "{export}" (instance $out)))"#
    );
    wat::parse_str(text).unwrap()
}

/// A `calc` whose `add` is this code.
fn core(code: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
          (core module $m (func (export "add") (param i32 i32) (result i32) {code}))
          (core instance $i (instantiate $m))
          (func $f (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
          (instance $out (export "add" (func $f)))
          (export "{CALC}" (instance $out)))"#
    );
    wat::parse_str(text).unwrap()
}

const SPIN: &str = "(loop (br 0)) unreachable";

/// A spec for calls that take so long at the most.
fn limits(deadline: &str) -> String {
    format!("limits: {{deadline: {deadline}, fuel_per_call: 1_000_000_000_000}}\n")
}

/// `front`, which calls `calc`.
async fn push_front(host: &Host, spec: &str) {
    let spec = format!("bindings: {{'{CALC}': {{module: calc}}}}\n{spec}");
    let front = through(CALC, "demo:front/ops@0.1.0");
    host.push_as(with_spec("front", &spec), &front).await.unwrap();
}

fn running(host: &Host, name: &str) -> u64 {
    current(host, name).module().unwrap().stats().running
}

fn bound(name: &str, bindings: &[(&str, &str)]) -> PushRequest {
    let bindings: String =
        bindings.iter().map(|(import, target)| format!("  '{import}': {target}\n")).collect();
    with_spec(name, &format!("bindings:\n{bindings}"))
}

fn with_spec(name: &str, yaml: &str) -> PushRequest {
    PushRequest { spec: ModuleSpec::parse(yaml, SpecFormat::Yaml).unwrap(), ..named(name) }
}

fn current(host: &Host, name: &str) -> Arc<LiveVersion> {
    let module = host.registry.get(&Namespace::default(), &name.parse().unwrap()).unwrap();
    Arc::clone(module.current().unwrap())
}

async fn run(host: &Host, name: &str) -> Result<u64, Fault> {
    try_to_add(&current(host, name), 2, 3).await
}

fn behind(result: Result<u64, Fault>) -> BindingFault {
    match result {
        Err(Fault::Binding(fault)) => *fault,
        other => panic!("{other:?}"),
    }
}

fn standing(host: &Host, name: &str) -> BindingStanding {
    current(host, name).bindings().pop().unwrap().standing
}

/// A host with `calc`, and `front` which calls it.
async fn pair() -> Host {
    let host = Host::new().await;
    host.push("calc", &calc(10)).await.unwrap();
    push_front(&host, "").await;
    host
}

#[tokio::test]
async fn a_component_calls_another_through_a_binding() {
    let host = pair().await;
    assert_eq!(run(&host, "front").await, Ok(15));
    let front = current(&host, "front");
    let import = &front.record().imports[0];
    assert_eq!((&*import.name, &*import.grant), (CALC, "module calc"));
    assert_eq!(standing(&host, "front"), BindingStanding::Bound("calc@0.1.0".to_owned()));
    let calls = |name| current(&host, name).module().unwrap().stats().calls;
    assert_eq!((calls("front"), calls("calc")), (1, 1));
}

/// Pushes each as a module that exports `demo:NAME/ops@0.1.0` and calls the next one's, the last one
/// `calc`'s.
async fn chain(host: &Host, names: &[String]) {
    for (at, name) in names.iter().enumerate().rev() {
        let (import, target) = match names.get(at + 1) {
            Some(next) => (format!("demo:{next}/ops@0.1.0"), format!("{{module: {next}}}")),
            None => (CALC.to_owned(), "{module: calc}".to_owned()),
        };
        let component = through(&import, &format!("demo:{name}/ops@0.1.0"));
        host.push_as(bound(name, &[(&import, &target)]), &component).await.unwrap();
    }
}

#[tokio::test]
async fn bindings_are_found_again_after_a_restart() {
    let host = pair().await.restarted().await;
    assert_eq!(run(&host, "front").await, Ok(15));
    assert_eq!(standing(&host, "front"), BindingStanding::Bound("calc@0.1.0".to_owned()));
}

#[tokio::test]
async fn an_import_that_nobody_serves_is_refused_and_a_binding_is_named() {
    let host = Host::new().await;
    let component = through(CALC, "demo:front/ops@0.1.0");
    let Err(PushError::UnknownImports(imports)) = host.push("front", &component).await else {
        panic!("an import that nobody serves")
    };
    assert_eq!(imports[0].name, CALC);
    assert!(imports[0].hint.contains("bindings"), "{}", imports[0].hint);
}

#[tokio::test]
async fn bindings_that_cannot_be_are_refused_at_push() {
    let host = Host::new().await;
    host.push("calc", &calc(0)).await.unwrap();
    let forced = PushRequest { force: true, ..named("wide") };
    host.push_as(forced, &exported(CALC, &[("add", "s32", 0)])).await.unwrap();
    host.push("other", &exported("demo:calc/ops@0.2.0", &[("add", "u32", 0)])).await.unwrap();
    host.push("less", &exported(CALC, &[("subtract", "u32", 0)])).await.unwrap();
    let front = through(CALC, "demo:front/ops@0.1.0");
    for (import, target, text) in [
        ("demo:calc/more@0.1.0", "{module: calc}", "does not import"),
        ("demo:calc/ops@0.1.1", "{module: calc}", "does not import"),
        (CALC, "{module: front}", "its own imports"),
        (CALC, "{module: wide}", "`add`, parameter a is u32 in the import, and s32 in what"),
        (CALC, "{module: other}", "does not export `demo:calc/ops@0.1.0`"),
        (CALC, "{module: less}", "no function `add`"),
        (CALC, "{module: wide, version: 0.1.0}", "s32"),
    ] {
        let pushed = host.push_as(bound("front", &[(import, target)]), &front).await;
        let Err(PushError::Bindings(bad)) = pushed else { panic!("{import} to {target}") };
        assert_eq!(bad[0].import, import);
        assert!(bad[0].problem.contains(text), "{import} to {target}: {}", bad[0].problem);
    }
    let more = exported("demo:calc/ops@0.1.7", &[("subtract", "u32", 0), ("add", "u32", 1)]);
    host.push_as(PushRequest { force: true, ..named("newer") }, &more).await.unwrap();
    let request = bound("front", &[(CALC, "{module: newer}")]);
    host.push_as(request, &front).await.unwrap();
    assert_eq!(run(&host, "front").await, Ok(6), "more functions, and a later patch of the track");
}

#[tokio::test]
async fn what_is_more_than_values_cannot_be_bound() {
    let host = Host::new().await;
    for (types, function, text) in [
        ("", "(func (param \"a\" (stream u8)))", "streams"),
        ("", "(func (result (future u8)))", "futures"),
        ("", "(func async (param \"a\" u8))", "async functions"),
        ("(export \"r\" (type (sub resource)))", "(func)", "resources"),
    ] {
        let component = format!(
            r#"(component
              (import "demo:calc/ops@0.1.0" (instance {types} (export "f" {function}))))"#
        );
        let component = wat::parse_str(&component).unwrap_or_else(|error| panic!("{error}"));
        let request = bound("front", &[(CALC, "{module: calc}")]);
        let Err(PushError::Bindings(bad)) = host.push_as(request, &component).await else {
            panic!("{text}")
        };
        assert!(bad[0].problem.contains(text), "{text}: {}", bad[0].problem);
        assert!(bad[0].problem.contains("binding"), "{}", bad[0].problem);
    }
}

#[tokio::test]
async fn a_target_may_come_later_go_and_come_back() {
    let host = Host::new().await;
    let front = through(CALC, "demo:front/ops@0.1.0");
    host.push_as(bound("front", &[(CALC, "{module: calc}")]), &front).await.unwrap();
    let pinned = bound("pinned", &[(CALC, "{module: calc, version: 0.1.1}")]);
    host.push_as(pinned, &through(CALC, "demo:pinned/ops@0.1.0")).await.unwrap();
    let absent = |name: &'static str| async {
        let fault = behind(run(&host, name).await);
        assert!(matches!(fault.problem, BindingProblem::Absent(_)), "{fault}");
        assert!(matches!(standing(&host, name), BindingStanding::Missing(_)));
        fault.to_string()
    };
    let text = absent("front").await;
    assert_eq!(text, format!("binding of `{CALC}` to `calc`: not ready: no module `calc` here"));
    host.push("calc", &calc(1)).await.unwrap();
    assert_eq!(run(&host, "front").await, Ok(6));
    assert!(absent("pinned").await.contains("no version 0.1.1"));
    host.push("calc", &calc(2)).await.unwrap();
    assert_eq!(run(&host, "front").await, Ok(7), "a new version takes over at once");
    assert_eq!(run(&host, "pinned").await, Ok(7));
    host.push("calc", &calc(3)).await.unwrap();
    assert_eq!((run(&host, "front").await, run(&host, "pinned").await), (Ok(8), Ok(7)));
    let name = "calc".parse().unwrap();
    host.registry.delete(&Namespace::default(), &name, None).await.unwrap();
    absent("front").await;
}

#[tokio::test]
async fn a_target_that_comes_to_export_another_type_is_a_mismatch_until_it_fits_again() {
    let host = pair().await;
    let request = PushRequest { force: true, ..named("calc") };
    let other = exported(CALC, &[("add", "s32", 0)]);
    host.push_as(request, &other).await.unwrap();
    let fault = behind(run(&host, "front").await);
    assert!(matches!(fault.problem, BindingProblem::Mismatch(_)), "{fault}");
    let BindingStanding::Mismatch(text) = standing(&host, "front") else { panic!() };
    assert!(text.contains("u32") && text.contains("s32"), "{text}");
    assert!(fault.to_string().contains(&text));
    let request = PushRequest { force: true, ..named("calc") };
    host.push_as(request, &calc(20)).await.unwrap();
    assert_eq!(run(&host, "front").await, Ok(25));
}

#[tokio::test]
async fn a_target_that_traps_fails_the_call_and_not_the_caller() {
    let host = Host::new().await;
    host.push("calc", &core("unreachable")).await.unwrap();
    push_front(&host, "").await;
    let mut last = None;
    for _ in 0..100 {
        last = Some(behind(run(&host, "front").await));
        let problem = &last.as_ref().unwrap().problem;
        if matches!(problem, BindingProblem::Fault(Fault::BreakerOpen { .. })) {
            break;
        }
        assert!(matches!(problem, BindingProblem::Fault(Fault::GuestTrap { .. })), "{problem}");
    }
    let fault = last.unwrap();
    assert!(matches!(fault.problem, BindingProblem::Fault(Fault::BreakerOpen { .. })), "{fault}");
    assert_eq!(fault.hops[0].target, "calc@0.1.0");
    let (front, target) = (current(&host, "front"), current(&host, "calc"));
    let stats = |live: &LiveVersion| live.module().unwrap().stats();
    assert_eq!(stats(&front).breaker, roadstead_engine::BreakerState::Closed);
    assert_ne!(stats(&target).breaker, roadstead_engine::BreakerState::Closed);
    assert!(!Fault::Binding(Box::new(fault)).blames_version());
    assert!(0 < target.outcomes().read().1, "counted for the rollout of the target");
}

/// Pushes `name`, which calls `next`; `version` is that of the binding.
async fn try_to_bind(host: &Host, name: &str, next: &str, version: &str) -> Result<(), PushError> {
    let import = format!("demo:{next}/ops@0.1.0");
    let component = through(&import, &format!("demo:{name}/ops@0.1.0"));
    let target = format!("{{module: {next}{version}}}");
    host.push_as(bound(name, &[(&import, &target)]), &component).await.map(drop)
}

#[tokio::test]
async fn a_binding_that_closes_a_circle_is_refused() {
    let host = Host::new().await;
    for (first, then) in [(["a", "b"], ["b", "a"]), (["y", "z"], ["x", "y"])] {
        try_to_bind(&host, first[0], first[1], "").await.unwrap();
        let last = try_to_bind(&host, then[0], then[1], "").await;
        assert_eq!(last.is_ok(), then[0] == "x", "{last:?}");
    }
    let Err(PushError::Bindings(bad)) = try_to_bind(&host, "z", "x", "").await else {
        panic!("a circle")
    };
    assert_eq!(bad[0].import, "demo:x/ops@0.1.0");
    assert_eq!(bad[0].problem, "its calls would come back to `z`: z → x → y → z");
    assert!(host.registry.get(&Namespace::default(), &"z".parse().unwrap()).is_err());
    // No module stands twice on the way of a call, whatever the version.
    host.push("z", &exported("demo:z/ops@0.1.0", &[("add", "u32", 0)])).await.unwrap();
    try_to_bind(&host, "w", "z", ", version: 0.1.0").await.unwrap();
    try_to_bind(&host, "z", "w", "").await.unwrap_err();
}

#[tokio::test]
async fn bindings_in_a_circle_end_at_once() {
    let host = Host::new().await;
    let names = ["a", "b", "c"];
    try_to_bind(&host, "c", "a", "").await.unwrap();
    let plain = exported("demo:c/ops@0.1.0", &[("add", "u32", 0)]);
    host.push("c", &plain).await.unwrap();
    try_to_bind(&host, "b", "c", "").await.unwrap();
    try_to_bind(&host, "a", "b", "").await.unwrap();
    assert_eq!(run(&host, "a").await, Ok(5));
    // It comes about where an old version answers again.
    let (namespace, old) = (Namespace::default(), "0.1.0".parse().unwrap());
    host.registry.pin(&namespace, &"c".parse().unwrap(), Some(&old)).await.unwrap();
    let fault = behind(run(&host, "a").await);
    let BindingProblem::Cycle(circle) = &fault.problem else { panic!("{fault}") };
    assert_eq!(circle, "a@0.1.0 → b@0.1.0 → c@0.1.0 → a");
    assert_eq!(fault.hops.len(), 3);
    until("nothing of it runs on", || names.iter().all(|name| running(&host, name) == 0)).await;
}

#[tokio::test]
async fn sixteen_hops_go_through_and_the_seventeenth_does_not() {
    let host = Host::new().await;
    host.push("calc", &calc(1)).await.unwrap();
    let names: Vec<String> = (0..=CallPath::MOST).map(|at| format!("m{at}")).collect();
    chain(&host, &names).await;
    assert_eq!(run(&host, "m1").await, Ok(6), "16 modules before the last");
    let fault = behind(run(&host, "m0").await);
    assert_eq!(fault.problem, BindingProblem::Depth(16));
    assert_eq!(fault.hops.len(), 17);
}

#[tokio::test]
async fn namespaces_do_not_see_each_others_targets() {
    let host = pair().await;
    let other: Namespace = "other".parse().unwrap();
    let staged = host.stage(&through(CALC, "demo:front/ops@0.1.0")).await.unwrap();
    let request = bound("front", &[(CALC, "{module: calc}")]);
    host.registry.push(&other, request, staged, &|_| {}).await.unwrap();
    let front = host.registry.get(&other, &"front".parse().unwrap()).unwrap();
    let fault = behind(try_to_add(front.current().unwrap(), 2, 3).await);
    assert!(matches!(fault.problem, BindingProblem::Absent(_)), "{fault}");
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}
