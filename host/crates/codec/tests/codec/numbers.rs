//! Guests that take and give numbers alone, and numbers that stand packed.

use proptest::{collection::vec, prelude::*, sample::select};
use prost::encoding::encode_varint;
use roadstead_codec::{Unserved, graft};
use roadstead_transcode::Scalar;
use wasmtime::component::Component;

use crate::{
    flat::field,
    guest::{Answer, ENGINE, Ended, Guest, compare, component, echo, plans},
    types::{Type, list},
};

const ADD: &str = r#"(func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))"#;
const NOW: &str = r#"(func (export "now") (result i32) (i32.const 16))
    (data (i32.const 16) "\18\00\00\00\03\00\00\00noon")"#;
const REALLOC: &str = r#"(global $next (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))"#;
const MEMORY: &str = r#"(memory (export "memory") 3)"#;

fn wit(functions: &str) -> String {
    format!("package test:guest;\nworld guest {{ {functions} }}\n")
}

const ADD_WIT: &str = "export add: func(a: u32, b: u32) -> u32;";
const NOW_WIT: &str = "export now: func() -> string;";

/// The methods of a guest that are not served, and how many memories it has with its codec.
fn made(wit_functions: &str, module: &str) -> (Guest, Vec<Option<Unserved>>, u32) {
    let bytes = component(&wit(wit_functions), &format!("(module {module})"));
    let made = graft(&bytes, &plans(&bytes)).unwrap();
    let grafted = Component::new(&ENGINE, made.component.unwrap_or(bytes.clone())).unwrap();
    let memories = grafted.resources_required().unwrap().num_memories;
    (Guest::new(&bytes), made.methods, memories)
}

/// A request for `add`.
fn pair(a: u64, b: u64) -> Vec<u8> {
    let mut to = vec![0x08];
    encode_varint(a, &mut to);
    to.push(0x10);
    encode_varint(b, &mut to);
    to
}

fn adds(guest: &Guest) {
    let mut instance = guest.instance();
    for (a, b) in [(1, 2), (0, 0), (u64::from(u32::MAX), 1), (u64::from(u32::MAX), 0)] {
        let plan = &guest.plans[0];
        let compiled = Guest::compiled(&mut instance, plan, &pair(a, b), u32::MAX).unwrap();
        let Ended::Answered(dynamic) = Guest::dynamic(&mut instance, plan, &pair(a, b)) else {
            panic!("no answer");
        };
        assert_eq!(compiled, Answer::Answered(dynamic));
    }
    // As long as a message may be, which here is all in fields that are not known.
    for size in [100, 70_000, 200_000, 100_usize] {
        let mut request = pair(3, 4);
        request.extend([0x1a]);
        encode_varint(u64::try_from(size).unwrap(), &mut request);
        request.extend(vec![7; size]);
        let answer = Guest::compiled(&mut instance, &guest.plans[0], &request, 2).unwrap();
        assert_eq!(answer, Answer::Answered(vec![8, 7]), "{size}");
    }
    let declined = Guest::compiled(&mut instance, &guest.plans[0], &[8, 1, 8, 2], u32::MAX);
    assert_eq!(declined.unwrap(), Answer::Declined);
    let long = Guest::compiled(&mut instance, &guest.plans[0], &pair(3, 4), 1).unwrap();
    assert_eq!(long, Answer::TooLong(2));
}

#[test]
fn a_guest_without_a_memory_is_served_from_one_of_the_codecs_own() {
    for module in [ADD.to_owned(), format!(r#"{ADD} {REALLOC}"#)] {
        let (guest, unserved, memories) = made(ADD_WIT, &module);
        assert_eq!((unserved, memories), (vec![None], 1));
        adds(&guest);
    }
    // One that nobody else can see, or that nothing can be got from.
    let wrong = REALLOC.replace("(param i32 i32 i32 i32)", "(param i32 i32 i32 i64)");
    let wrong = wrong.replace("(local.get 3)", "(i32.wrap_i64 (local.get 3))");
    let wrong = wrong.replace("cabi_realloc", "other");
    for module in
        [format!("(memory 1) {ADD}"), format!("{MEMORY} {ADD}"), format!("{MEMORY} {ADD} {wrong}")]
    {
        let (guest, unserved, memories) = made(ADD_WIT, &module);
        assert_eq!((unserved, memories), (vec![None], 2), "{module}");
        adds(&guest);
    }
}

#[test]
fn what_a_guests_instance_exports_is_used_where_no_function_names_it() {
    let (guest, unserved, memories) = made(ADD_WIT, &format!("{MEMORY} {REALLOC} {ADD}"));
    assert_eq!((unserved, memories), (vec![None], 1));
    // Three pages hold no request that is longer.
    let mut instance = guest.instance();
    let answer = Guest::compiled(&mut instance, &guest.plans[0], &pair(3, 4), 2).unwrap();
    assert_eq!(answer, Answer::Answered(vec![8, 7]));
    let long = [pair(3, 4), [0x20, 0].repeat(200_000)].concat();
    assert!(Guest::compiled(&mut instance, &guest.plans[0], &long, 2).is_err());

    let (guest, unserved, memories) =
        made(&format!("{ADD_WIT} {NOW_WIT}"), &format!("{MEMORY} {REALLOC} {ADD} {NOW}"));
    assert_eq!((unserved, memories), (vec![None, None], 1));
    let answer = Guest::compiled(&mut guest.instance(), &guest.plans[1], &[], 100).unwrap();
    assert_eq!(answer, Answer::Answered(field(b"noo")));
}

#[test]
fn what_needs_a_memory_that_gives_nothing_says_so() {
    let (guest, unserved, memories) =
        made(&format!("{ADD_WIT} {NOW_WIT}"), &format!("{MEMORY} {ADD} {NOW}"));
    assert_eq!((unserved, memories), (vec![None, Some(Unserved::NoMemory)], 2));
    adds(&guest);
}

/// Numbers at whose ends varints get longer.
fn number() -> impl Strategy<Value = u64> {
    let around = |bits: u32| (1_u64 << bits).wrapping_sub(1)..=1_u64 << bits;
    prop_oneof![
        4 => 0_u64..128,
        3 => 0_u64..1 << 14,
        2 => (0_u32..64).prop_flat_map(around),
        1 => any::<u64>(),
    ]
}

/// A varint, perhaps longer than it need be.
fn varint() -> impl Strategy<Value = Vec<u8>> {
    (number(), prop_oneof![9 => Just(0_usize), 1 => 0_usize..10]).prop_map(|(number, longer)| {
        let mut to = Vec::new();
        encode_varint(number, &mut to);
        let longer = longer.min(10 - to.len());
        if 0 < longer {
            *to.last_mut().unwrap() |= 0x80;
            to.resize(to.len() + longer - 1, 0x80);
            to.push(0);
        }
        to
    })
}

/// Lists of numbers as wide as their type, and as they may be.
fn packed() -> impl Strategy<Value = Vec<u8>> {
    let tail = prop_oneof![
        8 => Just(Vec::new()),
        1 => vec(any::<u8>(), 0..40),
        1 => vec(select(vec![0x80_u8, 0xff, 1, 2, 0x7f]), 0..40),
    ];
    (vec(varint(), 0..80), tail).prop_map(|(numbers, tail)| [numbers.concat(), tail].concat())
}

fn integers() -> [Scalar; 9] {
    use Scalar::{Bool, S8, S16, S32, S64, U8, U16, U32, U64};
    [Bool, U8, U16, U32, U64, S8, S16, S32, S64]
}

proptest! {
    #[test]
    fn packed_numbers_are_read_and_written_alike(
        scalar in select(integers().to_vec()),
        lists in vec(packed(), 1..8),
    ) {
        // A list of `u8` is bytes.
        if scalar == Scalar::U8 {
            return Ok(());
        }
        let guest = echo(&list(Type::Scalar(scalar)));
        prop_assert_eq!(&guest.unserved, &[None]);
        for numbers in lists {
            let tuple = {
                let mut tuple = vec![0x92, 0x01];
                encode_varint(numbers.len() as u64, &mut tuple);
                tuple.extend(&numbers);
                tuple
            };
            compare(&guest, &field(&tuple)).map_err(TestCaseError::fail)?;
        }
    }
}
