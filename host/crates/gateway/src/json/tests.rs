//! JSON against a message with a field of every kind.

use proptest::prelude::*;
use prost_reflect::DescriptorPool;
use roadstead_domain::ByteSize;
use serde_json::Value;

use super::*;
use crate::budget::Budget;

const PROTO: &str = r#"
syntax = "proto3";
package t;
import "google/protobuf/empty.proto";
message All {
  uint32 small = 1;
  sint64 large = 2;
  double real = 3;
  bytes blob = 4;
  string text = 5;
  optional bool maybe = 6;
  repeated Point points = 7;
  map<string, sint32> counts = 8;
  Colour colour = 9;
  oneof kind { google.protobuf.Empty empty = 10; Point point = 11; }
  repeated uint32 numbers = 12;
  All inner = 13;
  uint32 two_words = 14;
}
message Point { double x = 1; double y = 2; }
message Numbers {
  repeated double reals = 1;
  repeated float singles = 2;
  repeated bool flags = 3;
  repeated uint32 words = 4;
}
enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; }
"#;

fn all() -> MessageDescriptor {
    message("t.All")
}

fn message(name: &str) -> MessageDescriptor {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.proto"), PROTO).unwrap();
    let files = protox::compile(["t.proto"], [directory.path()]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    pool.get_message_by_name(name).unwrap()
}

fn print(descriptor: &MessageDescriptor, message: Bytes) -> Result<Vec<u8>, Fault> {
    let charge = Budget::new(ByteSize::mib(100)).charge();
    super::print(descriptor, message, 10 << 20, charge).map(|text| text.bytes.to_vec())
}

fn fault(text: &str) -> (String, String) {
    match read(&all(), text.as_bytes()).unwrap_err() {
        Fault::BadInput(mut violations) => {
            let first = violations.remove(0);
            (first.field, first.description)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn defaults_are_printed() {
    let text = String::from_utf8(print(&all(), Bytes::new()).unwrap()).unwrap();
    for part in [r#""small":0"#, r#""large":"0""#, r#""points":[]"#, r#""twoWords":0"#] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("maybe"), "{text}");
}

#[test]
fn what_is_read_is_printed_again() {
    let text = r#"{"small":1,"large":"-9007199254740993","real":"NaN","blob":"AAE=","text":"ä",
        "maybe":false,"points":[{"x":1,"y":0}],"counts":{"a":-1},"colour":"COLOUR_RED",
        "point":{"x":0,"y":2.5},"numbers":[1,2],"two_words":3}"#;
    let message = read(&all(), text.as_bytes()).unwrap();
    let printed: Value = serde_json::from_slice(&print(&all(), message).unwrap()).unwrap();
    let mut expected: Value = serde_json::from_str(text).unwrap();
    let fields = expected.as_object_mut().unwrap();
    let words = fields.remove("two_words").unwrap();
    fields.insert("twoWords".into(), words);
    fields.insert("inner".into(), Value::Null);
    let mut printed = printed;
    printed.as_object_mut().unwrap().entry("inner").or_insert(Value::Null);
    let numeric = |value: &mut Value| {
        value["points"][0] = serde_json::json!({"x": 1.0, "y": 0.0});
        value["point"] = serde_json::json!({"x": 0.0, "y": 2.5});
    };
    numeric(&mut expected);
    numeric(&mut printed);
    assert_eq!(printed, expected);
}

#[test]
fn the_field_that_does_not_fit_is_named() {
    for (text, field, part) in [
        (r#"{"smal":1}"#, "smal", "no such field"),
        (r#"{"small":-1}"#, "small", "range"),
        (r#"{"small":4294967296}"#, "small", ""),
        (r#"{"small":"x"}"#, "small", "invalid"),
        (r#"{"text":5}"#, "text", "string"),
        (r#"{"blob":"?"}"#, "blob", "base64"),
        (r#"{"points":[{"x":1},{"x":"y"}]}"#, "points[1].x", ""),
        (r#"{"points":[{"z":1}]}"#, "points[0].z", "t.Point"),
        (r#"{"points":{"x":1}}"#, "points", ""),
        (r#"{"point":[1]}"#, "point", ""),
        (r#"{"point":1}"#, "point", "object"),
        (r#"{"counts":{"a":1,"b":"x"}}"#, "counts[\"b\"]", ""),
        (r#"{"colour":"COLOUR_BLUE"}"#, "colour", "COLOUR_BLUE"),
        (r#"{"numbers":[1,2,"x"]}"#, "numbers[2]", ""),
        (r#"{"inner":{"inner":{"twoWords":true}}}"#, "inner.inner.twoWords", ""),
        (r#"{"empty":{"a":1}}"#, "empty", "a"),
        (r#"[1]"#, "", "object"),
        (r#"{"empty":{},"point":{}}"#, "", "kind"),
        ("", "", "EOF"),
        ("{", "", "EOF"),
        ("{} {}", "", "trailing"),
        ("\u{feff}{}", "", ""),
    ] {
        let (found, description) = fault(text);
        assert_eq!(found, field, "{text}: {description}");
        assert!(description.contains(part), "{text}: {description}");
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = r#"{"inner":"#.repeat(10_000);
    assert!(fault(&deep).1.contains("recursion"));
    let unknown = format!("{{\"x\":{}", "[".repeat(100_000));
    fault(&unknown);
}

#[test]
fn many_values_are_not_searched_for_ever() {
    let text = format!("{{\"numbers\":[{}\"x\"]}}", "1,".repeat(200_000));
    let (field, _) = fault(&text);
    assert_eq!(field, "");
}

#[test]
fn a_text_ends_at_its_limit_and_at_the_budget() {
    // An empty message prints all its defaults.
    let message: Bytes = [0x3a, 0].repeat(1000).into();
    let print = |limit, budget| {
        let charge = Budget::new(ByteSize(budget)).charge();
        super::print(&all(), message.clone(), limit, charge)
    };
    let text = print(10_000, 1 << 20).unwrap();
    assert!(text.bytes.len() > 10_000 && text.bytes.len() < 80_000, "{}", text.bytes.len());
    let length = text.bytes.len() as u64;
    assert!(print(length.div_ceil(TEXT), 1 << 20).is_ok());
    let limit = length / TEXT - 1;
    let refused = print(limit, 1 << 20).unwrap_err();
    assert_eq!(refused, Fault::limit(LimitKind::Output, limit, None));
    assert!(matches!(print(10_000, length / 2), Err(Fault::NeverFits(_))));
}

#[test]
fn a_tree_is_weighed_before_it_is_built() {
    // Two bytes of each message become hundreds.
    let points = |count| Bytes::from([0x3a, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0].repeat(count));
    let limit = 100 << 20;
    let charge = || Budget::new(ByteSize(u64::MAX)).charge();
    assert!(super::print(&all(), points(10_000), limit, charge()).is_ok());
    let too_large = |refused: Fault| {
        assert!(matches!(refused, Fault::NeverFits(_)), "{refused}");
        assert!(refused.to_string().contains("JSON values"), "{refused}");
    };
    too_large(super::print(&all(), points(1 << 20), limit, charge()).unwrap_err());
    let numbers = [&[0x62, 0x80, 0x80, 0x80, 0x02][..], &[1; 4 << 20]].concat();
    assert!(super::print(&all(), numbers.into(), limit, charge()).is_err());

    let points = |count| format!(r#"{{"points":[{}{{}}]}}"#, "{},".repeat(count));
    assert!(read(&all(), points(10_000).as_bytes()).is_ok());
    too_large(read(&all(), points(1 << 20).as_bytes()).unwrap_err());
    // What looks like values within a string is none.
    let csv = format!(r#"{{"text":"{}"}}"#, r#"{\"a\":[1,2]},"#.repeat(200_000));
    assert!(read(&all(), csv.as_bytes()).is_ok());
}

/// A message of `Numbers` with 2 MiB of one field's values.
fn packed(field: u8, value: &[u8]) -> Bytes {
    let mut message = vec![field << 3 | 2];
    prost::encoding::encode_varint(2 << 20, &mut message);
    message.extend(value.iter().cycle().take(2 << 20));
    message.into()
}

#[test]
fn two_mib_of_any_numbers_are_read_and_printed() {
    let numbers = message("t.Numbers");
    for (field, value, name) in [
        (1, &1.5_f64.to_le_bytes()[..], "reals"),
        (2, &1.5_f32.to_le_bytes(), "singles"),
        (3, &[1], "flags"),
        (4, &[7], "words"),
        (4, &[0xff, 0xff, 0xff, 0x7f], "words"),
    ] {
        let message = packed(field, value);
        let charge = Budget::new(ByteSize::mib(64)).charge();
        let text = super::print(&numbers, message.clone(), 2 << 20, charge).unwrap().bytes;
        assert!(text.len() as u64 <= (2 << 20) * TEXT, "{name}");
        assert_eq!(read(&numbers, &text).unwrap(), message, "{name}");
    }
}

#[test]
fn weights_are_no_less_than_what_is_built() {
    let message = read(&all(), br#"{"small":1,"points":[{"x":1}],"counts":{"a":1}}"#).unwrap();
    let weight = weight::of_message(&all(), &message, TREE);
    assert!(weight > 3 * 400, "{weight}");
    assert_eq!(weight::of_message(&all(), b"", TREE), 0);
    for cut in 0..message.len() {
        assert!(weight::of_message(&all(), &message[..cut], TREE) <= weight);
    }
}

#[test]
fn errors_deep_within_are_found_without_reading_all_again() {
    let around = |inner: &str| {
        (0..100).fold(inner.to_owned(), |text, _| {
            format!(r#"{{"numbers":[{}1],"inner":{text}}}"#, "1,".repeat(2000))
        })
    };
    let (field, _) = fault(&around(r#"{"small":"x"}"#));
    assert!(field.is_empty() || field.ends_with("inner.small"), "{field}");
    let long_key = format!(r#"{{"{}":1}}"#, "k".repeat(1 << 20));
    assert_eq!(fault(&long_key).0.len(), 1 << 20);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        read(&all(), text.as_bytes()).ok();
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        read(&all(), &bytes).ok();
        weight::of_text(&bytes);
        print(&all(), bytes.into()).ok();
    }
}
