//! How long a call takes through the compiled codec, through the dynamic one and through wasmtime's
//! typed interface, each on a warm instance: `cargo run --release -p roadstead-codec --example speed`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for measuring, which ends where anything is wrong"
)]

use std::time::{Duration, Instant};

use roadstead_codec::{function_name, graft};
use roadstead_transcode::{
    CopyBudget, Locks, MethodPlan, World, decode_request, derive, encode_response,
};
use wasmtime::{
    Config, Engine, Store,
    component::{
        Component, ComponentNamedList, ComponentType, Instance, Lift, Linker, Lower, Val, WasmList,
    },
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// How long each way is tried.
const EACH: Duration = Duration::from_millis(1500);
const FUEL: u64 = 1 << 40;

/// Gives its list back; what it is asked for is thrown away with each call.
const WAT: &str = r#"(module
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 65536))
  (func (export "echo") (param i32 i32) (result i32)
    (i32.store (i32.const 16) (local.get 0))
    (i32.store (i32.const 20) (local.get 1))
    (i32.const 16))
  (func (export "cabi_post_echo") (param i32) (global.set $next (global.get $kept)))
  (global $kept (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and
      (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get 2))))
    (global.set $next (i32.add (local.get $start) (local.get 3)))
    (if (i32.and (i32.eq (local.get 2) (i32.const 8)) (i32.ge_u (local.get 3) (i32.const 1024)))
      ;; The first that is so large is the codec's own, which it keeps.
      (then (if (i32.eq (local.get $start) (i32.const 65536))
        (then (global.set $kept (global.get $next))))))
    (block $enough
      (br_if $enough (i32.le_u (global.get $next) (i32.shl (memory.size) (i32.const 16))))
      (br_if $enough (i32.ne (i32.const -1)
        (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get 3) (i32.const 16))))))
      unreachable)
    (local.get $start)))"#;

struct Guest {
    store: Store<()>,
    instance: Instance,
    plan: MethodPlan,
}

impl Guest {
    fn new(engine: &Engine, ty: &str) -> Self {
        let wit = format!("package t:t;\nworld guest {{ export echo: func(v: {ty}) -> {ty}; }}\n");
        let mut resolve = Resolve::default();
        let package = resolve.push_str("guest.wit", &wit).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        let mut module = wat::parse_str(WAT).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let component = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
        let world = World::decode(&component).unwrap();
        let (name, version) = ("m".parse().unwrap(), "1.0.0".parse().unwrap());
        let derived = derive(&world, &name, &version, &Locks::default()).unwrap();
        let plans = derived.services[0].methods.clone();
        let bytes = graft(&component, &plans).unwrap().component.unwrap();
        let component = Component::new(engine, bytes).unwrap();
        let mut store = Store::new(engine, ());
        store.set_fuel(FUEL).unwrap();
        store.set_epoch_deadline(1 << 40);
        store.set_hostcall_fuel(usize::MAX);
        let instance = Linker::new(engine).instantiate(&mut store, &component).unwrap();
        Self { store, instance, plan: (*plans[0]).clone() }
    }

    fn compiled(&mut self, request: &[u8]) -> Vec<u8> {
        type Given = (Result<WasmList<u8>, u32>,);
        let codec = self.instance.get_export_index(&mut self.store, None, "roadstead-codec");
        let name = function_name(&self.plan.export);
        let function = self.instance.get_export_index(&mut self.store, codec.as_ref(), &name);
        let function = self
            .instance
            .get_typed_func::<(&[u8], u32), Given>(&mut self.store, function.unwrap())
            .unwrap();
        let (given,) = function.call(&mut self.store, (request, u32::MAX)).unwrap();
        given.unwrap().as_le_slice(&self.store).to_vec()
    }

    fn dynamic(&mut self, request: &[u8]) -> Vec<u8> {
        let plenty = || CopyBudget::new(u64::MAX);
        let values = decode_request(&self.plan, request, &mut plenty()).unwrap();
        let function = self.instance.get_func(&mut self.store, "echo").unwrap();
        let mut results = vec![Val::Bool(false)];
        function.call(&mut self.store, &values, &mut results).unwrap();
        encode_response(&self.plan, &results, u64::MAX, &mut plenty()).unwrap().to_vec()
    }

    fn typed<T>(&mut self, value: &T)
    where
        T: ComponentType + Lower + Lift + Clone + Sync + 'static,
        (T,): ComponentNamedList + Lower + Lift,
    {
        let function = self.instance.get_typed_func::<(T,), (T,)>(&mut self.store, "echo").unwrap();
        function.call(&mut self.store, (value.clone(),)).unwrap();
    }
}

/// The shortest of many calls, in microseconds.
fn best(mut call: impl FnMut()) -> f64 {
    let (started, mut best) = (Instant::now(), Duration::MAX);
    while started.elapsed() < EACH {
        let one = Instant::now();
        call();
        best = best.min(one.elapsed());
    }
    best.as_secs_f64() * 1e6
}

fn row<T>(engine: &Engine, what: &str, ty: &str, value: T, values: Val)
where
    T: ComponentType + Lower + Lift + Clone + Sync + 'static,
    (T,): ComponentNamedList + Lower + Lift,
{
    let mut guest = Guest::new(engine, ty);
    let budget = &mut CopyBudget::new(u64::MAX);
    let request = encode_response(&guest.plan, &[values], u64::MAX, budget).unwrap();
    assert_eq!(guest.compiled(&request), request);
    let compiled = best(|| drop(guest.compiled(&request)));
    let mut guest = Guest::new(engine, ty);
    let dynamic = best(|| drop(guest.dynamic(&request)));
    let mut guest = Guest::new(engine, ty);
    let typed = best(|| guest.typed(&value));
    println!("{what:<22} {typed:>12.2} {dynamic:>12.2} {compiled:>12.2}");
}

fn main() {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true);
    let engine = Engine::new(&config).unwrap();
    println!("{:<22} {:>12} {:>12} {:>12}   µs", "echo of", "typed", "dynamic", "compiled");
    for (what, size) in [("16 B", 16), ("1 KiB", 1 << 10), ("1 MiB", 1 << 20)] {
        let bytes = vec![7_u8; size];
        let values = Val::List(bytes.iter().map(|byte| Val::U8(*byte)).collect());
        row(&engine, what, "list<u8>", bytes, values);
    }
    let floats: Vec<f32> = (0..1_000_000_u32).map(|n| f32::from_bits(n << 7)).collect();
    let values = Val::List(floats.iter().map(|float| Val::Float32(*float)).collect());
    row(&engine, "1 M f32", "list<f32>", floats, values);
    let numbers: Vec<u32> = (0..1_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761)).collect();
    let values = Val::List(numbers.iter().map(|number| Val::U32(*number)).collect());
    row(&engine, "1 M u32", "list<u32>", numbers, values);
    let texts: Vec<String> = (0..100_000).map(|n| format!("item number {n}")).collect();
    let values = Val::List(texts.iter().map(|text| Val::String(text.clone())).collect());
    row(&engine, "100 k strings", "list<string>", texts, values);
    let records: Vec<(u32, String, f64)> =
        (0..100_000).map(|n| (n, format!("sensor {n}"), f64::from(n) / 3.0)).collect();
    let record = |(id, name, value): &(u32, String, f64)| {
        Val::Tuple(vec![Val::U32(*id), Val::String(name.clone()), Val::Float64(*value)])
    };
    let values = Val::List(records.iter().map(record).collect());
    row(&engine, "100 k records", "list<tuple<u32, string, f64>>", records, values);
}
