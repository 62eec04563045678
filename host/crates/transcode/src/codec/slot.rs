//! What has been read of one field while its message is not at its end.

use wasmtime::component::Val;

use super::{
    scalar::WireKind,
    violation::Refusal,
    wire::{Malformed, Raw},
};
use crate::plan::Shape;

/// A field's occurrences, put together as protobuf says: the last number, text or bytes counts,
/// the parts of a message are read as one, elements queue up.
#[derive(Debug, Default)]
pub(super) enum Slot<'a, M> {
    #[default]
    Absent,
    Number(u64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Message(Parts<'a>),
    /// What was made of a list's elements.
    List(Vec<M>),
    Map(Vec<Entry<'a, M>>),
}

/// A map's key, and what was read of its value.
pub(super) type Entry<'a, M> = (Val, Slot<'a, M>);

/// One message, as the bytes of all its occurrences.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    first: &'a [u8],
    more: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { first: bytes, more: Vec::new() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }

    pub(super) fn more_mut(&mut self) -> &mut Vec<&'a [u8]> {
        &mut self.more
    }
}

impl<'a, M> Slot<'a, M> {
    pub(super) fn message(bytes: &'a [u8]) -> Self {
        Self::Message(Parts::of(bytes))
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The number that was read, or zero.
    pub(super) fn number(&self) -> u64 {
        if let Self::Number(bits) = self { *bits } else { 0 }
    }

    /// The text that was read, or none at all.
    pub(super) fn text(&self) -> &'a str {
        if let Self::Text(text) = self { text } else { "" }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }

    pub(super) fn into_parts(self) -> Parts<'a> {
        if let Self::Message(parts) = self { parts } else { Parts::default() }
    }
}

/// One occurrence of a value of `shape`; none where the wire type is another's, which makes the
/// field an unknown one.
pub(super) fn occurrence<'a, M>(
    shape: &Shape,
    raw: Raw<'a>,
) -> Result<Option<Slot<'a, M>>, Refusal> {
    Ok(match (shape, raw) {
        (Shape::Scalar(scalar), raw) => match (scalar.wire_kind(), raw) {
            (WireKind::Varint, Raw::Varint(bits)) | (WireKind::Fixed64, Raw::Fixed64(bits)) => {
                Some(Slot::Number(bits))
            }
            (WireKind::Fixed32, Raw::Fixed32(bits)) => Some(Slot::Number(u64::from(bits))),
            (WireKind::Text, Raw::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Utf8)?;
                Some(Slot::Text(text))
            }
            _ => None,
        },
        (Shape::Enum(_), Raw::Varint(bits)) => Some(Slot::Number(bits)),
        (Shape::Bytes, Raw::Bytes(bytes)) => Some(Slot::Bytes(bytes)),
        (Shape::Message(_), Raw::Bytes(bytes)) => Some(Slot::message(bytes)),
        (Shape::Enum(_) | Shape::Bytes | Shape::Message(_), _) => None,
    })
}
