//! Values of any type, through a real component and back.
//!
//! `echo` takes and gives a tuple of 17 numbers and the value. That is more than fits in registers,
//! so the parameters lie in memory and the result is a pointer to them: one core function echoes
//! every type.

use std::sync::{Arc, LazyLock};

use proptest::{collection::vec, prelude::*};
use roadstead_transcode::{CopyBudget, MethodPlan, Scalar, decode_request, encode_response};
use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, Val},
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::{
    types::{Planner, Type, WitText, any_type, list, option},
    values::value,
};

const GUEST: &str = r#"
(module
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 16))
  (func (export "echo") (param i32) (result i32) local.get 0)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and
      (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get 2))))
    (global.set $next (i32.add (local.get $start) (local.get 3)))
    (block $enough
      (br_if $enough (i32.le_u (global.get $next)
        (i32.shl (memory.size) (i32.const 16))))
      (br_if $enough (i32.ne (i32.const -1)
        (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get 3) (i32.const 16))))))
      unreachable)
    (local.get $start)))
"#;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model_map(true);
    Engine::new(&config).unwrap()
});

/// The tuple around a value that the guest echoes.
fn wrapped_type(ty: &Type) -> Type {
    let mut members = vec![Type::Scalar(Scalar::U64); 17];
    members.push(ty.clone());
    Type::Tuple(members)
}

fn wrapped(value: Val) -> Val {
    let mut members: Vec<_> = (1..=17).map(|number| Val::U64(number * 1_000_000_007)).collect();
    members.push(value);
    Val::Tuple(members)
}

/// A component that exports `echo` for one type.
fn component(ty: &Type) -> Component {
    let mut text = WitText::default();
    let tuple = text.write(&wrapped_type(ty));
    let wit = format!(
        "package test:echo;\n\nworld guest {{\n{}  export echo: func(value: {tuple}) -> {tuple};\n}}\n",
        text.declarations
    );
    let mut resolve = Resolve::default();
    let package = resolve.push_str("echo.wit", &wit).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(GUEST).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let bytes = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
    Component::new(&ENGINE, bytes).unwrap()
}

struct Guest {
    component: Component,
    plan: Arc<MethodPlan>,
}

impl Guest {
    fn new(ty: &Type) -> Self {
        Self { component: component(ty), plan: Arc::new(Planner::method(&wrapped_type(ty))) }
    }

    /// From bytes to bytes, through a fresh instance.
    fn call(&self, request: &[u8]) -> Vec<u8> {
        let parameters =
            decode_request(&self.plan, request, &mut CopyBudget::new(1 << 30)).unwrap();
        let mut store = Store::new(&ENGINE, ());
        let instance = Linker::new(&ENGINE).instantiate(&mut store, &self.component).unwrap();
        let echo = instance.get_func(&mut store, "echo").unwrap();
        let mut results = vec![Val::Bool(false)];
        echo.call(&mut store, &parameters, &mut results).unwrap();
        self.encode(&results)
    }

    fn encode(&self, values: &[Val]) -> Vec<u8> {
        encode_response(&self.plan, values, 1 << 30, &mut CopyBudget::new(1 << 30)).unwrap().into()
    }

    fn check(&self, value: Val) {
        let sent = self.encode(&[wrapped(value)]);
        assert_eq!(self.call(&sent), sent);
    }
}

fn typed_values() -> impl Strategy<Value = (Type, Vec<Val>)> {
    any_type().prop_flat_map(|ty| {
        let values = vec(value(&ty), 1..4);
        (Just(ty), values)
    })
}

proptest! {
    #[test]
    fn any_value_of_any_type_comes_back((ty, values) in typed_values()) {
        let guest = Guest::new(&ty);
        for value in values {
            guest.check(value);
        }
    }
}

#[test]
fn the_corners_of_the_type_system_come_back() {
    let boxed = |value| Some(Box::new(value));
    let some = |value| Val::Option(boxed(value));
    let number = Type::Scalar(Scalar::S32);
    let flag_names: Vec<_> = (0..32).map(crate::types::member).collect();
    let cases = [
        (
            option(option(option(number.clone()))),
            vec![
                Val::Option(None),
                some(Val::Option(None)),
                some(some(Val::Option(None))),
                some(some(some(Val::S32(0)))),
            ],
        ),
        (
            list(option(list(Type::Scalar(Scalar::U8)))),
            vec![
                Val::List(vec![]),
                Val::List(vec![Val::Option(None), some(Val::List(vec![])), Val::Option(None)]),
            ],
        ),
        (Type::Flags(32), vec![Val::Flags(vec![]), Val::Flags(flag_names)]),
        (Type::Enum(300), vec![Val::Enum(crate::types::member(299))]),
        (Type::Result(None, None), vec![Val::Result(Ok(None)), Val::Result(Err(None))]),
        (
            Type::Map(Scalar::Char, Box::new(option(number))),
            vec![
                Val::Map(vec![]),
                Val::Map(vec![
                    (Val::Char('\0'), Val::Option(None)),
                    (Val::Char('é'), some(Val::S32(-1))),
                ]),
            ],
        ),
        (Type::Scalar(Scalar::Char), vec![Val::Char('\0'), Val::Char('\u{10ffff}')]),
    ];
    for (ty, values) in cases {
        let guest = Guest::new(&ty);
        for value in values {
            guest.check(value);
        }
    }
}
