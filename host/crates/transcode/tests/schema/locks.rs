//! The lock: names and numbers stay, whoever adds what in whatever order.

use roadstead_transcode::{Derived, LockError, Locks};

use crate::support::{assert_lines, derived, derived_with, only, text, world};

fn interface(items: &str) -> String {
    format!("package t:locks@1.0.0;\ninterface i {{ {items} }}\nworld w {{ export i; }}")
}

/// Derives one after the other, each with the lock of the one before.
fn series(versions: &[&str]) -> Vec<Derived> {
    let mut locks = Locks::default();
    versions
        .iter()
        .map(|items| {
            let derived = derived_with(&world(&interface(items)), &locks);
            locks = Locks::parse(&derived.locks.to_text()).unwrap();
            derived
        })
        .collect()
}

#[test]
fn deriving_again_changes_nothing() {
    let first = derived(crate::golden::HARBOUR);
    let second = derived_with(&world(crate::golden::HARBOUR), &first.locks);
    assert_eq!(first.files, second.files);
    assert_eq!(first.locks, second.locks);
    assert_eq!(first.surface, second.surface);
    assert_eq!(first.surface, first.locks);
}

#[test]
fn numbers_follow_names() {
    let all = series(&[
        "record r { a: u8, b: u8, c: u8 } enum e { x, y } variant v { p, q(u8) } flags l { m, n }
         f: func(a: r, b: e, c: v, d: l);",
        "record r { c: u8, d: u8, a: u8 } enum e { z, y, x } variant v { q(u8), s, p }
         flags l { o, n, m } f: func(d: l, e: u8, c: v, b: e, a: r);",
    ]);
    let file = only(&all[1]);
    for expected in [
        "message R {\nreserved 2;\nreserved \"b\";\n\nuint32 c = 3;\nuint32 d = 4;\nuint32 a = 1;\n}",
        "E_Z = 3;\nE_Y = 2;\nE_X = 1;",
        "uint32 q = 2;\n.google.protobuf.Empty s = 3;\n.google.protobuf.Empty p = 1;",
        "bool o = 3;\nbool n = 2;\nbool m = 1;",
        "L d = 4;\nuint32 e = 5;\nV c = 3;\nE b = 2;\nR a = 1;",
    ] {
        assert_lines(&file, expected);
    }
}

#[test]
fn removed_names_and_numbers_stay_reserved_and_come_back_as_they_were() {
    let all = series(&[
        "record r { a: u8, b: u8, c: u8, d-e: u8, f: u8 } enum e { x, y, z } f: func(a: r, b: e);",
        "record r { c: u8 } enum e { y } f: func(a: r, b: e);",
        "record r { c: u8, g: u8, b: u8 } enum e { y, w } f: func(a: r, b: e);",
        "f: func();",
        "record r { a: u8, h: u8 } enum e { x } f: func(a: r, b: e);",
    ]);
    assert_lines(
        &only(&all[1]),
        "message R {
           reserved 1 to 2, 4 to 5;
           reserved \"a\", \"b\", \"d_e\", \"f\";

           uint32 c = 3;
         }

         enum E {
           reserved 1, 3;
           reserved \"E_X\", \"E_Z\";

           E_UNSPECIFIED = 0;
           E_Y = 2;
         }",
    );
    assert_lines(&only(&all[2]), "uint32 c = 3;\nuint32 g = 6;\nuint32 b = 2;");
    assert_lines(&only(&all[2]), "E_Y = 2;\nE_W = 4;");
    assert_lines(
        &only(&all[3]),
        "message FRequest {
           reserved 1 to 2;
           reserved \"a\", \"b\";
         }",
    );
    assert_lines(&only(&all[4]), "uint32 a = 1;\nuint32 h = 7;");
    assert!(
        !all[3].surface.to_text().contains("\"r\"") && all[3].locks.to_text().contains("\"r\"")
    );
}

#[test]
fn given_out_names_are_kept() {
    // `find-request` came first as a type; the function that would take its name has to give way.
    let all = series(&[
        "record find-request { a: u8 } g: func(a: find-request);",
        "record find-request { a: u8 } g: func(a: find-request); find: func();",
        "record find-request { a: u8 } find: func(); g: func(a: find-request);
         record find2-request { a: u8 } h: func(a: find2-request);",
    ]);
    assert_lines(&only(&all[1]), "rpc Find2(Find2Request) returns (Find2Response);");
    assert_lines(&only(&all[2]), "rpc Find2(Find2Request) returns (Find2Response);");
    assert_lines(&only(&all[2]), "message Find2RequestType {");
    // Alone, the order of the contract holds.
    let alone = only(&derived(&interface(
        "record find-request { a: u8 } g: func(a: find-request); find: func();",
    )));
    assert_lines(&alone, "rpc Find(FindRequest) returns (FindResponse);");
}

#[test]
fn a_service_that_comes_late_gives_way_to_types() {
    let shapes = "package t:t;
        interface shapes { record shapes { a: u8 } f: func(); }
        interface i { use shapes.{shapes}; f: func(s: shapes); }";
    let types = derived(&format!("{shapes} world w {{ export i; }}"));
    assert_lines(&text(&types, "t/t/shapes/shapes.proto"), "message Shapes {");
    let wit = format!("{shapes} world w {{ export i; export shapes; }}");
    let both = derived_with(&world(&wit), &types.locks);
    assert_lines(&text(&both, "t/t/shapes/shapes.proto"), "service Shapes2 {");
    let fresh = derived(&wit);
    assert_lines(&text(&fresh, "t/t/shapes/shapes.proto"), "service Shapes {");
    assert_lines(&text(&fresh, "t/t/shapes/shapes.proto"), "message ShapesType {");
}

#[test]
fn the_lock_is_the_union_of_all_modules() {
    let first = derived(&interface("record r { a: u8 } f: func(r: r);"));
    let second = derived_with(
        &world(&interface("record r { b: u8 } record s { a: u8 } g: func(r: r, s: s);")),
        &first.locks,
    );
    assert_lines(&only(&second), "reserved 1;\nreserved \"a\";\n\nuint32 b = 2;");
    let third = derived_with(
        &world(&interface("record r { b: u8, a: u8 } f: func(r: r); g: func(r: r);")),
        &second.locks,
    );
    assert_lines(&only(&third), "uint32 b = 2;\nuint32 a = 1;");
    // A package that a module does not touch stays as it is.
    let other = derived_with(
        &world("package o:o; interface i { f: func(); } world w { export i; }"),
        &third.locks,
    );
    assert_eq!(other.locks.packages().collect::<Vec<_>>(), ["o.o.i", "t.locks.i.v1"]);
    assert_eq!(other.locks.get("t.locks.i.v1"), third.locks.get("t.locks.i.v1"));
    assert_eq!(other.surface.packages().collect::<Vec<_>>(), ["o.o.i"]);
}

#[test]
fn nested_messages_keep_their_names() {
    let all = series(&[
        "f: func(foo-entry: tuple<u8>, bar: list<list<u8>>, baz: list<option<u8>>);",
        "f: func(foo: map<string, u8>, foo-entry: tuple<u8, u8>, baz: option<option<u8>>);",
    ]);
    assert_lines(
        &only(&all[1]),
        "reserved 2;
         reserved \"bar\";

         map<string, uint32> foo_2 = 4;
         FooEntry foo_entry = 1;
         optional Baz baz = 3;",
    );
}

#[test]
fn a_type_that_changes_its_kind_keeps_its_name() {
    let all = series(&[
        "record r { a: u8 } enum e { x } f: func(r: r, e: e);",
        "enum r { a } record e { x: u8 } f: func(r: r, e: e);",
        "variant r { a, b } flags e { x } f: func(r: r, e: e);",
    ]);
    assert_lines(&only(&all[1]), "enum R {\nR_UNSPECIFIED = 0;\nR_A = 1;\n}");
    assert_lines(&only(&all[2]), "message R {\noneof kind {");
}

#[test]
fn protobufs_own_numbers_are_skipped() {
    let lock = |number: u32| {
        let text = derived(&interface("record r { a: u8 } f: func(r: r);")).locks.to_text();
        Locks::parse(&text.replace("\"1 a u8\"", &format!("\"{number} a u8\"")))
    };
    let wit = interface("record r { a: u8, b: u8, c: u8 } f: func(r: r);");
    let derived = derived_with(&world(&wit), &lock(18_998).unwrap());
    assert_lines(&only(&derived), "uint32 a = 18998;\nuint32 b = 18999;\nuint32 c = 20000;");
    let used_up = roadstead_transcode::derive(
        &world(&wit),
        &"m".parse().unwrap(),
        &"1.0.0".parse().unwrap(),
        &lock((1 << 29) - 1).unwrap(),
    );
    assert!(used_up.unwrap_err().to_string().contains("used up the numbers"));
    for bad in [0, 19_000, 19_999, 1 << 29] {
        assert!(lock(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_text_says_what_is_wrong_with_it() {
    let good = derived(crate::golden::HARBOUR).locks.to_text();
    let broken = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        Locks::parse(&good.replacen(from, to, 1)).unwrap_err()
    };
    for (from, to, part) in [
        ("\"format\": 1", "\"format\": 2", "format 2"),
        ("{", "", "line 2"),
        ("\"2 label string\"", "\"2 label\"", "`label`"),
        ("\"2 label string\"", "\"2 label strong\"", "2 label strong"),
        ("\"2 label string\"", "\"two label string\"", "two label string"),
        ("\"2 label string\"", "\"1 label string\"", "both have `1`"),
        ("\"2 label string\"", "\"2 id string\"", "both have `id`"),
        ("\"label\": \"2", "\"id\": \"2", "`id` stands twice"),
        ("\"Item\"", "\"Lot\"", "both have `Lot`"),
        ("\"Item\"", "\"a b\"", "which protobuf does not allow"),
        ("\"1 COLOUR_RED\"", "\"1 COLOUR_RED u8\"", "`red`"),
        ("\"kind\": \"wrapper\"", "\"kind\": \"wrap\"", "wrap"),
        ("\"item.grid\"", "\"itom.grid\"", "`itom`"),
        ("\"acme.harbour.shapes.v1\": {", "\"acme harbour\": {", "`acme harbour`"),
        ("\"service\": \"Manifest\"", "\"servant\": \"Manifest\"", "servant"),
    ] {
        let error = broken(from, to).to_string();
        assert!(error.contains(part), "{from} → {to}: {error}");
    }
    assert!(matches!(Locks::parse(""), Err(LockError::Syntax(_))));
    assert!(matches!(Locks::parse("{\"format\": 7, \"new\": []}"), Err(LockError::Format(7))));
    assert_eq!(Locks::parse("{\"format\": 1, \"packages\": {}}").unwrap(), Locks::default());
    assert_eq!(Locks::default().to_text(), "{\n  \"format\": 1,\n  \"packages\": {}\n}\n");
}

#[test]
fn a_lock_that_does_not_fit_is_an_error_and_no_panic() {
    // The type `r` was renamed to what the method's request is called.
    let text = derived(&interface("record r { a: u8 } g: func(r: r);")).locks.to_text();
    let lock = Locks::parse(&text.replace("\"name\": \"R\"", "\"name\": \"I2\"")).unwrap();
    derived_with(&world(&interface("record r { a: u8 } f: func(r: r);")), &lock);
    let lock = Locks::parse(&text.replace("\"GRequest\"", "\"HRequest\"")).unwrap();
    let wit = interface("record r { a: u8 } g: func(r: r); h: func();");
    let (module, version) = ("m".parse().unwrap(), "1.0.0".parse().unwrap());
    drop(roadstead_transcode::derive(&world(&wit), &module, &version, &lock));
}
