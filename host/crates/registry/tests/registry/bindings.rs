//! Modules that call other modules of their namespace.

use std::{sync::Arc, time::Duration};

use roadstead_domain::{BindingFault, BindingProblem, Fault, ModuleSpec, Namespace, SpecFormat};
use roadstead_engine::CallPath;
use roadstead_registry::{BindingStanding, LiveVersion, PushError, PushRequest};

use crate::harness::{Host, calc, call_of_add, exported, named, try_to_add};

const CALC: &str = "demo:calc/ops@0.1.0";

/// A component that serves `add` as `export` by calling the one that it imports.
fn through(import: &str, export: &str) -> Vec<u8> {
    calling(import, export, "u32", "call $add")
}

/// The same with another type of the import, and with core code that has both numbers on its stack.
fn calling(import: &str, export: &str, ty: &str, code: &str) -> Vec<u8> {
    let core = if ty == "u64" { "i64" } else { "i32" };
    let text = format!(
        r#"(component
          (import "{import}" (instance $ops
            (export "add" (func (param "a" {ty}) (param "b" {ty}) (result {ty})))))
          (core func $add (canon lower (func $ops "add")))
          (core module $m
            (import "ops" "add" (func $add (param {core} {core}) (result {core})))
            (func (export "add") (param {core} {core}) (result {core})
              local.get 0 local.get 1 {code}))
          (core instance $i (instantiate $m (with "ops" (instance (export "add" (func $add))))))
          (func $f (param "a" {ty}) (param "b" {ty}) (result {ty})
            (canon lift (core func $i "add")))
          (instance $out (export "add" (func $f)))
          (export "{export}" (instance $out)))"#
    );
    wat::parse_str(text).unwrap()
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
    let request = bound("front", &[(CALC, "{module: calc}")]);
    host.push_as(request, &through(CALC, "demo:front/ops@0.1.0")).await.unwrap();
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
