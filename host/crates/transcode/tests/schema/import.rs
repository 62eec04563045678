//! What a component imports, against what other modules export.

use roadstead_transcode::{Import, Misfit, Unbindable, World};

use crate::support::{derived, world};

const TYPES: &str = "
  record point { x: f64, y: f64 }
  variant problem { missing, bad(string) }
  enum colour { red, blue }
  flags rights { read, write }
";

fn importing(body: &str) -> World {
    world(&format!("package a:b@1.2.0; interface i {{ {body} }} world w {{ import i; }}"))
}

fn import(body: &str) -> Result<Import, Unbindable> {
    Import::of(&importing(body), "a:b/i@1.2.0", &"m".parse().unwrap())
}

/// The difference of an import to the same interface with another body, in another version.
fn misfit(ours: &str, version: &str, theirs: &str) -> Option<String> {
    let text = format!("package a:b@{version}; interface i {{ {theirs} }} world w {{ export i; }}");
    let served = import(ours).unwrap().served_by(&derived(&text).interfaces);
    served.err().map(|misfit: Misfit| misfit.to_string())
}

#[test]
fn what_is_imported_is_served_by_the_same_interface_of_the_track() {
    let body = format!("{TYPES} find: func(p: point, c: colour) -> result<rights, problem>;");
    let more = format!("{body} more: func();");
    for version in ["1.2.0", "1.0.0", "1.9.3"] {
        assert_eq!(misfit(&body, version, &more), None, "{version}");
    }
    let other = misfit(&body, "2.0.0", &body).unwrap();
    assert_eq!(other, "it does not export `a:b/i@1.2.0`");
    let served = import(&body).unwrap();
    let text = format!("package a:b@1.3.0; interface i {{ {more} }} world w {{ export i; }}");
    let exported = derived(&text).interfaces;
    let found = served.served_by(&exported).unwrap();
    assert_eq!(found.len(), 1, "what is called");
    assert_eq!((&*found[0].service, &*found[0].method), ("a.b.i.v1.I", "Find"));
    assert_eq!(served.service_in(&exported), Some("a.b.i.v1.I"));
}

#[test]
fn types_of_other_interfaces_count_as_well() {
    let text = |version: &str, direction: &str, ty: &str| {
        format!(
            "package a:b@{version}; interface t {{ record point {{ x: {ty} }} }}
             interface i {{ use t.{{point}}; f: func(p: list<point>); }}
             world w {{ {direction} i; }}"
        )
    };
    let world = world(&text("1.2.0", "import", "f64"));
    let import = Import::of(&world, "a:b/i@1.2.0", &"m".parse().unwrap()).unwrap();
    let served = |ty| import.served_by(&derived(&text("1.4.0", "export", ty)).interfaces);
    assert!(served("f64").is_ok());
    let misfit = served("f32").unwrap_err().to_string();
    assert_eq!(
        misfit,
        "`f`, parameter p, type point, field x is f64 in the import, and f32 in what it exports"
    );
}

#[test]
fn the_first_difference_is_named() {
    let with = |function: &str| format!("{TYPES} {function}");
    let f = "f: func(p: point) -> option<problem>;";
    for (ours, theirs, expected) in [
        (with(f), with("g: func();"), "it has no function `f`"),
        (
            with("f: func(a: u32);"),
            with("f: func(a: u64);"),
            "`f`, parameter a is u32 in the import, and u64 in what it exports",
        ),
        (
            with("f: func(a: u32);"),
            with("f: func(b: u32);"),
            "`f` is of parameter a in the import, and of parameter b in what it exports",
        ),
        (
            with("f: func(a: u32);"),
            with("f: func();"),
            "`f` is of parameter a in the import, and without a parameter in what it exports",
        ),
        (
            with("f: func() -> u32;"),
            with("f: func();"),
            "`f`, result is u32 in the import, and nothing in what it exports",
        ),
        (
            with("f: func() -> list<option<string>>;"),
            with("f: func() -> list<string>;"),
            "`f`, result is option<string> in the import, and string in what it exports",
        ),
        (
            with("f: func() -> result<u8, string>;"),
            with("f: func() -> result<u8>;"),
            "`f`, result is string in the import, and nothing in what it exports",
        ),
        (
            with(f),
            with(f).replace("x: f64, y: f64", "y: f64, x: f64"),
            "`f`, parameter p, type point is of field x, y in the import, and of field y, x in what \
             it exports",
        ),
        (
            with(f),
            with(f).replace("bad(string)", "bad"),
            "`f`, result, type problem, case bad is string in the import, and nothing in what it \
             exports",
        ),
        (
            with("f: func(c: colour);"),
            with("f: func(c: colour);").replace("red, blue", "red, blue, green"),
            "`f`, parameter c, type colour is of case red, blue in the import, and of case red, \
             blue, green in what it exports",
        ),
        (
            with("f: func(r: rights);"),
            with("f: func(r: colour);"),
            "`f`, parameter r is a:b/i@1.2.0.rights in the import, and a:b/i@1.2.0.colour in what \
             it exports",
        ),
        (
            with("f: func(r: rights);"),
            with("f: func(r: rights);").replace("flags rights", "enum rights"),
            "`f`, parameter r is a flags in the import, and a enum in what it exports",
        ),
    ] {
        assert_eq!(misfit(&ours, "1.2.0", &theirs).as_deref(), Some(expected));
    }
}

#[test]
fn what_no_module_could_serve_is_named() {
    for (body, expected) in [
        (
            "f: func(s: stream<u8>);",
            "streams cannot go through a binding: leave `f` out of the WIT of the import",
        ),
        (
            "f: func() -> future<u8>;",
            "futures cannot go through a binding: leave `f` out of the WIT of the import",
        ),
        (
            "f: async func();",
            "async functions cannot go through a binding: leave `f` out of the WIT of the import",
        ),
        (
            "resource r { m: func(); }",
            "resources cannot go through a binding: leave `r` out of the WIT of the import",
        ),
        (
            "resource r; f: func(r: borrow<r>);",
            "resources cannot go through a binding: leave `r` out of the WIT of the import",
        ),
    ] {
        let found = import(body).map(|import| import.functions().count());
        assert_eq!(found.unwrap_err().to_string(), expected, "{body}");
    }
    let error = import("f: func(e: error-context);").unwrap_err();
    assert!(matches!(error, Unbindable::Unmapped { .. }), "{error}");
    let none = Import::of(&importing("f: func();"), "a:b/j@1.2.0", &"m".parse().unwrap());
    assert_eq!(none, Err(Unbindable::NotImported));
}

#[test]
fn imports_that_are_kept_in_the_text_are_read_again() {
    let world = world(&format!(
        "package a:b@1.2.0; interface i {{ {TYPES} f: func(p: point) -> result<u8, problem>; }}
         interface other {{ g: func(); }}
         world w {{ import i; import other; export run: func(); }}"
    ));
    let text = world.to_wit_with(&|id| id == "a:b/i@1.2.0").unwrap();
    let again = World::from_wit(&[("interface.wit".to_owned(), text)], Some("w")).unwrap();
    let module = "m".parse().unwrap();
    let kept = Import::of(&again, "a:b/i@1.2.0", &module).unwrap();
    assert!(kept.is_as(&Import::of(&world, "a:b/i@1.2.0", &module).unwrap()));
    let other = Import::of(&again, "a:b/other@1.2.0", &module);
    assert_eq!(other, Err(Unbindable::NotImported));
}
