//! Bytes that look like protobuf, more or less.

use proptest::{collection::vec, prelude::*, sample::Index};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

/// A message of random fields, some with messages inside; now and then something is not right.
pub(crate) fn soup() -> BoxedStrategy<Vec<u8>> {
    let value = prop_oneof![
        any::<u64>().prop_map(Piece::Varint),
        (0_u64..4).prop_map(Piece::Varint),
        any::<u32>().prop_map(Piece::Fixed32),
        any::<u64>().prop_map(Piece::Fixed64),
        any::<String>().prop_map(|text| Piece::Bytes(text.into_bytes())),
        "[a-c]".prop_map(|text| Piece::Bytes(text.into_bytes())),
        vec(any::<u8>(), 0..12).prop_map(Piece::Bytes),
        vec(0_u8..4, 0..6).prop_map(Piece::Bytes),
    ];
    let leaf = vec((1_u32..6, value), 0..4);
    leaf.prop_recursive(5, 64, 6, |inner| {
        let piece = prop_oneof![
            6 => inner.clone().prop_map(|fields| Piece::Bytes(pour(&fields))),
            1 => inner.prop_map(Piece::Group),
            1 => vec(any::<u8>(), 0..4).prop_map(Piece::Litter),
            2 => any::<u64>().prop_map(Piece::Varint),
        ];
        vec((1_u32..6, piece), 0..6)
    })
    .prop_map(|fields| pour(&fields))
    .boxed()
}

#[derive(Debug, Clone)]
enum Piece {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(Vec<u8>),
    Group(Vec<(u32, Piece)>),
    /// Bytes without a tag.
    Litter(Vec<u8>),
}

fn pour(fields: &[(u32, Piece)]) -> Vec<u8> {
    let mut to = Vec::new();
    for (number, piece) in fields {
        match piece {
            Piece::Varint(value) => {
                encode_key(*number, WireType::Varint, &mut to);
                encode_varint(*value, &mut to);
            }
            Piece::Fixed32(value) => {
                encode_key(*number, WireType::ThirtyTwoBit, &mut to);
                to.extend(value.to_le_bytes());
            }
            Piece::Fixed64(value) => {
                encode_key(*number, WireType::SixtyFourBit, &mut to);
                to.extend(value.to_le_bytes());
            }
            Piece::Bytes(bytes) => put_bytes(*number, bytes, &mut to),
            Piece::Group(fields) => {
                encode_key(*number, WireType::StartGroup, &mut to);
                to.extend(pour(fields));
                encode_key(*number, WireType::EndGroup, &mut to);
            }
            Piece::Litter(bytes) => to.extend(bytes),
        }
    }
    to
}

fn put_bytes(number: u32, bytes: &[u8], to: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, to);
    encode_varint(bytes.len() as u64, to);
    to.extend(bytes);
}

/// A change of one place.
#[derive(Debug, Clone)]
pub(crate) enum Mutation {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Cut),
    ]
}

impl Mutation {
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Set(at, byte) => *at.get_mut(bytes) = *byte,
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Self::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

/// Says that more bytes of a number follow.
const HALF_A_KEY: u8 = 0x80;

/// The same message without known fields that come as another wire type. Protobuf's own parsers
/// take those for unknown fields, prost refuses the message.
///
/// The rest of a malformed message becomes half a key: prost looks for no wire type where a map
/// stands, and might take what is cut short.
pub(crate) fn without_mismatches(descriptor: &MessageDescriptor, bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if next(descriptor, &mut rest, &mut to).is_none() {
            to.push(HALF_A_KEY);
            break;
        }
    }
    to
}

fn next(descriptor: &MessageDescriptor, rest: &mut &[u8], to: &mut Vec<u8>) -> Option<()> {
    let start = *rest;
    let (number, wire_type) = decode_key(rest).ok()?;
    let value = *rest;
    skip_field(wire_type, number, rest, DecodeContext::default()).ok()?;
    let whole = start.get(..start.len() - rest.len())?;
    match descriptor.get_field(number) {
        Some(field) if !fits(&field, wire_type) => {}
        Some(field) if wire_type == WireType::LengthDelimited && is_message(&field) => {
            let mut inside = value.get(..value.len() - rest.len())?;
            decode_varint(&mut inside).ok()?;
            let message = field.kind().as_message()?.clone();
            put_bytes(number, &without_mismatches(&message, inside), to);
        }
        _ => to.extend(whole),
    }
    Some(())
}

fn is_message(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(_))
}

fn fits(field: &FieldDescriptor, wire_type: WireType) -> bool {
    let own = match field.kind() {
        Kind::Double => WireType::SixtyFourBit,
        Kind::Float => WireType::ThirtyTwoBit,
        Kind::Message(_) | Kind::String | Kind::Bytes => WireType::LengthDelimited,
        _ => WireType::Varint,
    };
    let packed =
        field.cardinality() == Cardinality::Repeated && wire_type == WireType::LengthDelimited;
    wire_type == own || packed
}
