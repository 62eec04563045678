//! What each shape takes and refuses, and where a refusal points.

use std::sync::Arc;

use prost::encoding::{WireType, encode_key, encode_varint};
use roadstead_domain::Fault;
use roadstead_transcode::{
    Action, Body, CasePlan, CopyBudget, EncodeError, EnumPlan, ExportPath, FieldKind, FieldPlan,
    MessagePlan, MethodPlan, ResponsePlan, Scalar, Shape, decode_request, encode_response,
};
use wasmtime::component::Val;

const ROOM: u64 = 1 << 24;

/// A message under construction.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn new() -> Self {
        Self::default()
    }

    fn varint(mut self, number: u32, value: u64) -> Self {
        encode_key(number, WireType::Varint, &mut self.0);
        encode_varint(value, &mut self.0);
        self
    }

    fn bytes(mut self, number: u32, bytes: impl AsRef<[u8]>) -> Self {
        encode_key(number, WireType::LengthDelimited, &mut self.0);
        encode_varint(bytes.as_ref().len() as u64, &mut self.0);
        self.0.extend(bytes.as_ref());
        self
    }

    fn fixed32(mut self, number: u32, value: u32) -> Self {
        encode_key(number, WireType::ThirtyTwoBit, &mut self.0);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn fixed64(mut self, number: u32, value: u64) -> Self {
        encode_key(number, WireType::SixtyFourBit, &mut self.0);
        self.0.extend(value.to_le_bytes());
        self
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn field(number: u32, name: &str, kind: FieldKind) -> FieldPlan {
    FieldPlan { number, wit_name: name.replace('_', "-"), proto_name: name.to_owned(), kind }
}

fn case(number: u32, name: &str, payload: Option<Shape>) -> CasePlan {
    CasePlan { number, wit_name: name.replace('_', "-"), proto_name: name.to_owned(), payload }
}

fn message(body: Body) -> Shape {
    Shape::Message(Arc::new(MessagePlan::new("test.Inner", body)))
}

fn colour() -> Shape {
    let cases = vec![(1, "red".to_owned()), (2, "deep-blue".to_owned()), (7, "grey".to_owned())];
    Shape::Enum(Arc::new(EnumPlan::new("test.Colour", cases)))
}

fn point() -> Shape {
    let axis = |number, name| field(number, name, FieldKind::Singular(Shape::Scalar(Scalar::S8)));
    message(Body::Record(vec![axis(1, "x"), axis(2, "y")]))
}

/// `problem { missing, bad(string), at(point) }`
fn problem() -> Shape {
    message(Body::Variant(vec![
        case(1, "missing", None),
        case(2, "bad_text", Some(Shape::Scalar(Scalar::String))),
        case(3, "at", Some(point())),
    ]))
}

/// A method with one parameter, and that as its result.
fn one(kind: FieldKind) -> MethodPlan {
    let field = field(1, "value", kind);
    MethodPlan {
        action: Action::Call,
        service: "test.Service".to_owned(),
        method: "Do".to_owned(),
        export: ExportPath { interface: None, function: "do".to_owned() },
        request: Arc::new(MessagePlan::new("test.Request", Body::Fields(vec![field.clone()]))),
        input: None,
        response: ResponsePlan::Value(field),
    }
}

fn scalar(scalar: Scalar) -> MethodPlan {
    one(FieldKind::Singular(Shape::Scalar(scalar)))
}

fn singular(shape: Shape) -> MethodPlan {
    one(FieldKind::Singular(shape))
}

fn read(plan: &MethodPlan, message: impl AsRef<[u8]>) -> Result<Val, Fault> {
    let mut values = decode_request(plan, message.as_ref(), &mut CopyBudget::new(ROOM))?;
    assert_eq!(values.len(), 1);
    Ok(values.remove(0))
}

fn write(plan: &MethodPlan, value: Val) -> Result<Vec<u8>, EncodeError> {
    encode_response(plan, &[value], ROOM, &mut CopyBudget::new(ROOM)).map(Into::into)
}

/// The path and description of what is wrong.
fn complaint(plan: &MethodPlan, message: impl AsRef<[u8]>) -> (String, String) {
    match read(plan, message) {
        Err(Fault::BadInput(mut violations)) => {
            assert_eq!(violations.len(), 1);
            let violation = violations.remove(0);
            (violation.field, violation.description)
        }
        other => panic!("{other:?}"),
    }
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

fn boxed(value: Val) -> Option<Box<Val>> {
    Some(Box::new(value))
}

#[test]
fn small_numbers_keep_to_their_range() {
    for (kind, last, over) in [
        (Scalar::U8, Val::U8(255), 256),
        (Scalar::U16, Val::U16(65535), 65536),
        (Scalar::S8, Val::S8(127), 256),
        (Scalar::S8, Val::S8(-128), 257),
        (Scalar::S16, Val::S16(32767), 65536),
        (Scalar::S16, Val::S16(-32768), 65537),
    ] {
        let plan = scalar(kind);
        let bytes = write(&plan, last.clone()).unwrap();
        assert_eq!(read(&plan, bytes).unwrap(), last);
        let (path, description) = complaint(&plan, Message::new().varint(1, over));
        assert_eq!(path, "value");
        assert!(description.starts_with("must be "), "{description}");
    }
}

#[test]
fn wide_varints_lose_their_upper_bits() {
    let wide = Message::new().varint(1, 0xffff_ffff_0000_0003);
    assert_eq!(read(&scalar(Scalar::U32), &wide).unwrap(), Val::U32(3));
    assert_eq!(read(&scalar(Scalar::U8), &wide).unwrap(), Val::U8(3));
    assert_eq!(read(&scalar(Scalar::S32), &wide).unwrap(), Val::S32(-2));
    assert_eq!(read(&scalar(Scalar::Bool), &wide).unwrap(), Val::Bool(true));
    assert_eq!(
        read(&singular(colour()), Message::new().varint(1, (9 << 32) + 2)).unwrap(),
        Val::Enum("deep-blue".to_owned())
    );
}

#[test]
fn nans_are_canonical_both_ways() {
    let (plan_32, plan_64) = (scalar(Scalar::F32), scalar(Scalar::F64));
    let Val::Float32(narrow) = read(&plan_32, Message::new().fixed32(1, 0xffa0_0001)).unwrap()
    else {
        panic!("no float");
    };
    let Val::Float64(wide) =
        read(&plan_64, Message::new().fixed64(1, 0xfff0_0000_0000_0001)).unwrap()
    else {
        panic!("no double");
    };
    assert_eq!((narrow.to_bits(), wide.to_bits()), (0x7fc0_0000, 0x7ff8_0000_0000_0000));
    assert_eq!(
        write(&plan_32, Val::Float32(f32::from_bits(0xffa0_0001))).unwrap(),
        Message::new().fixed32(1, 0x7fc0_0000).0
    );
    assert_eq!(
        write(&plan_64, Val::Float64(f64::from_bits(0xfff0_0000_0000_0001))).unwrap(),
        Message::new().fixed64(1, 0x7ff8_0000_0000_0000).0
    );
}

#[test]
fn missing_fields_are_zero_where_there_is_a_zero() {
    for (kind, zero) in [
        (Scalar::Bool, Val::Bool(false)),
        (Scalar::U64, Val::U64(0)),
        (Scalar::S64, Val::S64(0)),
        (Scalar::F64, Val::Float64(0.0)),
        (Scalar::String, text("")),
    ] {
        assert_eq!(read(&scalar(kind), []).unwrap(), zero);
        assert!(write(&scalar(kind), zero).unwrap().is_empty());
    }
    let negative = write(&scalar(Scalar::F32), Val::Float32(-0.0)).unwrap();
    assert_eq!(negative, Message::new().fixed32(1, 1 << 31).0);
    let flag = field(1, "read", FieldKind::Singular(Shape::Scalar(Scalar::Bool)));
    assert_eq!(read(&singular(message(Body::Flags(vec![flag]))), []).unwrap(), Val::Flags(vec![]));
    assert_eq!(read(&one(FieldKind::Repeated(point())), []).unwrap(), Val::List(vec![]));
    assert_eq!(read(&one(FieldKind::Optional(point())), []).unwrap(), Val::Option(None));
    assert_eq!(read(&singular(Shape::Bytes), []).unwrap(), Val::List(vec![]));
}

#[test]
fn missing_messages_and_enums_are_refused_wherever_they_stand() {
    let outcome = message(Body::Result { ok: case(1, "ok", None), error: case(2, "error", None) });
    let pair = message(Body::Tuple(vec![field(1, "f0", FieldKind::Singular(problem()))]));
    for shape in [colour(), point(), problem(), outcome, pair.clone()] {
        assert_eq!(complaint(&singular(shape.clone()), []), ("value".into(), "must be set".into()));
        let record = message(Body::Record(vec![field(4, "inner", FieldKind::Singular(shape))]));
        let path = complaint(&singular(record), Message::new().bytes(1, [])).0;
        assert_eq!(path, "value.inner");
    }
    assert_eq!(complaint(&singular(pair), Message::new().bytes(1, [])).0, "value.f0");
}

#[test]
fn a_char_is_exactly_one_scalar_value() {
    let plan = scalar(Scalar::Char);
    for (letter, bytes) in [('\0', "\0"), ('é', "é"), ('🦀', "🦀")] {
        let message = Message::new().bytes(1, bytes);
        assert_eq!(read(&plan, &message).unwrap(), Val::Char(letter));
        assert_eq!(write(&plan, Val::Char(letter)).unwrap(), message.0);
    }
    for wrong in ["", "ab", "e\u{301}"] {
        let (path, description) = complaint(&plan, Message::new().bytes(1, wrong));
        assert_eq!(path, "value");
        assert_eq!(description, "must be exactly one Unicode scalar value");
    }
    complaint(&plan, []);
}

#[test]
fn text_is_utf_8() {
    let plan = scalar(Scalar::String);
    for wrong in [&[0xff][..], &[0xc0, 0x80], &[0xed, 0xa0, 0x80], b"cut \xe2\x82"] {
        let message = Message::new().bytes(1, wrong);
        assert_eq!(complaint(&plan, &message), ("value".into(), "must be UTF-8".into()));
        // Also where a later occurrence replaces it, as protobuf's parsers have it.
        complaint(&plan, message.bytes(1, "fine"));
    }
    assert_eq!(read(&plan, Message::new().bytes(1, "a\0b")).unwrap(), text("a\0b"));
}

#[test]
fn enums_have_no_zero_and_no_unknown_numbers() {
    let plan = singular(colour());
    assert_eq!(complaint(&plan, Message::new().varint(1, 0)).1, "must be set");
    assert_eq!(complaint(&plan, Message::new().varint(1, 3)).1, "3 is none of its values");
    assert_eq!(complaint(&plan, Message::new().varint(1, u64::MAX)).1, "-1 is none of its values");
    assert_eq!(read(&plan, Message::new().varint(1, 7)).unwrap(), Val::Enum("grey".to_owned()));
    let many = one(FieldKind::Repeated(colour()));
    assert_eq!(complaint(&many, Message::new().bytes(1, [1, 2, 0])).0, "value[2]");
}

#[test]
fn one_case_must_be_set_and_the_last_counts() {
    let plan = singular(problem());
    let (path, description) = complaint(&plan, Message::new().bytes(1, []));
    assert_eq!(path, "value");
    assert_eq!(description, "one of its cases must be set, to one that is known");
    complaint(&plan, Message::new().bytes(1, Message::new().varint(9, 1)));

    let missing = Message::new().bytes(1, []);
    let bad = Message::new().bytes(2, "why");
    let at = |axis, value| Message::new().bytes(3, Message::new().varint(axis, value));
    let parts = |parts: &[Message]| {
        Message::new().bytes(1, parts.iter().flat_map(|part| part.0.clone()).collect::<Vec<_>>())
    };
    let place = |x, y| {
        let point = Val::Record(vec![("x".to_owned(), Val::S8(x)), ("y".to_owned(), Val::S8(y))]);
        Val::Variant("at".to_owned(), boxed(point))
    };
    let read = |of: &[Message]| read(&plan, parts(of)).unwrap();
    assert_eq!(read(&[bad.clone(), missing.clone()]), Val::Variant("missing".to_owned(), None));
    assert_eq!(
        read(&[missing.clone(), bad.clone()]),
        Val::Variant("bad-text".to_owned(), boxed(text("why")))
    );
    // The same case twice is one message in parts; another case between starts afresh.
    assert_eq!(read(&[at(1, 2), at(2, 4)]), place(1, 2));
    assert_eq!(read(&[at(1, 2), missing.clone(), at(2, 4)]), place(0, 2));
    // What was replaced is not judged by its values, but it has to be protobuf.
    assert_eq!(read(&[at(1, 999), bad.clone(), at(2, 4)]), place(0, 2));
    let torn = Message::new().bytes(3, [0x08]);
    assert_eq!(complaint(&plan, parts(&[torn, bad])).0, "value.at");
    let litter = Message::new().bytes(1, [0xff]);
    assert_eq!(complaint(&plan, parts(&[litter])).0, "value.missing");
}

#[test]
fn messages_in_parts_are_merged() {
    let plan = singular(point());
    let apart = Message::new()
        .bytes(1, Message::new().varint(1, 2))
        .bytes(1, Message::new().varint(2, 3).varint(1, 10))
        .bytes(1, []);
    let point = Val::Record(vec![("x".to_owned(), Val::S8(5)), ("y".to_owned(), Val::S8(-2))]);
    assert_eq!(read(&plan, apart).unwrap(), point);
    let lists = singular(message(Body::Wrapper(field(
        1,
        "items",
        FieldKind::Repeated(Shape::Scalar(Scalar::U32)),
    ))));
    let apart = Message::new()
        .bytes(1, Message::new().bytes(1, [1, 2]))
        .bytes(1, Message::new().varint(1, 3).bytes(1, []).bytes(1, [4]));
    assert_eq!(read(&lists, apart).unwrap(), Val::List((1..=4).map(Val::U32).collect()));
}

#[test]
fn a_field_of_another_wire_type_is_an_unknown_one() {
    let odd = Message::new().bytes(1, [1]).fixed32(1, 1).fixed64(1, 1);
    assert_eq!(read(&scalar(Scalar::U32), &odd).unwrap(), Val::U32(0));
    let number = Message::new().varint(1, 1);
    assert_eq!(read(&scalar(Scalar::String), &number).unwrap(), text(""));
    assert_eq!(read(&scalar(Scalar::F64), &number).unwrap(), Val::Float64(0.0));
    assert_eq!(complaint(&singular(point()), &number).1, "must be set");
    let floats = one(FieldKind::Repeated(Shape::Scalar(Scalar::F32)));
    assert_eq!(read(&floats, number).unwrap(), Val::List(vec![]));
    assert_eq!(
        read(&floats, Message::new().fixed32(1, 0)).unwrap(),
        Val::List(vec![Val::Float32(0.0)])
    );
}

#[test]
fn maps_keep_the_last_of_equal_keys() {
    let plan = one(FieldKind::Map { key: Scalar::String, value: point() });
    let entry = |key: &str, x| Message::new().bytes(1, key).bytes(2, Message::new().varint(1, x)).0;
    let point = |x| Val::Record(vec![("x".to_owned(), Val::S8(x)), ("y".to_owned(), Val::S8(0))]);
    let request = Message::new()
        .bytes(1, entry("b", 2))
        .bytes(1, entry("a", 999))
        .bytes(1, entry("a", 4))
        .bytes(1, []);
    assert_eq!(
        read(&plan, request).unwrap(),
        Val::Map(vec![(text(""), point(0)), (text("a"), point(2)), (text("b"), point(1))])
    );
    assert_eq!(complaint(&plan, Message::new().bytes(1, entry("k", 999))).0, "value[\"k\"].x");
    let long = "é".repeat(1000);
    let path = complaint(&plan, Message::new().bytes(1, entry(&long, 999))).0;
    assert!(path.len() < 100, "{path}");
    let torn = Message::new().bytes(1, Message::new().bytes(1, [0xff]));
    assert_eq!(complaint(&plan, torn).0, "value.key");
    let small = one(FieldKind::Map { key: Scalar::U8, value: Shape::Scalar(Scalar::U8) });
    assert_eq!(complaint(&small, Message::new().bytes(1, [8, 128, 2])).0, "value.key");
    assert_eq!(complaint(&small, Message::new().bytes(1, [8, 3, 16, 128, 2])).0, "value[3]");
    // Entries are written whole, also where key or value are zero.
    let zero = Val::Map(vec![(Val::U8(0), Val::U8(0))]);
    assert_eq!(write(&small, zero).unwrap(), Message::new().bytes(1, [8, 0, 16, 0]).0);
}

#[test]
fn paths_go_through_everything() {
    let corner = FieldKind::Optional(point());
    let item = message(Body::Record(vec![field(5, "corner", corner)]));
    let list = message(Body::Wrapper(field(1, "items", FieldKind::Repeated(item))));
    let map = FieldKind::Map { key: Scalar::U32, value: list };
    let plan = one(map);
    let bad = Message::new().bytes(5, Message::new().varint(2, 600));
    let items = Message::new().bytes(1, []).bytes(1, []).bytes(1, bad);
    let entries = Message::new().varint(1, 12).bytes(2, items);
    assert_eq!(
        complaint(&plan, Message::new().bytes(1, entries)),
        ("value[12].items[2].corner.y".into(), "must be -128 to 127".into())
    );
}

#[test]
fn options_in_options_keep_every_level_apart() {
    let inner = FieldKind::Optional(Shape::Scalar(Scalar::S32));
    let plan = one(FieldKind::Optional(message(Body::Wrapper(field(1, "value", inner)))));
    for (value, message) in [
        (Val::Option(None), Message::new()),
        (Val::Option(boxed(Val::Option(None))), Message::new().bytes(1, [])),
        (Val::Option(boxed(Val::Option(boxed(Val::S32(0))))), Message::new().bytes(1, [8, 0])),
    ] {
        assert_eq!(read(&plan, &message).unwrap(), value);
        assert_eq!(write(&plan, value).unwrap(), message.0);
    }
}

#[test]
fn fields_are_written_by_number_and_cases_by_name() {
    let number = |number, name| field(number, name, FieldKind::Singular(Shape::Scalar(Scalar::U8)));
    let plan = singular(message(Body::Record(vec![
        number(30, "first"),
        number(2, "second"),
        number(7, "third"),
    ])));
    let entry = |name: &str, value| (name.to_owned(), Val::U8(value));
    let record = Val::Record(vec![entry("first", 1), entry("second", 2), entry("third", 3)]);
    let inner = Message::new().varint(2, 2).varint(7, 3).varint(30, 1);
    let bytes = write(&plan, record.clone()).unwrap();
    assert_eq!(bytes, Message::new().bytes(1, inner).0);
    assert_eq!(read(&plan, bytes).unwrap(), record);
}

#[test]
fn more_flags_than_bits_in_a_word() {
    let flags = (0..70).map(|at| {
        let name = format!("f{at}");
        field(at + 1, &name, FieldKind::Singular(Shape::Scalar(Scalar::Bool)))
    });
    let plan = singular(message(Body::Flags(flags.collect())));
    let set =
        Val::Flags(vec!["f0".to_owned(), "f31".to_owned(), "f32".to_owned(), "f69".to_owned()]);
    let bytes = write(&plan, set.clone()).unwrap();
    let inner = Message::new().varint(1, 1).varint(32, 1).varint(33, 1).varint(70, 1);
    assert_eq!(bytes, Message::new().bytes(1, &inner).0);
    assert_eq!(read(&plan, bytes).unwrap(), set);
    // The last occurrence counts here too.
    let unset = Message::new().bytes(1, inner.varint(70, 0).varint(1, 0).varint(32, 0));
    assert_eq!(read(&plan, unset).unwrap(), Val::Flags(vec!["f32".to_owned()]));
}

#[test]
fn a_result_is_the_response_itself_and_nothing_is_empty() {
    let body = Body::Result {
        ok: case(1, "ok", Some(Shape::Scalar(Scalar::U32))),
        error: case(2, "error", None),
    };
    let mut plan = scalar(Scalar::U8);
    plan.response = ResponsePlan::Result(Arc::new(MessagePlan::new("test.Response", body)));
    let ok = Val::Result(Ok(boxed(Val::U32(0))));
    assert_eq!(write(&plan, ok).unwrap(), Message::new().varint(1, 0).0);
    assert_eq!(write(&plan, Val::Result(Err(None))).unwrap(), Message::new().bytes(2, []).0);
    plan.response = ResponsePlan::Empty;
    assert_eq!(encode_response(&plan, &[], 0, &mut CopyBudget::new(0)).unwrap(), "");
    write(&plan, Val::U8(0)).unwrap_err();
}

#[test]
fn unknown_fields_are_stepped_over() {
    let unknown = Message::new().varint(900, 7).bytes(3, "x").fixed32(2, 1).fixed64(2, 1);
    let mut group = unknown.0;
    encode_key(5, WireType::StartGroup, &mut group);
    encode_key(6, WireType::StartGroup, &mut group);
    encode_key(6, WireType::EndGroup, &mut group);
    encode_key(5, WireType::EndGroup, &mut group);
    let request = Message(group).varint(1, 3);
    assert_eq!(read(&scalar(Scalar::U8), request).unwrap(), Val::U8(3));
}

#[test]
fn values_of_other_types_are_mismatches() {
    let point_of =
        |name: &str| Val::Record(vec![("x".to_owned(), Val::S8(1)), (name.to_owned(), Val::S8(1))]);
    let flag = field(1, "read", FieldKind::Singular(Shape::Scalar(Scalar::Bool)));
    let pair = message(Body::Tuple(vec![flag.clone()]));
    let bytes = singular(Shape::Bytes);
    for (plan, value) in [
        (scalar(Scalar::U8), Val::U16(1)),
        (scalar(Scalar::String), Val::Char('a')),
        (scalar(Scalar::Char), text("a")),
        (bytes, Val::List(vec![Val::U8(1), Val::Bool(true)])),
        (singular(colour()), Val::Enum("green".to_owned())),
        (singular(colour()), Val::U32(1)),
        (singular(point()), Val::Tuple(vec![])),
        (singular(point()), Val::Record(vec![])),
        (singular(point()), point_of("z")),
        (singular(pair), Val::Tuple(vec![])),
        (singular(problem()), Val::Variant("none".to_owned(), None)),
        (singular(problem()), Val::Variant("missing".to_owned(), boxed(Val::U8(1)))),
        (singular(problem()), Val::Variant("bad-text".to_owned(), None)),
        (singular(message(Body::Flags(vec![flag]))), Val::Flags(vec!["write".to_owned()])),
        (one(FieldKind::Optional(point())), Val::List(vec![])),
        (one(FieldKind::Repeated(point())), Val::List(vec![Val::U8(1)])),
        (one(FieldKind::Repeated(Shape::Bytes)), Val::Option(None)),
        (
            one(FieldKind::Map { key: Scalar::U8, value: Shape::Scalar(Scalar::U8) }),
            Val::Map(vec![(Val::U16(1), Val::U8(1))]),
        ),
    ] {
        let written = write(&plan, value.clone());
        assert!(matches!(written, Err(EncodeError::Mismatch(_))), "{value:?}: {written:?}");
    }
}
