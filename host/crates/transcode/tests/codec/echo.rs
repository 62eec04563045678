//! Values of any type, through a real component and back.
//!
//! `echo` takes and gives a tuple of 17 numbers and the value. That is more than fits in registers,
//! so the parameters lie in memory and the result is a pointer to them: one core function echoes
//! every type.

use std::sync::{Arc, LazyLock};

use proptest::{collection::vec, prelude::*};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use roadstead_transcode::{
    CopyBudget, Derived, Locks, MethodPlan, ResponsePlan, Scalar, World, decode_request, derive,
    encode_response,
};
use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, Val},
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use crate::{
    reference::read_fields,
    types::{Type, WitText, any_type, list, member, option},
    values::value,
};

pub(crate) const GUEST: &str = r#"
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

pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model_map(true);
    Engine::new(&config).unwrap()
});

/// The tuple around a value that the guest echoes.
pub(crate) fn wrapped_type(ty: &Type) -> Type {
    let mut members = vec![Type::Scalar(Scalar::U64); 17];
    members.push(ty.clone());
    Type::Tuple(members)
}

pub(crate) fn wrapped(value: Val) -> Val {
    let mut members: Vec<_> = (1..=17).map(|number| Val::U64(number * 1_000_000_007)).collect();
    members.push(value);
    Val::Tuple(members)
}

/// Where a guest exports `echo`, and where its types are declared.
#[derive(Debug, Clone, Copy)]
enum Home {
    World,
    Interface,
}

impl Home {
    fn wit(self, ty: &Type) -> String {
        let mut text = WitText::default();
        let tuple = text.write(&wrapped_type(ty));
        let types = text.declarations;
        let echo = format!("echo: func(value: {tuple}) -> {tuple};");
        match self {
            Self::World => {
                format!("package test:echo;\nworld guest {{\n{types}  export {echo}\n}}\n")
            }
            Self::Interface => format!(
                "package test:echo@1.2.0;\ninterface api {{\n{types}  {echo}\n}}\n\
                 world guest {{ export api; }}\n"
            ),
        }
    }

    fn core_name(self) -> &'static str {
        match self {
            Self::World => "echo",
            Self::Interface => "test:echo/api@1.2.0#echo",
        }
    }

    /// A component that exports `echo` for one type.
    fn component(self, ty: &Type) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("echo.wit", &self.wit(ty)).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        let guest =
            GUEST.replace("(export \"echo\")", &format!("(export \"{}\")", self.core_name()));
        encode(&guest, &resolve, world)
    }
}

/// A component of core code in a world.
pub(crate) fn encode(core: &str, resolve: &Resolve, world: WorldId) -> Vec<u8> {
    let mut module = wat::parse_str(core).unwrap();
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

pub(crate) struct Guest {
    component: Component,
    pub(crate) plan: Arc<MethodPlan>,
    pub(crate) derived: Derived,
    response: MessageDescriptor,
}

impl Guest {
    /// A guest for a type, its plan derived from the component's binary alone.
    fn new(ty: &Type, home: Home) -> Self {
        Self::of(&home.component(ty))
    }

    pub(crate) fn echo(ty: &Type) -> Self {
        Self::new(ty, Home::Interface)
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let world = World::decode(bytes).unwrap();
        let (module, version) = ("echo".parse().unwrap(), "1.2.3".parse().unwrap());
        let derived = derive(&world, &module, &version, &Locks::default()).unwrap();
        assert!(derived.unmapped.is_empty(), "{:?}", derived.unmapped);
        let plan = Arc::clone(&derived.services[0].methods[0]);
        let mut pool = DescriptorPool::global();
        pool.add_file_descriptor_protos(derived.files.clone()).unwrap();
        let service = pool.get_service_by_name(&plan.service).unwrap();
        let response = service.methods().next().unwrap().output();
        let component = Component::new(&ENGINE, bytes).unwrap();
        Self { component, plan, derived, response }
    }

    /// From bytes to bytes, through a fresh instance.
    pub(crate) fn call(&self, request: &[u8]) -> Vec<u8> {
        self.call_with(&Linker::new(&ENGINE), request)
    }

    pub(crate) fn call_with(&self, linker: &Linker<()>, request: &[u8]) -> Vec<u8> {
        let parameters =
            decode_request(&self.plan, request, &mut CopyBudget::new(1 << 30)).unwrap();
        let mut store = Store::new(&ENGINE, ());
        let instance = linker.instantiate(&mut store, &self.component).unwrap();
        let interface = self
            .plan
            .export
            .interface
            .as_ref()
            .map(|name| instance.get_export_index(&mut store, None, name).unwrap());
        let echo = instance
            .get_export_index(&mut store, interface.as_ref(), &self.plan.export.function)
            .unwrap();
        let echo = instance.get_func(&mut store, echo).unwrap();
        let mut results = vec![Val::Bool(false)];
        echo.call(&mut store, &parameters, &mut results).unwrap();
        self.encode(&results)
    }

    pub(crate) fn encode(&self, values: &[Val]) -> Vec<u8> {
        encode_response(&self.plan, values, 1 << 30, &mut CopyBudget::new(1 << 30)).unwrap().into()
    }

    /// The request is the response: both have one field, of the same type and number.
    fn check(&self, value: Val) {
        let value = wrapped(value);
        let sent = self.encode(std::slice::from_ref(&value));
        let received = self.call(&sent);
        assert_eq!(received, sent);
        let ResponsePlan::Value(field) = &self.plan.response else { panic!("no value") };
        let message = DynamicMessage::decode(self.response.clone(), &*received).unwrap();
        let seen = read_fields(&message, std::slice::from_ref(field));
        assert_eq!(seen, Some(vec![value]));
    }
}

pub(crate) fn typed_values() -> impl Strategy<Value = (Type, Vec<Val>)> {
    any_type().prop_flat_map(|ty| {
        let values = vec(value(&ty), 1..4);
        (Just(ty), values)
    })
}

proptest! {
    #[test]
    fn any_value_of_any_type_comes_back(
        (ty, values) in typed_values(),
        home in prop_oneof![Just(Home::World), Just(Home::Interface)],
    ) {
        let guest = Guest::new(&ty, home);
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
    let flag_names: Vec<_> = (0..32).map(member).collect();
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
        (Type::Enum(300), vec![Val::Enum(member(299))]),
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
        let guest = Guest::new(&ty, Home::Interface);
        for value in values {
            guest.check(value);
        }
    }
}
