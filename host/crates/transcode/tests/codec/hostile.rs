//! Requests and results that are made to hurt: none may panic, overflow the stack, take more than
//! its budget or more than linear time. (Most inputs here are so large that anything quadratic
//! would not come to an end.)

use std::sync::Arc;

use prost::encoding::encode_varint;
use roadstead_domain::{Fault, LimitKind, LimitReached};
use roadstead_transcode::{
    CopyBudget, EncodeError, MethodPlan, Scalar, check_request, decode_request, encode_response,
};
use wasmtime::component::Val;

use crate::types::{Planner, Type, list, member, option};

const MIB: usize = 1 << 20;
/// The default of `host_copy`.
const HOST_COPY: u64 = 128 << 20;

fn decode(ty: &Type, bytes: &[u8]) -> Result<Vec<Val>, Fault> {
    decode_request(&Planner::method(ty), bytes, &mut CopyBudget::new(HOST_COPY))
}

fn description(ty: &Type, bytes: &[u8]) -> String {
    match decode(ty, bytes) {
        Err(Fault::BadInput(violations)) => violations[0].description.clone(),
        other => panic!("{other:?}"),
    }
}

fn number() -> Type {
    Type::Scalar(Scalar::U32)
}

/// The bytes as field 1.
fn within(bytes: &[u8]) -> Vec<u8> {
    let mut to = vec![0x0a];
    encode_varint(bytes.len() as u64, &mut to);
    to.extend(bytes);
    to
}

fn limit(fault: Result<Vec<Val>, Fault>) -> LimitReached {
    match fault {
        Err(Fault::Limit(reached)) => reached,
        Ok(values) => panic!("{} values", values.len()),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn torn_and_impossible_fields_are_refused() {
    let corpus: [(&[u8], &str); 14] = [
        (&[0x08], "middle of a field"),
        (&[0x08, 0x80], "middle of a field"),
        (&[0x80], "middle of a field"),
        (&[0x0d, 1, 2, 3], "middle of a field"),
        (&[0x09, 1, 2, 3, 4, 5, 6, 7], "middle of a field"),
        (&[0x12, 5, 1, 2, 3, 4], "middle of a field"),
        (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], "64 bits"),
        (&[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0], "64 bits"),
        (&[0x00, 1], "impossible tag"),
        (&[0x0e], "impossible tag"),
        (&[0x0f], "impossible tag"),
        (&[0x88, 0x80, 0x80, 0x80, 0x10, 1], "impossible tag"),
        (&[0x0c], "group"),
        (&[0x13, 0x1c], "group"),
    ];
    for (bytes, part) in corpus {
        let text = description(&number(), bytes);
        assert!(text.contains(part), "{bytes:?}: {text}");
        // And the same one level down: in a message, a map's entry, a case without payload.
        for (ty, bytes) in [
            (Type::Tuple(vec![number()]), within(bytes)),
            (Type::Map(Scalar::U32, Box::new(number())), within(bytes)),
            (Type::Result(None, None), within(&within(bytes))),
        ] {
            let text = description(&ty, &bytes);
            assert!(text.contains(part), "{bytes:?}: {text}");
        }
    }
}

#[test]
fn claimed_lengths_reserve_nothing() {
    for claimed in [5, u64::from(u32::MAX), 1 << 31, 1 << 62, u64::MAX] {
        let mut bytes = vec![0x0a];
        encode_varint(claimed, &mut bytes);
        bytes.push(1);
        for ty in [list(number()), list(Type::Scalar(Scalar::U8)), Type::Scalar(Scalar::String)] {
            let mut budget = CopyBudget::new(HOST_COPY);
            decode_request(&Planner::method(&ty), &bytes, &mut budget).unwrap_err();
            assert_eq!(budget.used(), 0);
        }
    }
}

#[test]
fn groups_nest_a_hundred_deep_and_no_more() {
    let nested = |depth: usize| {
        let mut bytes = vec![0x13; depth];
        bytes.extend(vec![0x14; depth]);
        bytes
    };
    assert_eq!(decode(&number(), &nested(100)).unwrap(), [Val::U32(0)]);
    assert_eq!(description(&number(), &nested(101)), "nested deeper than 100 levels");
    assert_eq!(description(&number(), &nested(MIB)), "nested deeper than 100 levels");
    assert!(description(&number(), &[0x13; 50]).contains("middle"));
}

#[test]
fn messages_nest_a_hundred_deep_and_no_more() {
    let nested = |depth| {
        (0..depth).fold((number(), Val::U32(7), vec![8, 7]), |(ty, value, bytes), _| {
            (Type::Tuple(vec![ty]), Val::Tuple(vec![value]), within(&bytes))
        })
    };
    let encode = |ty: &Type, value| {
        let room = &mut CopyBudget::new(HOST_COPY);
        encode_response(&Planner::method(ty), &[value], HOST_COPY, room)
    };
    let (ty, value, bytes) = nested(100);
    assert_eq!(decode(&ty, &bytes).unwrap(), std::slice::from_ref(&value));
    assert_eq!(encode(&ty, value).unwrap(), bytes);
    for depth in [101, 400] {
        let (ty, value, bytes) = nested(depth);
        assert_eq!(description(&ty, &bytes), "nested deeper than 100 levels");
        assert!(matches!(encode(&ty, value), Err(EncodeError::Mismatch(_))));
        // Replaced cases are walked through to the same depth.
        let variant = Type::Variant(vec![Some(ty), None]);
        let replaced = [within(&bytes), vec![0x12, 0]].concat();
        assert_eq!(description(&variant, &within(&replaced)), "nested deeper than 100 levels");
    }
}

#[test]
fn bytes_are_counted_before_they_become_values() {
    let bytes = within(&vec![7; 2 * MIB]);
    let ty = list(Type::Scalar(Scalar::U8));
    let needed = (2 * MIB as u64 + 1) * size_of::<Val>() as u64;
    let plan = Planner::method(&ty);
    let mut enough = CopyBudget::new(needed);
    let values = decode_request(&plan, &bytes, &mut enough).unwrap();
    assert_eq!((enough.used(), enough.remaining()), (needed, 0));
    let reached = limit(decode_request(&plan, &bytes, &mut CopyBudget::new(needed - 1)));
    let (limit, allowed) = (LimitKind::HostCopy, needed - 1);
    assert_eq!(reached, LimitReached { limit, allowed, used: Some(needed) });

    let mut room = CopyBudget::new(HOST_COPY);
    let length = bytes.len() as u64;
    assert_eq!(encode_response(&plan, &values, length, &mut room).unwrap(), bytes);
    assert_eq!(room.used(), length);
    let over = encode_response(&plan, &values, length - 1, &mut CopyBudget::new(HOST_COPY));
    let Err(EncodeError::Limit(reached)) = over else { panic!("{over:?}") };
    assert_eq!((reached.limit, reached.allowed), (LimitKind::Output, length - 1));
    let poor = encode_response(&plan, &values, length, &mut CopyBudget::new(length - 1));
    let Err(EncodeError::Limit(reached)) = poor else { panic!("{poor:?}") };
    assert_eq!(reached.limit, LimitKind::HostCopy);
}

#[test]
fn what_a_list_takes_is_known_beforehand() {
    let exact = |ty: Type, bytes: &[u8], count: usize| {
        let mut budget = CopyBudget::new(HOST_COPY);
        decode_request(&Planner::method(&ty), bytes, &mut budget).unwrap();
        assert_eq!(budget.used(), (count as u64 + 1) * size_of::<Val>() as u64);
    };
    exact(list(number()), &within(&[3; 1000]), 1000);
    exact(list(number()), &[8, 3].repeat(1000), 1000);
    exact(list(Type::Scalar(Scalar::F64)), &within(&[0; 8000]), 1000);
    exact(list(Type::Scalar(Scalar::String)), &[0x0a, 0].repeat(1000), 1000);
    exact(list(list(Type::Scalar(Scalar::U8))), &[0x0a, 0].repeat(1000), 1000);
}

#[test]
fn two_bytes_cannot_become_much() {
    // Empty elements, each of which is a large value.
    let wide = Type::Record(vec![option(number()); 1000]);
    let reached = limit(decode(&list(wide), &[0x0a, 0].repeat(MIB)));
    assert_eq!((reached.limit, reached.allowed), (LimitKind::HostCopy, HOST_COPY));
    assert!(reached.used.is_some_and(|used| HOST_COPY < used));
    let flags = Type::Flags(32);
    let mut set = Vec::new();
    for number in 1..=32_u64 {
        encode_varint(number << 3, &mut set);
        set.push(1);
    }
    let (plan, room) = (Planner::method(&list(flags)), &mut CopyBudget::new(16 << 20));
    limit(decode_request(&plan, &within(&set).repeat(20_000), room));
}

#[test]
fn what_is_wrong_far_inside_is_found_without_values() {
    let number = |tag: u8, value: u64| {
        let mut to = vec![tag];
        encode_varint(value, &mut to);
        to
    };
    let bytes = list(Type::Scalar(Scalar::U8));
    let record = Type::Record(vec![bytes, Type::Scalar(Scalar::U8)]);
    let good = [within(&vec![7; 8 * MIB]), number(0x10, 255)].concat();
    let bad = [within(&vec![7; 8 * MIB]), number(0x10, 256)].concat();
    let texts = [0x0a, 1, b'x'].repeat(4 * MIB);
    for (ty, bytes, wrong) in [
        (record.clone(), within(&good), None),
        (record.clone(), within(&bad), Some("value.m_x1")),
        (list(record), [within(&good), within(&bad)].concat(), Some("value[1].m_x1")),
        (list(Type::Scalar(Scalar::String)), texts.clone(), None),
        (
            list(Type::Scalar(Scalar::String)),
            [texts, vec![0x0a, 1, 0xff]].concat(),
            Some("value[4194304]"),
        ),
    ] {
        let plan = Planner::method(&ty);
        limit(decode_request(&plan, &bytes, &mut CopyBudget::new(HOST_COPY)));
        let mut little = CopyBudget::new(1000);
        match (check_request(&plan, &bytes, &mut little), wrong) {
            (Ok(()), None) => {}
            (Err(Fault::BadInput(violations)), Some(path)) => {
                assert_eq!(violations[0].field, path);
            }
            (checked, _) => panic!("{checked:?}"),
        }
    }
}

#[test]
fn checking_takes_no_more_time_than_its_budget_allows() {
    let wide = list(Type::Record(vec![option(number()); 1000]));
    let (plan, mut budget) = (Planner::method(&wide), CopyBudget::new(HOST_COPY));
    let checked = check_request(&plan, &[0x0a, 0].repeat(8 * MIB), &mut budget);
    let Err(Fault::Limit(reached)) = checked else { panic!("{checked:?}") };
    assert_eq!(reached.limit, LimitKind::HostCopy);
}

#[test]
fn parts_and_replacements_take_linear_time() {
    // A message in half a million parts.
    let parts = [0x0a, 2, 8, 1].repeat(MIB / 2);
    let tuple = Type::Tuple(vec![number()]);
    assert_eq!(decode(&tuple, &parts).unwrap(), [Val::Tuple(vec![Val::U32(1)])]);
    // The same in parts at every level.
    let deep = Type::Tuple(vec![Type::Tuple(vec![tuple.clone()])]);
    let inner = [0x0a, 2, 8, 1].repeat(1000);
    let bytes = within(&within(&inner).repeat(20)).repeat(10);
    decode(&deep, &bytes).unwrap();
    // Two cases that replace each other over and over.
    let variant =
        Type::Variant(vec![Some(deep), Some(list(number())), Some(Type::Scalar(Scalar::String))]);
    let swaps = [0x0a, 2, 0x0a, 0, 0x12, 3, 0x0a, 1, 1, 0x1a, 1, b'a'].repeat(MIB / 8);
    let last = Val::Variant(member(2), Some(Box::new(Val::String("a".to_owned()))));
    assert_eq!(decode(&variant, &within(&swaps)).unwrap(), [last]);
    // A string that is replaced a million times takes no memory.
    let mut budget = CopyBudget::new(1000);
    let text = Planner::method(&Type::Scalar(Scalar::String));
    decode_request(&text, &[0x0a, 3, b'a', b'b', b'c'].repeat(MIB), &mut budget).unwrap();
}

#[test]
fn lists_in_pieces_take_linear_time() {
    let packed_by_one = [0x0a, 1, 7].repeat(MIB / 2);
    let Val::List(values) = decode(&list(number()), &packed_by_one).unwrap().remove(0) else {
        panic!("no list");
    };
    assert_eq!(values.len(), MIB / 2);
    // Two lists by turns, so that no run is longer than one.
    let two = Type::Tuple(vec![list(number()), list(Type::Scalar(Scalar::String))]);
    decode(&two, &within(&[8, 1, 0x12, 0].repeat(MIB / 4))).unwrap();
}

#[test]
fn large_types_are_looked_up_quickly() {
    let cases = 20_000;
    let last = Val::Enum(member(cases - 1));
    let mut packed = Vec::new();
    for _ in 0..200_000 {
        encode_varint(cases as u64, &mut packed);
    }
    let ty = list(Type::Enum(cases));
    let bytes = within(&packed);
    let values = decode(&ty, &bytes).unwrap();
    assert_eq!(values, [Val::List(vec![last; 200_000])]);
    let room = &mut CopyBudget::new(HOST_COPY);
    assert_eq!(encode_response(&Planner::method(&ty), &values, HOST_COPY, room).unwrap(), bytes);

    let variants = list(Type::Variant(vec![None; 2000]));
    let element = within(&[0x82, 0x7d, 0]);
    let values = decode(&variants, &element.repeat(200_000)).unwrap();
    assert_eq!(values, [Val::List(vec![Val::Variant(member(1999), None); 200_000])]);
    let unknown = [0xf8, 0xff, 0xff, 0xff, 0x0f, 1].repeat(MIB / 6);
    decode(&Type::Record(vec![number(); 5000]), &within(&unknown)).unwrap();
}

#[test]
fn maps_of_equal_and_of_long_keys() {
    let map = Type::Map(Scalar::String, Box::new(number()));
    let same = [0x0a, 4, 0x0a, 0, 0x10, 3].repeat(200_000);
    let one = Val::Map(vec![(Val::String(String::new()), Val::U32(3))]);
    assert_eq!(decode(&map, &same).unwrap(), [one]);
    let prefix = "x".repeat(1000);
    let entries: Vec<u8> = (0..2000)
        .rev()
        .flat_map(|at| within(&within(format!("{prefix}{at:04}").as_bytes())))
        .collect();
    let Val::Map(entries) = decode(&map, &entries).unwrap().remove(0) else { panic!("no map") };
    assert!(
        entries
            .iter()
            .enumerate()
            .all(|(at, (key, _))| { *key == Val::String(format!("{prefix}{at:04}")) })
    );
}

#[test]
fn a_plan_is_used_by_many_threads_at_once() {
    let plan: Arc<MethodPlan> = Arc::new(Planner::method(&list(number())));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let plan = Arc::clone(&plan);
            std::thread::spawn(move || {
                decode_request(&plan, &within(&[1, 2, 3]), &mut CopyBudget::new(HOST_COPY))
            })
        })
        .collect();
    for thread in threads {
        let values = vec![Val::List(vec![Val::U32(1), Val::U32(2), Val::U32(3)])];
        assert_eq!(thread.join().unwrap().unwrap(), values);
    }
}
