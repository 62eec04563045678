//! A small engine, modules from inline WAT, and calls of their functions.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports, and not every test crate uses every helper"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use roadstead_codec::graft;
use roadstead_domain::{ByteSize, CallId, Fault, LimitKind, ModuleId, ModuleSpec, SpecFormat};
use roadstead_engine::{
    Call, CodeError, CodeSource, Compiler, Engine, EngineConfig, LoadError, Module, Outcome,
    VerifiedCode,
};
use roadstead_transcode::{Locks, MethodPlan, World, derive};

/// Both instance policies, as a spec says them.
pub(crate) const POLICIES: [&str; 2] =
    ["instances: {policy: per-call}", "instances: {policy: pooled}"];

/// A module and the plans of its methods.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) module: Arc<Module>,
    methods: Arc<Vec<Arc<MethodPlan>>>,
}

/// Compiled code in memory, and how often it was asked for.
pub(crate) struct Code {
    bytes: Bytes,
    component_instances: u64,
    has_codec: bool,
    pub(crate) opened: AtomicU64,
}

impl CodeSource for Code {
    fn open(&self) -> Result<VerifiedCode, CodeError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(VerifiedCode::Bytes(self.bytes.clone()))
    }

    fn component_instances(&self) -> u64 {
        self.component_instances
    }

    fn has_codec(&self) -> bool {
        self.has_codec
    }
}

pub(crate) fn settings() -> EngineConfig {
    EngineConfig {
        slots: 32,
        memory_budget: ByteSize::mib(1024),
        code_budget: ByteSize::mib(64),
        spares: 0,
        ..EngineConfig::for_machine()
    }
}

pub(crate) fn engine() -> Arc<Engine> {
    Engine::new(settings()).unwrap()
}

pub(crate) fn spec(yaml: &str) -> ModuleSpec {
    ModuleSpec::parse(yaml, SpecFormat::Yaml).unwrap()
}

pub(crate) fn id(name: &str) -> ModuleId {
    ModuleId {
        namespace: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
    }
}

/// A component around the core module `core`, which exports `memory` and each function of
/// `functions` under its name; those are given as `name` and its type like `(param "n" u32)`.
pub(crate) fn component(core: &str, functions: &[(&str, &str)]) -> Vec<u8> {
    let lifts: String = functions
        .iter()
        .map(|(name, ty)| {
            let lift = format!("(canon lift (core func $i \"{name}\") (memory (core memory $i \"memory\")) (realloc (core func $i \"realloc\")))");
            format!("(func (export \"{name}\") {ty} {lift})\n")
        })
        .collect();
    let realloc = r#"(global $top (mut i32) (i32.const 4096))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at))"#;
    let memory = if core.contains("(export \"memory\")") || core.contains("\"memory\" (memory") {
        ""
    } else {
        "(memory (export \"memory\") 1)"
    };
    let text = format!(
        "(component (core module $m {memory} {realloc} {core}) (core instance $i (instantiate $m))\n{lifts})"
    );
    wat(&text)
}

pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub(crate) fn prepare(engine: &Arc<Engine>, name: &str, component: &[u8], yaml: &str) -> Guest {
    try_prepare(engine, name, component, yaml).map_err(|error| format!("{error:?}")).unwrap().0
}

/// For engines of [`settings`].
pub(crate) fn compiler() -> Compiler {
    Compiler::new(settings().stack).unwrap()
}

pub(crate) fn try_prepare(
    engine: &Arc<Engine>,
    name: &str,
    component: &[u8],
    yaml: &str,
) -> Result<(Guest, Arc<Code>), LoadError> {
    prepare_code(engine, name, component, yaml, false)
}

/// As [`prepare`], with the compiled codec, which serves all methods.
pub(crate) fn prepare_compiled(
    engine: &Arc<Engine>,
    name: &str,
    component: &[u8],
    yaml: &str,
) -> Guest {
    prepare_code(engine, name, component, yaml, true)
        .map_err(|error| format!("{error:?}"))
        .unwrap()
        .0
}

fn prepare_code(
    engine: &Arc<Engine>,
    name: &str,
    component: &[u8],
    yaml: &str,
    has_codec: bool,
) -> Result<(Guest, Arc<Code>), LoadError> {
    let world = World::decode(component).unwrap();
    let component_instances = world.component_instances();
    let id = id(name);
    let derived = derive(&world, &id.name, &id.version, &Locks::default()).unwrap();
    let methods: Vec<_> =
        derived.services.into_iter().flat_map(|service| service.methods).collect();
    let bytes = if has_codec {
        let grafted = graft(component, &methods).unwrap();
        assert!(grafted.methods.iter().all(Option::is_none), "{:?}", grafted.methods);
        compiler().compile(&grafted.component.unwrap())
    } else {
        compiler().compile(component)
    };
    let bytes = bytes.unwrap().into();
    let code = Arc::new(Code { bytes, component_instances, has_codec, opened: AtomicU64::new(0) });
    let module = engine.prepare(id, Arc::new(spec(yaml)), Arc::clone(&code) as _)?;
    Ok((Guest { module, methods: Arc::new(methods) }, code))
}

impl Guest {
    pub(crate) fn method(&self, function: &str) -> Arc<MethodPlan> {
        let found = self.methods.iter().find(|method| method.export.function == function);
        Arc::clone(found.unwrap_or_else(|| panic!("no method for {function}")))
    }

    pub(crate) fn request(&self, function: &str, request: Vec<u8>) -> Call {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = CallId(NEXT.fetch_add(1, Ordering::Relaxed));
        Call::new(id, self.method(function), request.into())
    }

    pub(crate) async fn call(&self, function: &str, request: Vec<u8>) -> Outcome {
        self.module.call(self.request(function, request)).await
    }

    pub(crate) async fn run(&self, function: &str) -> Result<Bytes, Fault> {
        self.call(function, Vec::new()).await.result
    }

    pub(crate) async fn run_for(&self, function: &str, timeout: Duration) -> Outcome {
        let call = Call { timeout: Some(timeout), ..self.request(function, Vec::new()) };
        self.module.call(call).await
    }

    pub(crate) async fn run_as(&self, function: &str, owner: &str) -> Outcome {
        let call = Call { owner: Some(owner.into()), ..self.request(function, Vec::new()) };
        self.module.call(call).await
    }
}

/// A message with one varint field.
pub(crate) fn number(field: u32, value: u64) -> Vec<u8> {
    let mut bytes = varint(u64::from(field << 3));
    bytes.extend(varint(value));
    bytes
}

/// A message with one field of bytes or text.
pub(crate) fn blob(field: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = varint(u64::from(field << 3 | 2));
    bytes.extend(varint(u64::try_from(value.len()).unwrap()));
    bytes.extend(value);
    bytes
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// The number in a response's field `value`.
pub(crate) fn value(response: &Bytes) -> u64 {
    if response.is_empty() {
        return 0;
    }
    assert_eq!(response[0], 1 << 3, "{response:?}");
    response[1..].iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
}

/// The limit that a call ran into.
pub(crate) fn limit(result: Result<Bytes, Fault>) -> Option<LimitKind> {
    match result {
        Err(Fault::Limit(reached)) => Some(reached.limit),
        Err(other) => panic!("{other:?}"),
        Ok(_) => None,
    }
}

/// What a trap is said to be.
pub(crate) fn trap(result: Result<Bytes, Fault>) -> (String, Vec<String>) {
    match result {
        Err(Fault::GuestTrap { message, backtrace }) => (message, backtrace),
        other => panic!("{other:?}"),
    }
}
