//! Values of any type from one component to another that it imports, and back.

use std::sync::Arc;

use proptest::prelude::*;
use roadstead_domain::Fault;
use roadstead_transcode::{
    CopyBudget, EncodeError, Import, MethodPlan, World, decode_request, decode_response,
    encode_request, encode_response,
};
use wasmtime::component::{Linker, Val};
use wit_parser::Resolve;

use crate::{
    echo::{ENGINE, GUEST, Guest, encode, typed_values, wrapped, wrapped_type},
    types::{Type, WitText, list},
};
use roadstead_transcode::Scalar;

const IMPORT: &str = "test:echo/api@1.2.0";

/// The import's result lies in memory: this much is enough for a tuple of any type.
const FRONT: &str = r#"
(module
  (import "test:echo/api@1.2.0" "echo" (func $echo (param i32 i32)))
  (func (export "test:echo/front@1.2.0#echo") (param i32) (result i32)
    (local $result i32)
    (local.set $result (call $realloc
      (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 65536)))
    (call $echo (local.get 0) (local.get $result))
    (local.get $result))
"#;

/// A component that exports `echo` and serves it by the one that it imports.
fn front(ty: &Type) -> Vec<u8> {
    let mut text = WitText::default();
    let tuple = text.write(&wrapped_type(ty));
    let types = text.declarations;
    let echo = format!("{types}  echo: func(value: {tuple}) -> {tuple};");
    let wit = format!(
        "package test:echo@1.2.0;\ninterface api {{\n{echo}\n}}\ninterface front {{\n{echo}\n}}\n\
         world guest {{ import api; export front; }}\n"
    );
    let mut resolve = Resolve::default();
    let package = resolve.push_str("front.wit", &wit).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let (_, rest) = GUEST.split_once("(func (export \"cabi_realloc\")").unwrap();
    let rest = format!(
        "(memory (export \"memory\") 1)\n(global $next (mut i32) (i32.const 16))\n\
         (func $realloc (export \"cabi_realloc\"){rest}"
    );
    encode(&format!("{FRONT}{rest}"), &resolve, world)
}

/// The front's import, and the method of the callee that serves it.
fn served(front: &[u8], callee: &Guest) -> (Import, Arc<MethodPlan>) {
    let world = World::decode(front).unwrap();
    let import = Import::of(&world, IMPORT, &"front".parse().unwrap()).unwrap();
    let served = import.served_by(&callee.derived.interfaces).unwrap();
    assert_eq!((&*served[0].function, &*served[0].method), ("echo", &*callee.plan.method));
    (import, Arc::clone(&callee.plan))
}

fn check(ty: &Type, values: Vec<Val>) {
    let (front, callee) = (front(ty), Arc::new(Guest::echo(ty)));
    let (_, plan) = served(&front, &callee);
    let front = Guest::of(&front);
    let mut linker = Linker::new(&ENGINE);
    let budget = || CopyBudget::new(1 << 30);
    let (serving, serves) = (Arc::clone(&callee), Arc::clone(&plan));
    linker
        .instance(IMPORT)
        .unwrap()
        .func_new("echo", move |_, _, params, results| {
            let request = encode_request(&serves, params, &mut budget())?;
            let read = decode_request(&serves, &request, &mut budget()).unwrap();
            assert_eq!(read, params);
            let response = serving.call(&request);
            results[0] = decode_response(&serves, &response, &mut budget()).unwrap().remove(0);
            Ok(())
        })
        .unwrap();
    for value in values {
        let sent = front.encode(&[wrapped(value)]);
        assert_eq!(front.call_with(&linker, &sent), sent);
    }
}

proptest! {
    #[test]
    fn any_value_of_any_type_goes_through_and_comes_back((ty, values) in typed_values()) {
        check(&ty, values);
    }
}

#[test]
fn what_a_message_takes_is_bounded_in_both_directions() {
    let ty = list(Type::Scalar(Scalar::U32));
    let plan = Arc::clone(&Guest::echo(&ty).plan);
    let value = wrapped(Val::List(vec![Val::U32(1 << 30); 1000]));
    let params = std::slice::from_ref(&value);
    let mut budget = CopyBudget::new(1 << 30);
    let bytes = encode_request(&plan, params, &mut budget).unwrap();
    let used = budget.used();
    assert!(encode_request(&plan, params, &mut CopyBudget::new(used)).is_ok());
    let short = encode_request(&plan, params, &mut CopyBudget::new(used - 1));
    assert!(matches!(short, Err(EncodeError::Limit(_))), "{short:?}");
    let mut budget = CopyBudget::new(1 << 30);
    let response = encode_response(&plan, params, 1 << 30, &mut budget).unwrap();
    assert_eq!(response, bytes, "the echo's request is its response");
    let mut budget = CopyBudget::new(1 << 30);
    decode_response(&plan, &response, &mut budget).unwrap();
    let used = budget.used();
    assert!(decode_response(&plan, &response, &mut CopyBudget::new(used)).is_ok());
    let short = decode_response(&plan, &response, &mut CopyBudget::new(used - 1));
    assert!(matches!(short, Err(Fault::Limit(_))), "{short:?}");
}

proptest! {
    #[test]
    fn no_answer_is_too_strange_to_be_read(
        (ty, bytes) in (crate::types::any_type(), proptest::collection::vec(any::<u8>(), 0..200)),
    ) {
        let plan = crate::types::Planner::method(&ty);
        drop(decode_response(&plan, &bytes, &mut CopyBudget::new(1 << 20)));
    }
}
