//! What counts as a break, row by row of the contract's table.

use roadstead_transcode::{Derived, Locks, compare};

use crate::support::{derived, derived_with, world};

fn interface(items: &str) -> String {
    format!("package t:t@1.0.0;\ninterface i {{ {items} }}\nworld w {{ export i; }}")
}

/// A second push of the module that had `before`.
fn breaks(before: &str, after: &str) -> Vec<String> {
    let before = derived(&interface(before));
    let after = derived_with(&world(&interface(after)), &before.locks);
    said(&before.locks, &before.surface, &after)
}

/// A push by a module that is new in the namespace.
fn breaks_of_other(lock: &str, new: &str) -> Vec<String> {
    let before = derived(&interface(lock));
    let new = derived_with(&world(&interface(new)), &before.locks);
    said(&before.locks, &Locks::default(), &new)
}

fn said(locks: &Locks, previous: &Locks, new: &Derived) -> Vec<String> {
    let found = compare(locks, previous, new);
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(found, sorted);
    found
        .into_iter()
        .map(|one| format!("{}: {}", one.subject, one.description).replace("t.t.i.v1.", ""))
        .collect()
}

fn compatible(before: &str, after: &str) {
    assert_eq!(breaks(before, after), Vec::<String>::new(), "{before} → {after}");
}

fn breaking(before: &str, after: &str, expected: &[&str]) {
    assert_eq!(breaks(before, after), expected, "{before} → {after}");
}

#[test]
fn the_same_again_is_compatible() {
    let wit = crate::golden::HARBOUR;
    let before = derived(wit);
    let after = derived_with(&world(wit), &before.locks);
    assert!(compare(&before.locks, &before.surface, &after).is_empty());
    assert!(compare(&Locks::default(), &Locks::default(), &before).is_empty());
}

#[test]
fn additions_are_compatible() {
    compatible("f: func();", "f: func(); g: func(a: string) -> bool;");
    compatible("f: func();", "f: func(); record r { a: u8 } g: func(r: r);");
    compatible(
        "record r { a: u8 } f: func(r: r) -> r;",
        "record r { a: u8, b: u64, c: string, d: list<u8>, e: f32 } f: func(r: r) -> r;",
    );
    compatible(
        "record r { a: u8 } f: func(r: r) -> r;",
        "record s { a: u8 } record r { a: u8, b: option<s>, c: list<s>, d: map<u8, s> }
         f: func(r: r) -> r;",
    );
    compatible("f: func();", "f: func(a: u8, b: option<string>);");
    compatible("f: func();", "flags l { a } f: func(l: l);");
    compatible("flags l { a } f: func(l: l) -> l;", "flags l { a, b } f: func(l: l) -> l;");
    compatible("f: func(a: u8);", "f: func(a: u8) -> string;");
    compatible("f: func(a: tuple<u8>);", "f: func(a: tuple<u8, u8>);");
}

#[test]
fn order_does_not_matter() {
    compatible(
        "record r { a: u8, b: string } variant v { x, y(u8) } f: func(a: r, b: v); g: func();",
        "variant v { y(u8), x } g: func(); record r { b: string, a: u8 } f: func(b: v, a: r);",
    );
}

#[test]
fn what_is_gone_or_renamed_breaks() {
    breaking("f: func(); g: func();", "f: func();", &["I/G: the function is gone"]);
    breaking("f: func();", "h: func();", &["I/F: the function is gone"]);
    breaking(
        "record r { a: u8, b: u8 } f: func(r: r);",
        "record r { a: u8, c: u8 } f: func(r: r);",
        &["R.b: the field is gone"],
    );
    breaking("f: func(a: u8);", "f: func();", &["FRequest.a: the parameter is gone"]);
    breaking("f: func() -> u8;", "f: func();", &["FResponse.value: the field is gone"]);
    breaking(
        "variant v { a, b } f: func(v: v);",
        "variant v { a } f: func(v: v);",
        &["V.b: the case is gone"],
    );
    breaking(
        "enum e { a, b } f: func() -> e;",
        "enum e { a } f: func() -> e;",
        &["E_B: the value is gone"],
    );
    breaking(
        "flags l { a, b } f: func(l: l);",
        "flags l { a } f: func(l: l);",
        &["L.b: the field is gone"],
    );
    // A function that can no longer be called is gone too.
    breaking(
        "f: func(); g: func();",
        "f: func(); g: func(a: list<u8, 4>);",
        &["I/G: the function is gone"],
    );
}

#[test]
fn changed_types_break() {
    breaking("f: func(a: u8);", "f: func(a: s8);", &["FRequest.a: was u8 and is s8"]);
    breaking(
        "f: func(a: string);",
        "f: func(a: list<u8>);",
        &["FRequest.a: was string and is bytes"],
    );
    breaking(
        "f: func(a: u8);",
        "f: func(a: option<u8>);",
        &["FRequest.a: was u8 and is option<u8>"],
    );
    breaking("f: func(a: f32);", "f: func(a: f64);", &["FRequest.a: was f32 and is f64"]);
    breaking("f: func(a: u8);", "f: func(a: bool);", &["FRequest.a: was u8 and is bool"]);
    breaking(
        "f: func(a: map<u8, u8>);",
        "f: func(a: map<string, u8>);",
        &["FRequest.a: was map<u8,u8> and is map<string,u8>"],
    );
    breaking(
        "record r { a: u8 } record s { a: u8 } f: func(a: r);",
        "record r { a: u8 } record s { a: u8 } f: func(a: s);",
        &["FRequest.a: was .R and is .S"],
    );
    breaking(
        "record r { a: u8 } f: func(a: r);",
        "flags r { a } f: func(a: r);",
        &["R: was a record and is flags"],
    );
    breaking(
        "variant v { a, b(u8) } f: func(a: v);",
        "variant v { a(u8), b(u8) } f: func(a: v);",
        &["V.a: was empty and is u8"],
    );
    breaking(
        "f: func(a: list<list<u16>>);",
        "f: func(a: list<tuple<u8>>);",
        &["FRequest.A: was a list, option or map and is a tuple"],
    );
    // From a plain answer to a result.
    breaking(
        "f: func() -> u8;",
        "f: func() -> result<u8>;",
        &["FResponse.value: the field is gone"],
    );
}

#[test]
fn callers_may_send_what_is_accepted_on_top() {
    for (from, to) in [
        ("u8", "u16"),
        ("u8", "u32"),
        ("u16", "u64"),
        ("u32", "u64"),
        ("s8", "s32"),
        ("s32", "s64"),
        ("char", "string"),
        ("list<u16>", "list<u32>"),
        ("option<u16>", "option<u64>"),
        ("map<u8, char>", "map<u8, string>"),
        ("map<u8, string>", "map<u32, string>"),
        ("tuple<u8>", "tuple<u64>"),
    ] {
        let function = |ty: &str| format!("f: func(a: {ty});");
        compatible(&function(from), &function(to));
        assert_eq!(breaks(&function(to), &function(from)).len(), 1, "{to} → {from}");
    }
    compatible(
        "record r { a: u8 } f: func(a: r, b: r);",
        "record r { a: u8 } f: func(a: option<r>, b: r);",
    );
    breaking(
        "record r { a: u8 } f: func(a: option<r>);",
        "record r { a: u8 } f: func(a: r);",
        &["FRequest.a: was option<.R> and is .R"],
    );
}

#[test]
fn answers_may_shrink_and_grow_only_within_their_protobuf_type() {
    for (from, to) in [
        ("u8", "u32"),
        ("char", "string"),
        ("u32", "u8"),
        ("u64", "u32"),
        ("list<s8>", "list<s16>"),
    ] {
        compatible(&format!("f: func() -> {from};"), &format!("f: func() -> {to};"));
    }
    breaking("f: func() -> u32;", "f: func() -> u64;", &["FResponse.value: was u32 and is u64"]);
    // What goes both ways must do both.
    let both = |ty: &str| format!("record r {{ a: {ty} }} f: func(r: r) -> r;");
    compatible(&both("u8"), &both("u32"));
    breaking(&both("u32"), &both("u8"), &["R.a: was u32 and is u8"]);
    breaking(&both("u32"), &both("u64"), &["R.a: was u32 and is u64"]);
}

#[test]
fn a_new_field_that_must_be_set_breaks_those_who_send_it() {
    let required =
        |what: &str| format!("{what} is new and must be set, which callers so far do not");
    breaking(
        "f: func();",
        "enum e { x } f: func(e: e);",
        &[&required("FRequest.e: the parameter")],
    );
    breaking("f: func();", "f: func(c: char);", &[&required("FRequest.c: the parameter")]);
    for (ty, name) in [("s", "S"), ("e", "E"), ("v", "V"), ("tuple<u8>", "tuple"), ("result", "r")]
    {
        let types = "record s { a: u8 } enum e { x } variant v { x }";
        let before = |function: &str| format!("{types} record r {{ a: u8 }} f: {function};");
        let after =
            |function: &str| format!("{types} record r {{ a: u8, b: {ty} }} f: {function};");
        let sent = "func(a: list<r>, b: map<u8, r>)";
        breaking(&before(sent), &after(sent), &[&required("R.b: the field")]);
        let received = "func() -> tuple<option<r>>";
        compatible(&before(received), &after(received));
        assert!(!name.is_empty());
    }
    // Whoever sends the message does so with a function that is new.
    compatible(
        "record s { a: u8 } record r { a: u8 } f: func() -> r;",
        "record s { a: u8 } record r { a: u8, b: s } f: func() -> r; g: func(r: r);",
    );
    // The message is reached only through a field that old stubs do not have.
    compatible(
        "record s { a: u8 } record r { a: u8 } f: func(a: u8) -> r;",
        "record s { a: u8 } record r { a: u8, b: s } f: func(a: u8, r: option<r>) -> r;",
    );
}

#[test]
fn a_new_case_breaks_those_who_could_receive_it() {
    let new = "is new, and callers who do not know it could receive it";
    for function in ["func() -> v", "func() -> result<_, v>", "func() -> list<tuple<option<v>>>"] {
        breaking(
            &format!("variant v {{ a }} f: {function};"),
            &format!("variant v {{ a, b(u8) }} f: {function};"),
            &[&format!("V.b: the case {new}")],
        );
        breaking(
            &format!("enum v {{ a }} f: {function};"),
            &format!("enum v {{ a, b }} f: {function};"),
            &[&format!("V_B: the value {new}")],
        );
    }
    compatible("variant v { a } f: func(v: v);", "variant v { a, b(u8) } f: func(v: v);");
    compatible("enum v { a } f: func(v: v);", "enum v { a, b } f: func(v: v);");
    compatible("enum v { a } f: func(v: v);", "enum v { a, b } f: func(v: v); g: func() -> v;");
}

#[test]
fn a_service_that_is_gone_goes_on_being_served_by_the_version_that_has_it() {
    let with = |exports: &str| {
        format!(
            "package t:t@1.0.0; interface i {{ f: func(); }} interface j {{ f: func(); }}
             world w {{ {exports} }}"
        )
    };
    let before = derived(&with("export i; export j;"));
    let after = derived_with(&world(&with("export i;")), &before.locks);
    assert!(compare(&before.locks, &before.surface, &after).is_empty());
}

#[test]
fn a_new_track_owes_nothing_to_the_old_one() {
    let before =
        derived("package t:t@1.0.0; interface i { f: func(a: u8); } world w { export i; }");
    let after = derived_with(
        &world("package t:t@2.0.0; interface i { f: func(a: string); } world w { export i; }"),
        &before.locks,
    );
    assert!(compare(&before.locks, &before.surface, &after).is_empty());
}

#[test]
fn a_new_module_is_held_to_what_others_promised_but_need_not_offer_it_all() {
    assert!(breaks_of_other("f: func(); g: func();", "f: func();").is_empty());
    assert!(
        breaks_of_other(
            "record r { a: u8, b: u8 } f: func(r: r);",
            "record r { a: u8 } f: func(r: r);"
        )
        .is_empty()
    );
    assert_eq!(
        breaks_of_other("f: func(a: u8);", "f: func(a: string);"),
        ["FRequest.a: was u8 and is string"]
    );
    assert_eq!(
        breaks_of_other("enum e { a } f: func() -> e;", "enum e { a, b } f: func() -> e;").len(),
        1
    );
    // A type in nobody's reach is promised all the same.
    assert_eq!(
        breaks_of_other("record r { a: u8 } f: func(r: r);", "record r { a: u32 } g: func(r: r);"),
        Vec::<String>::new()
    );
    assert_eq!(
        breaks_of_other("record r { a: u8 } f: func(r: r);", "record r { a: bool } g: func(r: r);"),
        ["R.a: was u8 and is bool"]
    );
}

#[test]
fn a_module_is_compared_with_itself_first() {
    // Another module accepts more; that is no reason to refuse the first one's next version.
    let first = derived(&interface("f: func(a: u8);"));
    let other = derived_with(&world(&interface("f: func(a: u32);")), &first.locks);
    let again = derived_with(&world(&interface("f: func(a: u8, b: u8);")), &other.locks);
    assert!(compare(&other.locks, &first.surface, &again).is_empty());
    assert_eq!(compare(&other.locks, &other.surface, &again).len(), 1);
}

#[test]
fn types_of_other_packages_are_judged_with_their_users() {
    let wit = |fields: &str| {
        format!(
            "package t:t@1.0.0;
             interface shapes {{ record point {{ {fields} }} record size {{ a: u8 }} }}
             interface i {{ use shapes.{{point, size}}; f: func(p: point, s: option<size>); }}
             world w {{ export i; }}"
        )
    };
    let before = derived(&wit("x: u8"));
    let after = derived_with(&world(&wit("x: u8, s: size")), &before.locks);
    let found = compare(&before.locks, &before.surface, &after);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].subject, "t.t.shapes.v1.Point.s");
    let after = derived_with(&world(&wit("y: u8")), &before.locks);
    let found = compare(&before.locks, &before.surface, &after);
    assert_eq!(found[0].subject, "t.t.shapes.v1.Point.x");
}

#[test]
fn an_edited_lock_that_uses_a_number_again_is_caught() {
    let before = derived(&interface("record r { a: u8, b: u8 } f: func(r: r);"));
    let edited = before.locks.to_text().replace("\"2 b u8\"", "\"3 b u8\"");
    let edited = Locks::parse(&edited).unwrap();
    let after =
        derived_with(&world(&interface("record r { a: u8, b: u8 } f: func(r: r);")), &edited);
    assert_eq!(said(&before.locks, &before.surface, &after), ["R.b: had the number 2 and has 3"]);
    let swapped = before
        .locks
        .to_text()
        .replace("\"1 a u8\"", "\"9 a u8\"")
        .replace("\"2 b u8\"", "\"1 b u8\"");
    let after = derived_with(
        &world(&interface("record r { a: u8, b: u8 } f: func(r: r);")),
        &Locks::parse(&swapped).unwrap(),
    );
    assert_eq!(
        said(&before.locks, &before.surface, &after),
        [
            "R.a: had the number 1 and has 9",
            "R.b: had the number 2 and has 1",
            "R.b: uses the number of `a` again",
        ]
    );
}

#[test]
fn what_streams_is_judged_like_what_does_not() {
    compatible("f: func() -> u8;", "f: async func() -> u8;");
    compatible("f: func() -> u8;", "f: func() -> future<u8>;");
    compatible("f: func(a: stream<u16>);", "f: async func(a: stream<u32>);");
    compatible(
        "f: func(a: stream<u16>, b: u8);",
        "f: func(a: tuple<stream<u16>, future<result>>, c: string, b: u8);",
    );
    breaking(
        "f: func(a: u8);",
        "f: func(a: stream<u8>);",
        &["FRequest: was a request and is a stream of requests"],
    );
    breaking(
        "f: func() -> u8;",
        "f: func() -> stream<u8>;",
        &["FResponse: was a response and is a stream of responses"],
    );
    breaking(
        "f: func() -> stream<u8>;",
        "f: func() -> list<u8>;",
        &["FResponse: was a stream of responses and is a response"],
    );
    breaking(
        "f: func() -> stream<u32>;",
        "f: func() -> stream<u64>;",
        &["FResponse.item: was u32 and is u64"],
    );
    breaking(
        "f: func() -> stream<u32>;",
        "f: func() -> result<stream<u32>>;",
        &["FResponse.error: the case is new, and callers who do not know it could receive it"],
    );
    breaking(
        "enum e { x } f: func(a: stream<u32>);",
        "enum e { x } f: func(a: stream<u32>, b: e);",
        &["FRequest.Start.b: the parameter is new and must be set, which callers so far do not"],
    );
    breaking(
        "f: func(a: stream<u32>, b: u8);",
        "f: func(a: stream<u32>);",
        &["FRequest.Start.b: the parameter is gone"],
    );
}
