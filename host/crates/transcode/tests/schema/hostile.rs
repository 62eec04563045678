//! Types made to hurt: deep, wide, and many to one name.

use std::fmt::Write as _;

use roadstead_transcode::{DeriveError, Locks, World, derive};

use crate::support::{derived, unmapped, world};

fn interface(items: &str) -> String {
    format!("package t:t;\ninterface i {{ {items} }}\nworld w {{ export i; }}")
}

fn nested(ty: &str, times: usize) -> String {
    (0..times).fold("u8".to_owned(), |inner, _| ty.replace('_', &inner))
}

#[test]
fn anonymous_nesting_has_a_bound() {
    let function = |name: &str, times| format!("{name}: func(a: {});", nested("option<_>", times));
    let derived = derived(&interface(&format!("{}{}", function("fine", 28), function("deep", 29))));
    assert_eq!(
        unmapped(&derived),
        ["t:t/i#deep: its types nest more than 28 without a name in between"]
    );
    assert_eq!(derived.services[0].methods.len(), 1);
    // The parser has a bound of its own.
    let wit = interface(&function("f", 5000));
    assert!(World::from_wit(&[("a.wit".to_owned(), wit)], None).is_err());
}

#[test]
fn chains_of_names_have_a_bound() {
    let chain = |ty: &str, length: usize| {
        let mut items = String::from("record t0 { a: u8 }\n");
        for at in 1..length {
            let before = ty.replace('_', &format!("t{}", at - 1));
            writeln!(items, "record t{at} {{ a: {before} }}").unwrap();
        }
        write!(items, "f: func(a: t{});", length - 1).unwrap();
        derived(&interface(&items))
    };
    assert!(unmapped(&chain("_", 64)).is_empty());
    assert_eq!(unmapped(&chain("_", 65)), ["t:t/i#f: its types nest more than 64 deep"]);
    assert_eq!(unmapped(&chain("_", 3000)).len(), 1);
    assert_eq!(unmapped(&chain("list<_>", 3000)).len(), 1);
}

#[test]
fn chains_of_aliases_are_free() {
    let mut items = String::from("type t0 = u8;\n");
    for at in 1..3000 {
        writeln!(items, "type t{at} = t{};", at - 1).unwrap();
    }
    items.push_str("f: func(a: t2999, b: list<t2999>);");
    assert!(unmapped(&derived(&interface(&items))).is_empty());
}

#[test]
fn types_that_grow_by_doubling_are_refused() {
    let mut items = String::from("type t0 = tuple<u8, u8>;\n");
    for at in 1..25 {
        writeln!(items, "type t{at} = tuple<t{0}, t{0}>;", at - 1).unwrap();
    }
    items.push_str("f: func(a: t24); g: func(a: t5);");
    let derived = derived(&interface(&items));
    assert_eq!(unmapped(&derived), ["t:t/i#f: its types have more than 20000 members"]);
    // Each of these is fine, all of them together are not.
    let mut items = String::from("type t0 = tuple<u8, u8>;\n");
    for at in 1..13 {
        writeln!(items, "type t{at} = tuple<t{0}, t{0}>;", at - 1).unwrap();
    }
    for at in 0..40 {
        writeln!(items, "go{at}: func(a: t11);").unwrap();
    }
    let (module, version) = ("m".parse().unwrap(), "1.0.0".parse().unwrap());
    assert_eq!(
        derive(&world(&interface(&items)), &module, &version, &Locks::default()).unwrap_err(),
        DeriveError::TooLarge(100_000)
    );
}

#[test]
fn hundreds_of_names_that_are_one_to_protobuf() {
    // `a11`, `a1-1`, `a-11` and `a-1-1` all have the JSON name `a11`.
    let digits = 8;
    let names: Vec<String> = (0..1_usize << digits)
        .map(|mask| {
            let mut name = String::from("a");
            for bit in 0..digits {
                name.push_str(if mask >> bit & 1 == 1 { "-1" } else { "1" });
            }
            name
        })
        .collect();
    let list = |each: fn(&String) -> String| names.iter().map(each).collect::<Vec<_>>().join("\n");
    let wit = interface(&format!(
        "record r {{ {} }} enum e {{ {} }} {} f: func(r: r, e: e);",
        list(|name| format!("{name}: u8,")),
        list(|name| format!("{name},")),
        list(|name| format!("{name}: func();")),
    ));
    let derived = derived(&wit);
    assert_eq!(derived.services[0].methods.len(), names.len() + 1);
}

#[test]
fn the_most_cases_and_fields_that_a_type_may_have() {
    let many = |each: fn(usize) -> String| (0..3_500).map(each).collect::<Vec<_>>().join(", ");
    let wit = interface(&format!(
        "enum e {{ {} }} record r {{ {} }} f: func(r: r) -> e;",
        many(|at| format!("c{at}x")),
        many(|at| format!("c{at}x: list<list<u16>>")),
    ));
    assert!(unmapped(&derived(&wit)).is_empty());
}

#[test]
fn text_without_bound_is_refused() {
    let wit = format!("package t:t; /* {} */", " ".repeat(5 << 20));
    let error = World::from_wit(&[("a.wit".to_owned(), wit)], None).unwrap_err();
    assert!(error.to_string().contains("more than 4194304"), "{error}");
}

#[test]
fn interfaces_that_use_each_other_in_a_chain_have_a_bound() {
    let chain = |length: usize| {
        let mut wit = String::from("package t:t;\ninterface i0 { record t { a: u8 } }\n");
        for at in 1..length {
            let before = at - 1;
            writeln!(wit, "interface i{at} {{ use i{before}.{{t}}; f: func(a: t); }}").unwrap();
        }
        writeln!(wit, "world w {{ export i{}; }}", length - 1).unwrap();
        World::from_wit(&[("a.wit".to_owned(), wit)], None)
    };
    assert!(chain(900).is_ok());
    let error = chain(10_000).unwrap_err().to_string();
    assert!(error.contains("more than 1000"), "{error}");
}
