//! Every type of the contract, in every position.

use roadstead_transcode::{Body, FieldKind, MessagePlan, ResponsePlan, Scalar, Shape};

use crate::support::{assert_lines, derived, method, only, paths, text, unmapped};

fn world(items: &str) -> String {
    format!("package t:types;\ninterface i {{ {items} }}\nworld w {{ export i; }}")
}

#[test]
fn scalars() {
    let file = only(&derived(&world(
        "f: func(a: bool, b: u8, c: u16, d: u32, e: u64, f: s8, g: s16, h: s32, i: s64,
                 j: f32, k: f64, l: char, m: string, n: list<u8>);",
    )));
    assert_lines(
        &file,
        "message FRequest {
           bool a = 1;
           uint32 b = 2;
           uint32 c = 3;
           uint32 d = 4;
           uint64 e = 5;
           sint32 f = 6;
           sint32 g = 7;
           sint32 h = 8;
           sint64 i = 9;
           float j = 10;
           double k = 11;
           string l = 12;
           string m = 13;
           bytes n = 14;
         }

         message FResponse {}",
    );
}

#[test]
fn what_a_field_cannot_hold_is_wrapped() {
    let file = only(&derived(&world(
        "f: func(
           a: list<option<u8>>, b: option<list<string>>, c: option<option<list<u8>>>,
           d: list<list<list<s32>>>, e: map<string, list<u8>>, f: map<u8, list<u16>>,
           g: map<bool, option<char>>, h: list<map<u32, u32>>, i: option<map<s64, tuple<u8>>>,
           j: map<string, map<string, f64>>);",
    )));
    assert_lines(
        &file,
        "message FRequest {
           repeated A a = 1;
           optional B b = 2;
           optional C c = 3;
           repeated D d = 4;
           map<string, bytes> e = 5;
           map<uint32, F> f = 6;
           map<bool, G> g = 7;
           repeated H h = 8;
           optional I i = 9;
           map<string, J> j = 10;

           message A {
             optional uint32 value = 1;
           }

           message B {
             repeated string items = 1;
           }

           message C {
             optional bytes value = 1;
           }

           message D {
             repeated Items items = 1;

             message Items {
               repeated sint32 items = 1;
             }
           }

           message F {
             repeated uint32 items = 1;
           }

           message G {
             optional string value = 1;
           }

           message H {
             map<uint32, uint32> entries = 1;
           }

           message I {
             map<sint64, Entries> entries = 1;

             message Entries {
               uint32 f0 = 1;
             }
           }

           message J {
             map<string, double> entries = 1;
           }
         }",
    );
}

#[test]
fn everything_in_a_variant() {
    let file = only(&derived(&world(
        "record r { x: u8 }
         enum e { a }
         flags l { a }
         variant v {
           none, number(u64), bytes(list<u8>), names(list<string>), maybe(option<bool>),
           table(map<string, r>), pair(tuple<r, e>), outcome(result<_, e>), rec(r), choice(e),
           marks(l),
         }
         f: func() -> v;",
    )));
    assert_lines(
        &file,
        "message V {
           oneof kind {
             .google.protobuf.Empty none = 1;
             uint64 number = 2;
             bytes bytes = 3;
             Names names = 4;
             Maybe maybe = 5;
             Table table = 6;
             Pair pair = 7;
             Outcome outcome = 8;
             R rec = 9;
             E choice = 10;
             L marks = 11;
           }

           message Names {
             repeated string items = 1;
           }

           message Maybe {
             optional bool value = 1;
           }

           message Table {
             map<string, R> entries = 1;
           }

           message Pair {
             R f0 = 1;
             E f1 = 2;
           }

           message Outcome {
             oneof result {
               .google.protobuf.Empty ok = 1;
               E error = 2;
             }
           }
         }",
    );
}

#[test]
fn responses() {
    let derived = derived(&world(
        "enum e { bad }
         none: func();
         one: func() -> u8;
         many: func() -> list<string>;
         maybe: func() -> option<e>;
         table: func() -> map<string, u8>;
         pair: func() -> tuple<u8, u8>;
         outcome: func() -> result<u8, e>;
         empty: func() -> result;
         only-error: func() -> result<_, list<e>>;
         nested: func() -> result<result<u8>, option<e>>;
         maybe-outcome: func() -> option<result<u8>>;",
    ));
    let file = only(&derived);
    for expected in [
        "message NoneResponse {}",
        "message OneResponse {\nuint32 value = 1;\n}",
        "message ManyResponse {\nrepeated string value = 1;\n}",
        "message MaybeResponse {\noptional E value = 1;\n}",
        "message TableResponse {\nmap<string, uint32> value = 1;\n}",
        "message PairResponse {\nValue value = 1;\n\nmessage Value {\nuint32 f0 = 1;\nuint32 f1 = 2;\n}\n}",
        "message OutcomeResponse {\noneof result {\nuint32 ok = 1;\nE error = 2;\n}\n}",
        "message EmptyResponse {\noneof result {\n.google.protobuf.Empty ok = 1;\n.google.protobuf.Empty error = 2;\n}\n}",
        "oneof result {\n.google.protobuf.Empty ok = 1;\nError error = 2;\n}\n\nmessage Error {\nrepeated E items = 1;\n}",
        "oneof result {\nOk ok = 1;\nError error = 2;\n}\n\nmessage Ok {\noneof result {\nuint32 ok = 1;\n.google.protobuf.Empty error = 2;\n}\n}",
        "message MaybeOutcomeResponse {\noptional Value value = 1;\n\nmessage Value {\noneof result {",
    ] {
        assert_lines(&file, expected);
    }
    assert_eq!(method(&derived, "None").response, ResponsePlan::Empty);
    assert!(matches!(&method(&derived, "Many").response,
        ResponsePlan::Value(field) if field.number == 1
            && field.kind == FieldKind::Repeated(Shape::Scalar(Scalar::String))));
    assert!(matches!(&method(&derived, "Outcome").response,
        ResponsePlan::Result(plan) if matches!(plan.body, Body::Result { .. })));
}

#[test]
fn aliases_are_transparent() {
    let file = only(&derived(&world(
        "type byte = u8;
         type blob = list<byte>;
         type name = string;
         type pair = tuple<name, blob>;
         type pairs = list<pair>;
         record point { x: f64 }
         type place = point;
         f: func(a: blob, b: pair, c: pairs, d: place, e: option<pairs>) -> place;",
    )));
    assert_lines(
        &file,
        "message FRequest {
           bytes a = 1;
           B b = 2;
           repeated C c = 3;
           Point d = 4;
           optional E e = 5;",
    );
    assert!(!file.contains("Place"), "{file}");
}

#[test]
fn plans_describe_what_the_messages_hold() {
    let derived = derived(&world(
        "record r { a-b: u8, c: option<u16>, m: map<char, list<f32>> }
         flags l { x, y-z }
         variant v { none, some(r) }
         enum e { low, very-high }
         f: func(r: r, l: l, v: v, e: e, t: tuple<u8, bool>) -> r;",
    ));
    let plan = method(&derived, "F");
    assert_eq!(plan.service, "t.types.i.I");
    assert_eq!(plan.export.interface.as_deref(), Some("t:types/i"));
    assert_eq!(plan.export.function, "f");
    let Body::Fields(fields) = &plan.request.body else { panic!() };
    let message = |at: usize| -> &MessagePlan {
        let FieldKind::Singular(Shape::Message(plan)) = &fields[at].kind else { panic!() };
        plan
    };
    let Body::Record(record) = &message(0).body else { panic!() };
    assert_eq!(message(0).name, "t.types.i.R");
    let names: Vec<_> =
        record.iter().map(|f| (f.number, f.wit_name.as_str(), f.proto_name.as_str())).collect();
    assert_eq!(names, [(1, "a-b", "a_b"), (2, "c", "c"), (3, "m", "m")]);
    let FieldKind::Map { key: Scalar::Char, value: Shape::Message(value) } = &record[2].kind else {
        panic!()
    };
    assert_eq!(value.name, "t.types.i.R.M");
    assert!(matches!(&value.body, Body::Wrapper(field) if field.wit_name == "items"));
    assert!(matches!(&message(1).body, Body::Flags(flags) if flags[1].proto_name == "y_z"));
    let Body::Variant(cases) = &message(2).body else { panic!() };
    assert_eq!(cases[0].payload, None);
    let FieldKind::Singular(Shape::Enum(plan)) = &fields[3].kind else { panic!() };
    assert_eq!(plan.cases, [(1, "low".to_owned()), (2, "very-high".to_owned())]);
    assert!(matches!(&message(4).body, Body::Tuple(fields) if fields[1].proto_name == "f1"));
}

#[test]
fn what_cannot_be_mapped_is_reported_and_leaves_the_rest_alone() {
    let derived = derived(&world(
        "resource r { get: func() -> list<u8, 4>; }
         record fine { n: u8 }
         good: func(f: fine) -> fine;
         listed: func() -> list<stream<u8>>;
         twice: func(a: stream<u8>, b: stream<u8>);
         promised: func(a: future<u8>);
         empty: func() -> stream;
         fixed: func(a: list<u8, 4>);
         context: func(e: error-context);",
    ));
    assert_eq!(
        unmapped(&derived),
        [
            "t:types/i#listed: a stream can be a parameter or the result, not a part of another type",
            "t:types/i#twice: it takes more than one stream",
            "t:types/i#promised: a future can only be the result",
            "t:types/i#empty: a stream without items cannot be mapped",
            "t:types/i#fixed: fixed-length lists cannot be mapped yet",
            "t:types/i#context: error contexts cannot be mapped yet",
            "t:types/i#r.get: fixed-length lists cannot be mapped yet",
        ]
    );
    assert_eq!(derived.services[0].methods.len(), 1);
    let file = only(&derived);
    assert!(file.contains("message Fine {"), "{file}");
}

#[test]
fn types_of_interfaces_that_are_only_imported_come_along() {
    let derived = derived(
        "package a:b@2.0.0;
         interface shapes {
           record point { x: unit }
           enum unit { metre }
           record unused { n: u8 }
           resource crane;
         }
         interface ops { use shapes.{point as place}; f: func(p: list<place>) -> place; }
         world w { export ops; }",
    );
    assert_eq!(paths(&derived), ["a/b/shapes/v2/shapes.proto", "a/b/ops/v2/ops.proto"]);
    let shapes = text(&derived, "a/b/shapes/v2/shapes.proto");
    assert_lines(&shapes, "message Point {\nUnit x = 1;\n}\n\nenum Unit {");
    assert!(!shapes.contains("Unused"));
    let ops = text(&derived, "a/b/ops/v2/ops.proto");
    assert_lines(
        &ops,
        "package a.b.ops.v2;

         import \"a/b/shapes/v2/shapes.proto\";

         service Ops {
           rpc F(FRequest) returns (FResponse);
         }

         message FRequest {
           repeated .a.b.shapes.v2.Point p = 1;
         }

         message FResponse {
           .a.b.shapes.v2.Point value = 1;
         }",
    );
}
