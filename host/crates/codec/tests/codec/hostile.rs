//! Guests and components that are made to hurt.

use std::sync::Arc;

use roadstead_codec::{Unserved, graft};
use roadstead_transcode::MethodPlan;

use crate::{
    flat::field,
    guest::{Answer, Ended, Guest, component, plans},
};

const WIT: &str = "package test:guest;\nworld guest { export echo: func(a: list<string>, b: \
                   list<u32>) -> list<string>; }\n";

/// A guest with a `realloc` of its own: the body of one that takes `align` and `size`.
fn guest(realloc: &str) -> Guest {
    let wat = format!(
        r#"(module
  (memory (export "memory") 4 16)
  (global $next (mut i32) (i32.const 1024))
  (global $calls (mut i32) (i32.const 0))
  (func $bump (param $align i32) (param $size i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and
      (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $start) (local.get $size)))
    (local.get $start))
  (func (export "echo") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 16) (local.get 0))
    (i32.store (i32.const 20) (local.get 1))
    (i32.const 16))
  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    {realloc}))"#
    );
    Guest::new(&component(WIT, &wat))
}

/// Two texts and some numbers.
fn request() -> Vec<u8> {
    let mut request = [field(b"first"), field(b"second")].concat();
    request.extend([0x12, 4, 1, 2, 0x80, 1]);
    request
}

const BUMP: &str = "(call $bump (local.get $align) (local.get $size))";

fn call(guest: &Guest) -> wasmtime::Result<Answer> {
    Guest::compiled(&mut guest.instance(), &guest.plans[0], &request(), u32::MAX)
}

#[test]
fn an_address_outside_of_memory_traps_on_both_paths() {
    assert!(matches!(call(&guest(BUMP)), Ok(Answer::Answered(_))));
    // The request itself has a good one.
    let late = |address: &str| {
        format!(
            "(if (result i32) (i32.lt_u (global.get $calls) (i32.const 2)) (then {BUMP}) (else {address}))"
        )
    };
    for address in
        ["(i32.const -16)", "(i32.const 262144)", "(i32.const 262141)", "(i32.const 1025)"]
    {
        let guest = guest(&late(address));
        assert!(call(&guest).is_err(), "{address}");
        let dynamic = Guest::dynamic(&mut guest.instance(), &guest.plans[0], &request());
        assert!(matches!(dynamic, Ended::Trapped), "{address}");
    }
    assert!(call(&guest("(i32.const -16)")).is_err());
    assert!(call(&guest("(unreachable)")).is_err());
}

#[test]
fn memory_given_out_twice_hurts_the_guest_alone() {
    let started = std::time::Instant::now();
    for address in ["(i32.const 0)", "(i32.const 1024)", "(i32.const 2048)"] {
        // The codec's own state is out of reach: it comes to an end, whatever it reads.
        drop(call(&guest(address)));
    }
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn a_request_that_changes_between_the_passes_ends() {
    for byte in [0, 1, 0x0a, 0x7f, 0x80, 0xff] {
        let fill = format!(
            "(if (i32.lt_u (i32.const 1) (global.get $calls)) (then
               (memory.fill (i32.const 1024) (i32.const {byte}) (i32.const 1024)))) {BUMP}"
        );
        drop(call(&guest(&fill)));
    }
}

#[test]
fn scratch_is_used_again() {
    // Four pages, of which a call takes a few hundred bytes: a leak of requests would end it.
    let wat = r#"(module
  (memory (export "memory") 1 1)
  (global $next (mut i32) (i32.const 1024))
  (func (export "size") (param i32 i32) (result i32)
    (global.set $next (i32.const 8192))
    (local.get 1))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))))"#;
    let wit = "package test:guest;\nworld guest { export size: func(a: list<u8>) -> u32; }\n";
    let guest = Guest::new(&component(wit, wat));
    let mut instance = guest.instance();
    for round in 0..1000 {
        let request = field(&vec![1; 2000 + round]);
        let answer = Guest::compiled(&mut instance, &guest.plans[0], &request, 100).unwrap();
        assert!(matches!(answer, Answer::Answered(_)), "{answer:?}");
    }
}

#[test]
fn a_response_over_the_limit_takes_no_more_memory() {
    let wat = r#"(module
  (memory (export "memory") 8 8)
  (global $next (mut i32) (i32.const 1024))
  (func (export "keep") (param i32 i32))
  (func (export "give") (param i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (local.get 0))
    (i32.const 16))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get 3)))))"#;
    let wit = "package test:guest;\nworld guest { export give: func(n: u32) -> list<u8>; \
               export keep: func(text: string); }\n";
    let guest = Guest::new(&component(wit, wat));
    let give = |count: u32, limit: u32| {
        let mut request = vec![8];
        prost::encoding::encode_varint(u64::from(count), &mut request);
        Guest::compiled(&mut guest.instance(), &guest.plans[0], &request, limit).unwrap()
    };
    assert!(matches!(give(97, 100), Answer::Answered(_)));
    assert_eq!(give(99, 100), Answer::TooLong(101));
    // All of its memory, twice of which it could never have.
    assert_eq!(give(8 << 16, 1000), Answer::TooLong((8 << 16) + 4));
}

fn unserved(text: &str) -> Vec<Option<Unserved>> {
    let component = wat::parse_str(text).unwrap();
    let plans = plans(&component);
    assert!(!plans.is_empty());
    let made = graft(&component, &plans).unwrap();
    assert_eq!(made.component.is_some(), made.methods.contains(&None));
    made.methods
}

const MODULE: &str = r#"(core module $m (memory (export "memory") 1)
    (func (export "f") (param i32 i32) (result i32) local.get 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
  (core instance $i (instantiate $m))"#;

const LIFT: &str = r#"(func $f (param "a" string) (result u32) (canon lift (core func $i "f")
    (memory (core memory $i "memory")) (realloc (core func $i "realloc")) OPTIONS))"#;

#[test]
fn what_is_not_served_says_why() {
    let lift = LIFT.replace("OPTIONS", "");
    let plain = format!("(component {MODULE} {lift} (export \"f\" (func $f)))");
    assert_eq!(unserved(&plain), [None]);
    let utf16 = LIFT.replace("OPTIONS", "string-encoding=utf16");
    let utf16 = format!("(component {MODULE} {utf16} (export \"f\" (func $f)))");
    assert_eq!(unserved(&utf16), [Some(Unserved::Encoding)]);
    let nested = format!(
        "(component (component $c {MODULE} {lift} (export \"f\" (func $f)))
           (instance $n (instantiate $c)) (export \"f\" (func $n \"f\")))"
    );
    assert_eq!(unserved(&nested), [Some(Unserved::NotAtRoot)]);
    let numbers = r#"(component
        (core module $m (func (export "f") (param i32) (result i32) local.get 0))
        (core instance $i (instantiate $m))
        (func (export "f") (param "a" u32) (result u32) (canon lift (core func $i "f"))))"#;
    assert_eq!(unserved(numbers), [None]);
}

#[test]
fn names_that_are_taken_are_left_alone() {
    let lift = LIFT.replace("OPTIONS", "");
    let taken = format!(
        "(component {MODULE} {lift} (instance $mine (export \"f\" (func $f)))
           (export \"f\" (func $f)) (export \"roadstead-codec\" (instance $mine)))"
    );
    let component = wat::parse_str(taken).unwrap();
    let all = plans(&component);
    let made = graft(&component, &all).unwrap().component.unwrap();
    let outline = wasmtime::component::Component::new(&crate::guest::ENGINE, &made).unwrap();
    assert!(outline.get_export_index(None, "roadstead-codec2").is_some());
    assert!(outline.get_export_index(None, "roadstead-codec3").is_none());
    assert!(made.starts_with(&component), "sections are only added");
    assert_eq!(graft(&component, &all).unwrap().component.unwrap(), made, "always the same");
}

#[test]
fn damaged_components_are_refused() {
    let lift = LIFT.replace("OPTIONS", "");
    let whole =
        wat::parse_str(format!("(component {MODULE} {lift} (export \"f\" (func $f)))")).unwrap();
    let methods: Vec<Arc<MethodPlan>> = plans(&whole);
    for at in 0..whole.len() {
        drop(graft(&whole[..at], &methods));
        let mut changed = whole.clone();
        changed[at] = changed[at].wrapping_add(1);
        drop(graft(&changed, &methods));
        changed[at] = 0xff;
        drop(graft(&changed, &methods));
    }
}
