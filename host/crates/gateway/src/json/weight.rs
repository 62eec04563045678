//! What the tree of a message will take in memory, from above, without building it.

use std::mem::size_of;

use bytes::Buf as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_reflect::{FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// A value in a list, which doubles when it is full.
const ITEM: u64 = 2 * size_of::<Value>() as u64;
/// A value in a map.
const ENTRY: u64 = 2 * (size_of::<MapKey>() + size_of::<Value>()) as u64;
/// The fields of a message lie in nodes of eleven, however few they are.
const NODE: u64 = 11 * (size_of::<Value>() as u64 + 16) + 16;
/// A field's part of a node, as nodes are half full at worst.
const FIELD: u64 = NODE / 5;
/// Levels that are decoded at all.
const DEPTH: u32 = 100;

/// What the tree of an encoded message takes; anything beyond `most` once that is passed.
pub(super) fn of_message(descriptor: &MessageDescriptor, message: &[u8], most: u64) -> u64 {
    let mut scale = Scale { weight: 0, most };
    // What does not decode has no tree.
    let _cut_or_too_heavy = scale.message(descriptor, message, DEPTH);
    scale.weight
}

/// What the tree of a JSON text takes, by its punctuation.
pub(super) fn of_text(text: &[u8]) -> u64 {
    let (mut weight, mut within, mut escaped) = (text.len() as u64, false, false);
    // A bit for each level, set in lists. No text is read that is deeper than there are bits.
    let mut lists = 0_u128;
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within => escaped = true,
            b'"' => within = !within,
            _ if within => {}
            b'{' => {
                lists <<= 1;
                weight += NODE + ITEM;
            }
            b'[' => {
                lists = lists << 1 | 1;
                weight += FIELD.max(ENTRY);
            }
            b'}' | b']' => lists >>= 1,
            b',' if lists & 1 == 1 => weight += ITEM,
            b',' => weight += FIELD.max(ENTRY),
            _ => {}
        }
    }
    weight
}

struct Scale {
    weight: u64,
    most: u64,
}

impl Scale {
    fn add(&mut self, bytes: u64) -> Option<()> {
        self.weight = self.weight.saturating_add(bytes);
        (self.weight <= self.most).then_some(())
    }

    /// None ends it: the message is cut, or heavy enough.
    fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        mut rest: &[u8],
        depth: u32,
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        if !rest.is_empty() {
            self.add(NODE)?;
        }
        while !rest.is_empty() {
            let (number, wire) = decode_key(&mut rest).ok()?;
            let field = descriptor.get_field(number);
            self.add(field.as_ref().map_or(FIELD, place))?;
            let length = match wire {
                WireType::Varint => {
                    decode_varint(&mut rest).ok()?;
                    continue;
                }
                WireType::SixtyFourBit => 8,
                WireType::ThirtyTwoBit => 4,
                WireType::LengthDelimited => {
                    usize::try_from(decode_varint(&mut rest).ok()?).ok()?
                }
                WireType::StartGroup | WireType::EndGroup => return None,
            };
            let inner = rest.get(..length)?;
            match field.map(|field| field.kind()) {
                Some(Kind::Message(message)) => self.message(&message, inner, depth)?,
                None | Some(Kind::String | Kind::Bytes) => self.add(length as u64)?,
                Some(number) => self.add(ITEM.saturating_mul(packed(&number, inner)))?,
            }
            rest.advance(length);
        }
        Some(())
    }
}

/// How many numbers are packed in these bytes.
fn packed(kind: &Kind, bytes: &[u8]) -> u64 {
    let count = match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => bytes.len() / 8,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => bytes.len() / 4,
        // The last byte of a varint has no continuation bit.
        _ => bytes.iter().filter(|byte| **byte < 0x80).count(),
    };
    count as u64
}

fn place(field: &FieldDescriptor) -> u64 {
    if field.is_map() {
        ENTRY
    } else if field.is_list() {
        ITEM
    } else {
        FIELD
    }
}
