//! A component with its codec, called both ways.

use std::sync::{Arc, LazyLock};

use roadstead_codec::{Unserved, function_name, graft};
use roadstead_transcode::{
    CopyBudget, Locks, MethodPlan, Scalar, World, decode_request, derive, encode_response,
};
use wasmtime::{
    Config, Engine, Store,
    component::{Component, Instance, Linker, Val, WasmList},
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::types::{Type, WitText};

/// Far more than any case needs; what runs into it loops.
const FUEL: u64 = 1 << 32;

pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model_map(true).consume_fuel(true);
    Engine::new(&config).unwrap()
});

/// A component and its methods.
pub(crate) struct Guest {
    component: Component,
    pub(crate) plans: Vec<Arc<MethodPlan>>,
    pub(crate) unserved: Vec<Option<Unserved>>,
}

/// What the compiled codec made of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Answered(Vec<u8>),
    Declined,
    /// The response is so long, which is over the limit.
    TooLong(u32),
}

/// How a call ended on the dynamic path.
#[derive(Debug)]
pub(crate) enum Ended {
    Answered(Vec<u8>),
    Refused,
    Trapped,
}

/// A component of one core module, from WIT and WAT.
pub(crate) fn component(wit: &str, wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("guest.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(wat).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

pub(crate) fn plans(component: &[u8]) -> Vec<Arc<MethodPlan>> {
    let world = World::decode(component).unwrap();
    let (module, version) = ("guest".parse().unwrap(), "1.2.3".parse().unwrap());
    let derived = derive(&world, &module, &version, &Locks::default()).unwrap();
    derived.services.into_iter().flat_map(|service| service.methods).collect()
}

impl Guest {
    pub(crate) fn new(component: &[u8]) -> Self {
        let plans = plans(component);
        let graft = graft(component, &plans).unwrap();
        let bytes = graft.component.unwrap_or_else(|| component.to_vec());
        let component = Component::new(&ENGINE, bytes).unwrap();
        Self { component, plans, unserved: graft.methods }
    }

    pub(crate) fn instance(&self) -> (Store<()>, Instance) {
        let mut store = Store::new(&ENGINE, ());
        store.set_fuel(FUEL).unwrap();
        store.set_hostcall_fuel(1 << 30);
        let mut linker = Linker::new(&ENGINE);
        linker.define_unknown_imports_as_traps(&self.component).unwrap();
        let instance = linker.instantiate(&mut store, &self.component).unwrap();
        (store, instance)
    }

    /// One call of the compiled codec.
    pub(crate) fn compiled(
        (store, instance): &mut (Store<()>, Instance),
        plan: &MethodPlan,
        request: &[u8],
        limit: u32,
    ) -> wasmtime::Result<Answer> {
        type Answered = (Result<WasmList<u8>, u32>,);
        let codec = instance.get_export_index(&mut *store, None, "roadstead-codec").unwrap();
        let name = function_name(&plan.export);
        let function = instance.get_export_index(&mut *store, Some(&codec), &name).unwrap();
        let function =
            instance.get_typed_func::<(&[u8], u32), Answered>(&mut *store, function).unwrap();
        let (answer,) = function.call(&mut *store, (request, limit))?;
        Ok(match answer {
            Ok(list) => Answer::Answered(list.as_le_slice(&*store).to_vec()),
            Err(0) => Answer::Declined,
            Err(length) => Answer::TooLong(length),
        })
    }

    /// One call of the dynamic codec.
    pub(crate) fn dynamic(
        (store, instance): &mut (Store<()>, Instance),
        plan: &MethodPlan,
        request: &[u8],
    ) -> Ended {
        let parameters = match decode_request(plan, request, &mut CopyBudget::new(1 << 30)) {
            Ok(parameters) => parameters,
            Err(_) => return Ended::Refused,
        };
        let path = &plan.export;
        let interface = path
            .interface
            .as_ref()
            .map(|name| instance.get_export_index(&mut *store, None, name).unwrap());
        let function =
            instance.get_export_index(&mut *store, interface.as_ref(), &path.function).unwrap();
        let function = instance.get_func(&mut *store, function).unwrap();
        let mut results = vec![Val::Bool(false); function.ty(&*store).results().len()];
        match function.call(&mut *store, &parameters, &mut results) {
            Ok(()) => Ended::Answered(encode(plan, &results)),
            Err(_) => Ended::Trapped,
        }
    }
}

/// `echo` gives back what it is given, through memory.
const ECHO: &str = r#"
(module
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 1024))
  (func (export "test:guest/api@1.2.0#echo") (param i32) (result i32) local.get 0)
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

/// The tuple around a value that the guest echoes: more than fits into core values.
fn wrapped_type(ty: &Type) -> Type {
    let mut members = vec![Type::Scalar(Scalar::U64); 17];
    members.push(ty.clone());
    Type::Tuple(members)
}

pub(crate) fn wrapped(value: Val) -> Val {
    let mut members: Vec<_> = (1..=17).map(|number| Val::U64(number * 1_000_000_007)).collect();
    members.push(value);
    Val::Tuple(members)
}

pub(crate) fn echo(ty: &Type) -> Guest {
    let mut text = WitText::default();
    let tuple = text.write(&wrapped_type(ty));
    let types = text.declarations;
    let wit = format!(
        "package test:guest@1.2.0;\ninterface api {{\n{types}  echo: func(value: {tuple}) -> \
         {tuple};\n}}\nworld guest {{ export api; }}\n"
    );
    Guest::new(&component(&wit, ECHO))
}

/// Both codecs on instances of their own, as the host would call them: the answer, if the compiled
/// one gave it.
pub(crate) fn compare(guest: &Guest, request: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let plan = &guest.plans[0];
    let dynamic = Guest::dynamic(&mut guest.instance(), plan, request);
    let mut instance = guest.instance();
    let compiled = Guest::compiled(&mut instance, plan, request, u32::MAX);
    match (compiled, dynamic) {
        (Ok(Answer::Answered(compiled)), Ended::Answered(dynamic)) if compiled == dynamic => {
            Ok(Some(compiled))
        }
        (Ok(Answer::Declined), Ended::Answered(dynamic)) => {
            // On the same instance.
            match Guest::dynamic(&mut instance, plan, request) {
                Ended::Answered(again) if again == dynamic => Ok(None),
                other => Err(format!("{other:?} is not {dynamic:?}")),
            }
        }
        (Ok(Answer::Declined), Ended::Refused) => Ok(None),
        (compiled, dynamic) => Err(format!("{compiled:?} is not {dynamic:?}")),
    }
}

pub(crate) fn encode(plan: &MethodPlan, values: &[Val]) -> Vec<u8> {
    encode_response(plan, values, 1 << 30, &mut CopyBudget::new(1 << 30)).unwrap().into()
}
