//! Components, core modules, embedded text, and everything that is none of them.

use proptest::prelude::*;
use roadstead_transcode::{
    Derived, Locks, WIT_SECTION, World, WorldError, componentize, embed_wit, embedded_wit,
    preview1_adapter, print_proto, to_component,
};

use crate::{
    golden::HARBOUR,
    support::{component, core_module, derived_with, text, unmapped, world},
};

fn of(component: &[u8]) -> Derived {
    derived_with(&World::decode(component).unwrap(), &Locks::default())
}

fn texts(derived: &Derived) -> Vec<String> {
    derived.files.iter().map(print_proto).collect()
}

fn files(wit: &str) -> Vec<(String, String)> {
    vec![("world.wit".to_owned(), wit.to_owned())]
}

const WORLD: &str = "package t:t@1.0.0;
    interface shapes {
      /// Where.
      record point { /** across */ x: u8 }
    }
    interface ops {
      use shapes.{point};
      flags late { z }
      /// Many.
      enum early { b, a }
      record middle { p: point, e: early }
      second: func(m: middle, l: late);
      /// The first.
      first: func() -> result<list<point>, early>;
    }
    /// All of it.
    world w {
      use shapes.{point};
      import shapes;
      import hook: func(n: u8);
      record own-type { p: point }
      export ops;
      /// Of the world.
      export top: func(o: own-type);
      export inline-one: interface {
        /// In line.
        record r { a: u8 }
        /// Run.
        run: func(r: r);
      }
    }";

#[test]
fn a_component_derives_as_its_text_does() {
    let from_text = derived_with(&world(WORLD), &Locks::default());
    let bare = component(WORLD);
    let embedded = embed_wit(&bare, &files(WORLD));
    assert_eq!(texts(&of(&embedded)), texts(&from_text));
    assert_eq!(of(&embedded).locks, from_text.locks);

    let supplied = World::decode(&bare).unwrap().with_comments(&files(WORLD)).unwrap();
    assert_eq!(texts(&derived_with(&supplied, &Locks::default())), texts(&from_text));

    // Without its text a component has no comments, and everything else.
    let without = of(&bare);
    assert_eq!(without.locks, from_text.locks);
    assert!(texts(&without).iter().all(|text| !text.contains("//")));
    assert_eq!(World::decode(&bare).unwrap().imports(), ["t:t/shapes@1.0.0", "hook"]);
    assert_eq!(World::decode(&bare).unwrap().name(), "root");
}

#[test]
fn exports_that_the_embedded_text_does_not_know_are_nobodys_service() {
    let extra = "export made-up: func(); export inline-two: interface { f: func(); }";
    let more = WORLD.replace("export top:", &format!("{extra} export top:"));
    let bare = component(&more);
    assert!(unmapped(&of(&bare)).is_empty());

    let derived = of(&embed_wit(&bare, &files(WORLD)));
    let reason = "the WIT text in the component does not declare it";
    assert_eq!(unmapped(&derived), [format!("made-up: {reason}"), format!("inline-two: {reason}")]);
    assert_eq!(texts(&derived), texts(&of(&embed_wit(&component(WORLD), &files(WORLD)))));
    // What is kept of the world says the same.
    let world = World::decode(&embed_wit(&bare, &files(WORLD))).unwrap();
    assert!(!world.to_wit().unwrap().contains("made-up"));
    // Text that comes with a push may be of another day: it takes no service away.
    let supplied = World::decode(&bare).unwrap().with_comments(&files(WORLD)).unwrap();
    assert!(unmapped(&derived_with(&supplied, &Locks::default())).is_empty());
}

#[test]
fn exports_are_named_as_the_component_has_them() {
    let derived = of(&component(WORLD));
    let exports: Vec<_> = derived
        .services
        .iter()
        .flat_map(|service| &service.methods)
        .map(|method| (method.export.interface.as_deref(), method.export.function.as_str()))
        .collect();
    for expected in [
        (Some("t:t/ops@1.0.0"), "second"),
        (Some("t:t/ops@1.0.0"), "first"),
        (Some("inline-one"), "run"),
        (None, "top"),
    ] {
        assert!(exports.contains(&expected), "{exports:?}");
    }
    let wasm = component(WORLD);
    let engine = wasmtime_names(&wasm);
    for (interface, function) in exports {
        assert!(engine.contains(&interface.unwrap_or(function).to_owned()), "{engine:?}");
    }
}

/// Names of the top-level exports, as the binary has them.
fn wasmtime_names(component: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            wasmparser::Payload::Version { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth -= 1,
            wasmparser::Payload::ComponentExportSection(exports) if depth == 1 => {
                names.extend(exports.into_iter().map(|one| one.unwrap().name.name.to_owned()));
            }
            _ => {}
        }
    }
    names
}

#[test]
fn the_contracts_example_as_a_component() {
    let wasm = embed_wit(&component(HARBOUR), &files(HARBOUR));
    let derived = of(&wasm);
    assert_eq!(
        text(&derived, "acme/harbour/manifest/v1/manifest.proto"),
        include_str!("golden/manifest.proto")
    );
    assert_eq!(
        text(&derived, "acme/harbour/shapes/v1/shapes.proto"),
        include_str!("golden/shapes.proto")
    );
    assert!(derived.unmapped.is_empty());
}

#[test]
fn a_type_that_is_imported_and_exported_is_one_type() {
    let wit = "package t:t;
        interface shapes { record point { x: u8 } f: func(p: point); }
        interface ops { use shapes.{point}; g: func(p: point) -> point; }
        world w { import shapes; export shapes; export ops; }";
    let derived = of(&component(wit));
    assert_eq!(derived.services.len(), 2);
    assert_eq!(derived.locks, derived_with(&world(wit), &Locks::default()).locks);
}

fn core(wit: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("world.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    core_module(&resolve, world)
}

#[test]
fn core_modules_with_wit_become_components() {
    let module = core(WORLD);
    assert_eq!(World::decode(&module).unwrap_err(), WorldError::CoreModule);
    let wasm = componentize(&module, preview1_adapter(&module)).unwrap();
    assert_eq!(of(&wasm).locks, of(&component(WORLD)).locks);
    assert_eq!(to_component(&module).unwrap().as_ref(), wasm);
    assert_eq!(to_component(&wasm).unwrap().as_ref(), wasm);
    assert!(componentize(&wasm, preview1_adapter(&wasm)).is_err());

    // The text of the SDK stands in the core module and goes with it.
    let module = embed_wit(&module, &files(WORLD));
    let with_text = to_component(&module).unwrap();
    assert_eq!(embedded_wit(&with_text), files(WORLD));
    assert!(texts(&of(&with_text)).concat().contains("// The first."));
}

#[test]
fn core_modules_that_use_wasi_preview_1_get_the_adapter_that_fits() {
    let mut resolve = wit_parser::Resolve::default();
    let wit = "package t:t; world w { export f: func() -> u32; }";
    let package = resolve.push_str("world.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let module = |extra: &str| {
        let mut module = wat::parse_str(format!(
            "(module
               (import \"wasi_snapshot_preview1\" \"random_get\"
                 (func $random (param i32 i32) (result i32)))
               (memory (export \"memory\") 1)
               (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 0))
               (func (export \"f\") (result i32) (call $random (i32.const 0) (i32.const 4)))
               {extra})"
        ))
        .unwrap();
        let encoding = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
        module
    };
    let reactor = module("");
    let command = module("(func (export \"_start\"))");
    assert_ne!(preview1_adapter(&reactor), preview1_adapter(&command));
    for module in [reactor, command] {
        let wasm = to_component(&module).unwrap();
        let world = World::decode(&wasm).unwrap();
        assert!(
            world.imports().iter().any(|name| name.starts_with("wasi:random/random@0.2")),
            "{:?}",
            world.imports()
        );
        let services = derived_with(&world, &Locks::default()).services;
        assert!(services.iter().any(|one| one.methods.iter().any(|m| m.method == "F")));
    }
}

#[test]
fn what_is_no_component_is_refused_with_advice() {
    let good = component(WORLD);
    let package = {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("world.wit", WORLD).unwrap();
        wit_component::encode(&resolve, package).unwrap()
    };
    for (bytes, advice) in [
        (b"".as_slice(), "wasm32-wasip2"),
        (b"hello, this is text", "not WebAssembly"),
        (b"\x7fELF", "not WebAssembly"),
        (b"\0asm\x01\0\0\0", "without WIT metadata"),
        (b"\0asm\x01\0\0\0\xff", "not valid"),
        (b"\0asm\x01\0\0\0\x01\x05", "cut off"),
        (&package, "WIT package"),
        (&good[..good.len() - 10], "cut off"),
        (&good[..good.len() / 2], "cut off"),
    ] {
        let error = World::decode(bytes).unwrap_err().to_string();
        assert!(error.contains(advice), "{error}");
        if !wasmparser::Parser::is_component(bytes) {
            to_component(bytes).unwrap_err();
        }
    }
    assert!(matches!(to_component(b"\0asm\x01\0\0\0"), Err(WorldError::NoWit)));
    // Metadata that says more than the module has.
    let mut empty = wat::parse_str("(module)").unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("world.wit", WORLD).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut empty, &resolve, world, encoding).unwrap();
    assert!(matches!(to_component(&empty), Err(WorldError::Componentize(_))));
}

#[test]
fn embedded_text_is_found_joined_and_nested_and_is_never_a_reason_to_fail() {
    let wasm = component(WORLD);
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    assert!(embedded_wit(&wasm).is_empty());
    let with = |content: &str| {
        let mut out = wasm.clone();
        wasm_encoder::ComponentSection::append_to_component(
            &wasm_encoder::CustomSection {
                name: WIT_SECTION.into(),
                data: content.as_bytes().into(),
            },
            &mut out,
        );
        out
    };
    let joined = r#"[["a.wit","1"],["b.wit","2"]] [["c.wit","3"],["a.wit","4"]]"#;
    assert_eq!(
        embedded_wit(&with(joined)),
        [file("a.wit", "1"), file("b.wit", "2"), file("c.wit", "3")]
    );
    for bad in ["", "{}", "[[", r#"[["a.wit"]]"#, r#"[["a.wit","package"]]"#, "\0\0"] {
        World::decode(&with(bad)).unwrap();
    }
    // Text of something else gives no comments, and takes nothing away.
    let other = embed_wit(&wasm, &files("package o:o; world w { export f: func(); }"));
    assert_eq!(texts(&of(&other)), texts(&of(&wasm)));
    // But text that somebody hands over must read.
    let error = World::decode(&wasm).unwrap().with_comments(&files("package t:t@")).unwrap_err();
    assert!(matches!(error, WorldError::Text(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(World::decode(&bytes).is_err());
        prop_assert!(to_component(&bytes).is_err());
        prop_assert!(embedded_wit(&bytes).is_empty());
        let headed = [b"\0asm\x0d\0\x01\0".as_slice(), &bytes].concat();
        drop(World::decode(&headed));
        let headed = [b"\0asm\x01\0\0\0".as_slice(), &bytes].concat();
        drop(to_component(&headed));
    }

    #[test]
    fn damaged_components_never_panic(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut wasm = component(WORLD);
        // Cut between two sections, a component is whole as far as it goes.
        drop(World::decode(&wasm[..cut.index(wasm.len())]));
        let at = at.index(wasm.len());
        wasm[at] = value;
        if let Ok(world) = World::decode(&wasm) {
            let version = "1.0.0".parse().unwrap();
            drop(roadstead_transcode::derive(&world, &"m".parse().unwrap(), &version, &Locks::default()));
        }
    }

    #[test]
    fn damaged_text_never_panics(at in any::<prop::sample::Index>(), with in "[ -~]{0,3}") {
        let mut text = WORLD.to_owned();
        let at = at.index(text.len());
        text.replace_range(at..=at, &with);
        drop(World::from_wit(&files(&text), None));
    }

    #[test]
    fn damaged_locks_never_panic(at in any::<prop::sample::Index>(), with in "[ -~]{0,3}") {
        let mut text = derived_with(&world(HARBOUR), &Locks::default()).locks.to_text();
        let at = at.index(text.len());
        text.replace_range(at..=at, &with);
        if let Ok(locks) = Locks::parse(&text) {
            let version = "1.0.0".parse().unwrap();
            drop(roadstead_transcode::derive(
                &world(HARBOUR), &"m".parse().unwrap(), &version, &locks,
            ));
        }
    }
}
