//! A guest with resources, good and bad ones, and callers of it.

use std::sync::Arc;

use bytes::Bytes;
use roadstead_domain::Fault;
use roadstead_engine::{Call, Engine, Outcome};

use crate::support::{Guest, blob, number, prepare};

const WIT: &str = "package t:res;
interface ops {
  resource counter {
    constructor(start: u32);
    add: func(by: u32) -> u32;
    act: func(what: u32);
    twin: func() -> counter;
    sum: static func(a: borrow<counter>, b: borrow<counter>) -> u32;
    version: static func() -> u32;
  }
  resource other { constructor(); poke: func(); }
  absorb: func(into: borrow<counter>, all: list<counter>) -> u32;
  maybe: func(make: bool) -> option<counter>;
  many: func(of: borrow<counter>, n: u32) -> list<counter>;
  dropped: func(of: borrow<counter>) -> u32;
  look: func(at: option<borrow<counter>>) -> u32;
  look-at-all: func(at: list<borrow<counter>>);
  steal: func(of: borrow<counter>) -> counter;
  confuse: func(of: borrow<counter>) -> counter;
}
world w { export ops; }";

/// What `act` does.
pub(super) const TRAP: u64 = 0;
pub(super) const SPIN: u64 = 1;
pub(super) const GROW: u64 = 2;
pub(super) const DROP_AGAIN: u64 = 3;
/// A counter of this value traps in its destructor.
pub(super) const TRAPS_WHEN_DROPPED: u64 = 666;

const CORE: &str = r#"
  (import "[export]t:res/ops" "[resource-new]counter" (func $new (param i32) (result i32)))
  (import "[export]t:res/ops" "[resource-rep]counter" (func $rep (param i32) (result i32)))
  (import "[export]t:res/ops" "[resource-drop]counter" (func $drop (param i32)))
  (import "[export]t:res/ops" "[resource-new]other" (func $new-other (param i32) (result i32)))
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 0))
  (global $dropped (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (func $cell (param i32) (result i32)
    (i32.add (i32.const 1024) (i32.mul (local.get 0) (i32.const 4))))
  (func $make (param $start i32) (result i32) (local $i i32)
    (local.set $i (global.get $next))
    (global.set $next (i32.add (local.get $i) (i32.const 1)))
    (i32.store (call $cell (local.get $i)) (local.get $start))
    (call $new (local.get $i)))
  (func (export "t:res/ops#[constructor]counter") (param i32) (result i32)
    (call $make (local.get 0)))
  (func (export "t:res/ops#[dtor]counter") (param i32)
    (if (i32.eq (i32.load (call $cell (local.get 0))) (i32.const 666)) (then unreachable))
    (global.set $dropped (i32.add (global.get $dropped) (i32.const 1))))
  (func (export "t:res/ops#[method]counter.add") (param i32 i32) (result i32)
    (i32.store (call $cell (local.get 0))
      (i32.add (i32.load (call $cell (local.get 0))) (local.get 1)))
    (i32.load (call $cell (local.get 0))))
  (func (export "t:res/ops#[method]counter.act") (param i32 i32) (local $h i32)
    (if (i32.eq (local.get 1) (i32.const 0)) (then unreachable))
    (if (i32.eq (local.get 1) (i32.const 1)) (then (loop (br 0))))
    (if (i32.eq (local.get 1) (i32.const 2))
      (then (if (i32.eq (memory.grow (i32.const 30000)) (i32.const -1)) (then unreachable))))
    (if (i32.eq (local.get 1) (i32.const 3))
      (then (local.set $h (call $make (i32.const 0)))
        (call $drop (local.get $h))
        (call $drop (local.get $h)))))
  (func (export "t:res/ops#[method]counter.twin") (param i32) (result i32)
    (call $make (i32.load (call $cell (local.get 0)))))
  (func (export "t:res/ops#[static]counter.sum") (param i32 i32) (result i32)
    (i32.add (i32.load (call $cell (local.get 0))) (i32.load (call $cell (local.get 1)))))
  (func (export "t:res/ops#[static]counter.version") (result i32) (i32.const 7))
  (func (export "t:res/ops#[constructor]other") (result i32) (call $new-other (i32.const 9)))
  (func (export "t:res/ops#[method]other.poke") (param i32))
  (func (export "t:res/ops#absorb") (param $into i32) (param $at i32) (param $n i32) (result i32)
    (block $done (loop $again
      (br_if $done (i32.eqz (local.get $n)))
      (i32.store (call $cell (local.get $into))
        (i32.add (i32.load (call $cell (local.get $into)))
          (i32.load (call $cell (call $rep (i32.load (local.get $at)))))))
      (call $drop (i32.load (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $again)))
    (i32.load (call $cell (local.get $into))))
  (func (export "t:res/ops#maybe") (param i32) (result i32)
    (i32.store8 (i32.const 16) (local.get 0))
    (if (local.get 0) (then (i32.store (i32.const 20) (call $make (i32.const 5)))))
    (i32.const 16))
  (func (export "t:res/ops#many") (param $of i32) (param $n i32) (result i32) (local $i i32)
    (block $done (loop $again
      (br_if $done (i32.eq (local.get $i) (local.get $n)))
      (i32.store (i32.add (i32.const 16384) (i32.mul (local.get $i) (i32.const 4)))
        (call $make (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $again)))
    (i32.store (i32.const 16) (i32.const 16384))
    (i32.store (i32.const 20) (local.get $n))
    (i32.const 16))
  (func (export "t:res/ops#dropped") (param i32) (result i32) (global.get $dropped))
  (func (export "t:res/ops#look") (param i32 i32) (result i32) (local.get 0))
  (func (export "t:res/ops#look-at-all") (param i32 i32))
  (func (export "t:res/ops#steal") (param i32) (result i32) (i32.const 4321))
  (func (export "t:res/ops#confuse") (param i32) (result i32) (call $new-other (i32.const 1)))
"#;

pub(super) fn component() -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("world.wit", WIT).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = crate::support::wat(&format!("(module {CORE})"));
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    let encoder = wit_component::ComponentEncoder::default().module(&module).unwrap();
    encoder.validate(true).encode().unwrap()
}

/// A handle's id.
pub(super) type Id = Vec<u8>;

/// A guest and who calls it.
#[derive(Clone)]
pub(super) struct Counters {
    pub(super) guest: Guest,
    owner: Option<Arc<str>>,
}

pub(super) fn counters(engine: &Arc<Engine>, spec: &str) -> Counters {
    Counters { guest: prepare(engine, "counters", &component(), spec), owner: None }
}

/// A handle as a field.
pub(super) fn handle(field: u32, id: &[u8]) -> Vec<u8> {
    blob(field, &blob(1, id))
}

/// The ids in the field `value` of a response.
pub(super) fn ids(mut response: &[u8]) -> Vec<Id> {
    let mut found = Vec::new();
    while let [0x0a, outer, 0x0a, inner, rest @ ..] = response {
        assert_eq!(outer - 2, *inner);
        let (id, rest) = rest.split_at(usize::from(*inner));
        found.push(id.to_vec());
        response = rest;
    }
    found
}

impl Counters {
    pub(super) fn of(&self, owner: &str) -> Self {
        Self { guest: self.guest.clone(), owner: Some(owner.into()) }
    }

    pub(super) fn request(&self, function: &str, request: Vec<u8>) -> Call {
        Call { owner: self.owner.clone(), ..self.guest.request(function, request) }
    }

    pub(super) async fn outcome(&self, function: &str, request: Vec<u8>) -> Outcome {
        self.guest.module.call(self.request(function, request)).await
    }

    pub(super) async fn call(&self, function: &str, request: Vec<u8>) -> Result<Bytes, Fault> {
        self.outcome(function, request).await.result
    }

    pub(super) async fn try_create(&self, start: u64) -> Result<Id, Fault> {
        let response = self.call("[constructor]counter", number(1, start)).await?;
        Ok(ids(&response).remove(0))
    }

    pub(super) async fn create(&self, start: u64) -> Id {
        self.try_create(start).await.unwrap()
    }

    pub(super) async fn add(&self, id: &[u8], by: u64) -> Result<u64, Fault> {
        let request = [handle(1, id), number(2, by)].concat();
        let response = self.call("[method]counter.add", request).await?;
        Ok(crate::support::value(&response))
    }

    pub(super) async fn act(&self, id: &[u8], what: u64) -> Result<Bytes, Fault> {
        self.call("[method]counter.act", [handle(1, id), number(2, what)].concat()).await
    }

    pub(super) async fn twin(&self, id: &[u8]) -> Result<Id, Fault> {
        let response = self.call("[method]counter.twin", handle(1, id)).await?;
        Ok(ids(&response).remove(0))
    }

    pub(super) async fn drop(&self, id: &[u8]) -> Result<Bytes, Fault> {
        self.call("[resource-drop]counter", handle(1, id)).await
    }

    pub(super) fn sessions(&self) -> u64 {
        self.guest.module.stats().sessions
    }

    /// Waits until so many sessions live.
    pub(super) async fn settle(&self, sessions: u64) {
        crate::sessions::until("sessions end", || self.sessions() == sessions).await;
    }
}
