//! Names: packages, tracks, collisions, reserved words, comments.

use roadstead_transcode::{Locks, World, derive};

use crate::support::{assert_lines, derived, derived_with, only, paths, text, unmapped, world};

fn interface(items: &str) -> String {
    format!("package t:names;\ninterface i {{ {items} }}\nworld w {{ export i; }}")
}

#[test]
fn packages_follow_the_interface_and_its_track() {
    for (version, track) in [
        ("@1.4.2", "/v1"),
        ("@0.3.1", "/v0_3"),
        ("@0.0.7", "/v0_0_7"),
        ("@1.0.0-rc.1", "/v1_0_0_rc_1"),
        ("", ""),
    ] {
        let wit = format!(
            "package my-ns:my-pkg{version};
             interface text-stats {{ word-count: func(max-len: u32); }}
             world w {{ export text-stats; }}"
        );
        let derived = derived(&wit);
        let path = format!("my_ns/my_pkg/text_stats{track}/text_stats.proto");
        assert_eq!(paths(&derived), [path.as_str()]);
        let package = format!("my_ns.my_pkg.text_stats{}", track.replace('/', "."));
        assert_eq!(derived.services[0].name, format!("{package}.TextStats"));
        assert_lines(
            &text(&derived, &path),
            "service TextStats {
               rpc WordCount(WordCountRequest) returns (WordCountResponse);
             }

             message WordCountRequest {
               uint32 max_len = 1;
             }",
        );
    }
}

#[test]
fn kebab_words_are_lowered() {
    let file = only(&derived(&interface(
        "enum HTTP-code { NOT-found }
         get-URL: func(the-URL: HTTP-code);",
    )));
    assert_lines(&file, "enum HttpCode {\nHTTP_CODE_UNSPECIFIED = 0;\nHTTP_CODE_NOT_FOUND = 1;\n}");
    assert_lines(&file, "message GetUrlRequest {\nHttpCode the_url = 1;\n}");
}

#[test]
fn functions_and_types_of_the_world_and_inline_exports() {
    let wit = "package t:t@3.0.0;
        interface shapes { record point { x: u8 } }
        world w {
          use shapes.{point};
          record mine { p: point }
          export f: func(o: mine) -> point;
          export foo-bar: interface {
            use shapes.{point};
            record mine { q: point }
            f: func(o: mine);
          }
        }";
    let derived = derived(wit);
    assert_eq!(
        paths(&derived),
        [
            "t/t/shapes/v3/shapes.proto",
            "roadstead/module/my_module/v0_1/foo_bar/foo_bar.proto",
            "roadstead/module/my_module/v0_1/module.proto",
        ]
    );
    let services: Vec<_> =
        derived.services.iter().map(|one| (one.name.as_str(), one.interface.as_deref())).collect();
    assert!(services.contains(&("roadstead.module.my_module.v0_1.Module", None)));
    assert!(
        services.contains(&("roadstead.module.my_module.v0_1.foo_bar.FooBar", Some("foo-bar")))
    );
    let inline = text(&derived, "roadstead/module/my_module/v0_1/foo_bar/foo_bar.proto");
    assert_lines(&inline, "message Mine {\n.t.t.shapes.v3.Point q = 1;\n}");
    let module = text(&derived, "roadstead/module/my_module/v0_1/module.proto");
    assert_lines(&module, "message Mine {\n.t.t.shapes.v3.Point p = 1;\n}");
}

#[test]
fn a_module_name_may_start_with_a_digit() {
    let world = world("package t:t; world w { export f: func(); }");
    let module = "3d-print".parse().unwrap();
    let derived = derive(&world, &module, &"2.0.0".parse().unwrap(), &Locks::default()).unwrap();
    crate::support::check(&derived);
    assert_eq!(derived.services[0].name, "roadstead.module._3d_print.v2.Module");
}

#[test]
fn reserved_namespaces_are_not_served() {
    for namespace in ["roadstead", "google", "grpc"] {
        let derived = derived(&format!(
            "package {namespace}:x@1.0.0;
             interface types {{ record r {{ a: u8 }} }}
             interface i {{ f: func(); }}
             world w {{
               use types.{{r}};
               export i;
               export mine: func() -> r;
               export yours: func();
             }}"
        ));
        assert_eq!(
            unmapped(&derived),
            [
                format!("{namespace}:x/i@1.0.0: the namespace `{namespace}` is reserved"),
                "mine: the type `r` has no package that it could belong to".to_owned(),
            ]
        );
        assert_eq!(paths(&derived), ["roadstead/module/my_module/v0_1/module.proto"]);
    }
}

#[test]
fn of_two_versions_in_a_track_the_highest_is_served() {
    let version = |number: &str, fields: &str| {
        format!(
            "package dep:dep@{number} {{
               interface i {{ record r {{ {fields} }} same: func(); f: func(r: r); }}
             }}"
        )
    };
    let wit = format!(
        "package t:t;
         {} {} {}
         world w {{ export dep:dep/i@1.1.0; export dep:dep/i@1.10.0; export dep:dep/i@2.0.0; }}",
        version("1.1.0", "a: u8"),
        version("1.10.0", "a: u8, b: u8"),
        version("2.0.0", "c: u8"),
    );
    let derived = derived(&wit);
    assert_eq!(
        unmapped(&derived),
        ["dep:dep/i@1.1.0: `dep:dep/i@1.10.0` is served, of the same track"]
    );
    assert_eq!(paths(&derived), ["dep/dep/i/v1/i.proto", "dep/dep/i/v2/i.proto"]);
    assert_lines(&text(&derived, "dep/dep/i/v1/i.proto"), "uint32 a = 1;\nuint32 b = 2;");
    let served: Vec<_> =
        derived.services.iter().map(|one| one.interface.clone().unwrap()).collect();
    assert_eq!(served, ["dep:dep/i@1.10.0", "dep:dep/i@2.0.0"]);
}

#[test]
fn definitions_that_differ_within_a_track_are_not_mixed() {
    let derived = derived(
        "package t:t;
         package dep:dep@1.1.0 {
           interface shapes { record point { x: u8 } record same { x: list<u8> } }
         }
         package dep:dep@1.2.0 {
           interface shapes { record point { x: u8, y: u8 } record same { x: list<u8> } }
         }
         interface old {
           use dep:dep/shapes@1.1.0.{point, same};
           f: func(p: point);
           g: func(s: same);
         }
         interface new { use dep:dep/shapes@1.2.0.{point, same}; f: func(p: point, s: same); }
         world w { export old; export new; }",
    );
    assert_eq!(
        unmapped(&derived),
        ["t:t/old#f: another version of the same track defines the type `point` otherwise"]
    );
    assert_lines(&text(&derived, "t/t/old/old.proto"), ".dep.dep.shapes.v1.Same s = 1;");
}

#[test]
fn names_are_given_out_in_a_fixed_order() {
    let file = only(&derived(&interface(
        "record i { a: u8 }
         record find-request { a: u8 }
         enum find-response { ok }
         record find-request-type { a: u8 }
         enum foo { bar-baz, unspecified }
         enum foo-bar { baz }
         find: func(a: i, b: find-request, c: find-response, d: find-request-type);
         a1: func();
         a-1: func();",
    )));
    for expected in [
        "service I {",
        "rpc Find(FindRequest) returns (FindResponse);",
        "rpc A1(A1Request) returns (A1Response);\nrpc A12(A12Request) returns (A12Response);",
        "message IType {",
        "message FindRequestType {\nuint32 a = 1;\n}",
        "enum FindResponseType {\nFIND_RESPONSE_TYPE_UNSPECIFIED = 0;\nFIND_RESPONSE_TYPE_OK = 1;\n}",
        "message FindRequestTypeType {\nuint32 a = 1;\n}",
        "FOO_UNSPECIFIED = 0;\nFOO_BAR_BAZ = 1;\nFOO_UNSPECIFIED_2 = 2;",
        "FOO_BAR_UNSPECIFIED = 0;\nFOO_BAR_BAZ_2 = 1;",
        "IType a = 1;\nFindRequestType b = 2;\nFindResponseType c = 3;\nFindRequestTypeType d = 4;",
    ] {
        assert_lines(&file, expected);
    }
}

#[test]
fn names_that_protobuf_confuses_are_told_apart() {
    let file = only(&derived(&interface(
        "record r { a1: u8, a-1: u8, b-1: tuple<u8>, b1: tuple<u8> }
         enum e { x1, x-1 }
         f: func(r: r, e: e);",
    )));
    assert_lines(&file, "uint32 a1 = 1;\nuint32 a_1_2 = 2;\nB1 b_1 = 3;\nB1Type b1_2 = 4;");
    assert_lines(&file, "E_X1 = 1;\nE_X_1_2 = 2;");
}

#[test]
fn nested_names_collide_with_maps_and_with_what_is_around_them() {
    let file = only(&derived(&interface(
        "record item { item: tuple<u8>, foo-entry: tuple<u8>, foo: map<string, u8>,
                       other: list<list<item2>>, items: list<list<u16>> }
         record item2 { a: u8 }
         f: func(i: item);",
    )));
    assert_lines(
        &file,
        "ItemType item = 1;
         FooEntryType foo_entry = 2;
         map<string, uint32> foo = 3;
         repeated Other other = 4;
         repeated Items items = 5;",
    );
    // A field `items` whose own elements need a message of that name.
    let file = only(&derived(&interface("f: func(items: list<list<list<u16>>>);")));
    assert_lines(
        &file,
        "repeated Items items = 1;

         message Items {
           repeated ItemsType items = 1;

           message ItemsType {",
    );
}

#[test]
fn references_are_not_caught_by_nested_names() {
    // The nested message `Point` stands between the field and the type of that name.
    let file = only(&derived(&interface(
        "record point { x: u8 }
         record line { point: list<list<point>> }
         f: func(l: line);",
    )));
    assert_lines(
        &file,
        "message Line {
           repeated Point point = 1;

           message Point {
             repeated .t.names.i.Point items = 1;
           }
         }",
    );
}

#[test]
fn a_case_named_kind_moves_the_oneof() {
    let file = only(&derived(&interface("variant v { kind, other } f: func(v: v);")));
    assert_lines(&file, "oneof kind_ {\n.google.protobuf.Empty kind = 1;");
}

#[test]
fn words_of_protobuf_are_no_trouble() {
    only(&derived(&interface(
        "record %record { message: u8, oneof: option<bool>, %option: option<message>, reserved: u8,
                          %enum: u8, repeated: list<u8>, %map: map<string, u8>, rpc: string }
         record message { %string: string, %bool: bool, group: list<message2>, syntax: u8 }
         record message2 { %package: u8 }
         enum %enum { %import, max, to }
         variant service { extend, extensions(%enum), %returns(%stream2), inf, nan }
         record %stream2 { %true: bool, %false: bool }
         rpc: func(service: service, r: %record);
         %option: func();
         oneof: func(m: message);
         returns: func();",
    )));
}

#[test]
fn comments_come_along() {
    let file = only(&derived(
        "package t:t;
         /// About the interface.
         interface i {
           /// A record.
           ///
           ///   indented */ // \\ \"quoted\"
           record r {
             /// A field.
             a: u8,
             b: tuple<u8>,
           }
           /// An enum.
           enum e { /** first */ a, /// second
                    b }
           flags l { /// A flag.
                     x }
           variant v { /// A case.
                       x }
           /// A function.
           f: func(r: r, e: e, l: l, v: v);
         }
         world w { export i; }",
    ));
    for expected in [
        "// About the interface.\nservice I {\n// A function.\nrpc F(",
        "// A record.\n//\n//   indented */ // \\ \"quoted\"\nmessage R {\n// A field.\nuint32 a = 1;",
        "// An enum.\nenum E {\nE_UNSPECIFIED = 0;\n// first\nE_A = 1;\n// second\nE_B = 2;",
        "// A flag.\nbool x = 1;",
        "oneof kind {\n// A case.\n.google.protobuf.Empty x = 1;",
    ] {
        assert_lines(&file, expected);
    }
}

#[test]
fn a_directory_of_wit_has_dependencies() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let files = [
        file("world.wit", "package t:t; world w { export i; } world other { }"),
        file("i.wit", "interface i { use dep:one/types.{r}; f: func(r: r); }"),
        file(
            "deps/one/a.wit",
            "package dep:one; interface types { use dep:two/x.{s}; record r { s: s } }",
        ),
        file("deps/one/b.wit", "package dep:one; interface more { }"),
        file("deps/two.wit", "package dep:two; interface x { record s { a: u8 } }"),
        file("README.md", "not WIT"),
    ];
    let error = World::from_wit(&files, None).unwrap_err().to_string();
    assert!(error.contains("multiple worlds"), "{error}");
    let world = World::from_wit(&files, Some("w")).unwrap();
    assert_eq!(world.name(), "w");
    let derived = derived_with(&world, &Locks::default());
    assert_eq!(
        paths(&derived),
        ["dep/two/x/x.proto", "dep/one/types/types.proto", "t/t/i/i.proto"]
    );
    let without = [files[0].clone(), files[1].clone()];
    let error = World::from_wit(&without, Some("w")).unwrap_err().to_string();
    assert!(error.contains("dep:one") && error.contains("i.wit"), "{error}");
    assert!(World::from_wit(&[], None).unwrap_err().to_string().contains("no .wit file"));
}

#[test]
fn a_package_without_a_world_means_all_its_interfaces() {
    let wit = "package t:t; interface a { f: func(); } interface b { f: func(); }";
    assert_eq!(derived(wit).services.len(), 2);
}
