//! The protobuf wire format: tags, the four kinds of values, and groups to step over.
//!
//! Reads only what is there: every length is checked against the bytes at hand, and nothing here
//! allocates in proportion to what a message claims. As strict as Go's parser: varints over 64
//! bits, field number 0, the two unused wire types and unbalanced groups are errors.

use super::scalar::WireKind;

/// How deep messages, and unknown groups, may be nested: the common default of protobuf's parsers.
pub(super) const MAX_DEPTH: usize = 100;

/// Why bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("not a protobuf message: it ends in the middle of a field")]
    Truncated,
    #[error("not a protobuf message: a varint is longer than 64 bits")]
    Varint,
    #[error("not a protobuf message: a field has an impossible tag")]
    Tag,
    #[error("not a protobuf message: a group ends that was not begun, or the other way round")]
    Group,
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("must be UTF-8")]
    Utf8,
}

/// One value as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    /// A group, stepped over: no field of ours is one.
    Group,
}

impl Raw<'_> {
    /// Whether both are of the same wire type.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Walks over the fields of one message.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and value, or none at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Raw<'a>)>, Malformed> {
        if self.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let raw = match wire_type {
            3 => {
                self.skip_group(number)?;
                Raw::Group
            }
            4 => return Err(Malformed::Group),
            _ => self.value(wire_type)?,
        };
        Ok(Some((number, raw)))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (count, byte) in self.rest.iter().enumerate().take(10) {
            if count == 9 && 1 < *byte {
                return Err(Malformed::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * count);
            if *byte < 0x80 {
                self.take(count + 1)?;
                return Ok(value);
            }
        }
        Err(Malformed::Truncated)
    }

    /// The next number of a packed field.
    pub(super) fn packed_number(&mut self, kind: WireKind) -> Result<u64, Malformed> {
        match kind {
            WireKind::Fixed32 => self.fixed32().map(u64::from),
            WireKind::Fixed64 => self.fixed64(),
            WireKind::Varint | WireKind::Text => self.varint(),
        }
    }

    fn fixed32(&mut self) -> Result<u32, Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    fn fixed64(&mut self) -> Result<u64, Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// How many fields with this number and wire type follow each other from here on.
    pub(super) fn run_of(&self, number: u32, like: &Raw<'_>) -> usize {
        let mut ahead = self.clone();
        let mut count = 0;
        while let Ok(Some((next, raw))) = ahead.field()
            && next == number
            && raw.is_like(like)
        {
            count += 1;
        }
        count
    }

    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed::Tag)?;
        match (key >> 3, key.to_le_bytes()[0] & 7) {
            (0, _) | (_, 6 | 7) => Err(Malformed::Tag),
            tag => Ok(tag),
        }
    }

    fn value(&mut self, wire_type: u8) -> Result<Raw<'a>, Malformed> {
        Ok(match wire_type {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(self.fixed64()?),
            2 => {
                let length = self.varint()?;
                Raw::Bytes(self.take(usize::try_from(length).map_err(|_| Malformed::Truncated)?)?)
            }
            5 => Raw::Fixed32(self.fixed32()?),
            _ => return Err(Malformed::Tag),
        })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(innermost) = open.last() {
            if self.is_empty() {
                return Err(Malformed::Truncated);
            }
            match self.tag()? {
                (_, 3) if open.len() == MAX_DEPTH => return Err(Malformed::Depth),
                (number, 3) => open.push(number),
                (number, 4) if number == *innermost => {
                    open.pop();
                }
                (_, 4) => return Err(Malformed::Group),
                (_, wire_type) => {
                    self.value(wire_type)?;
                }
            }
        }
        Ok(())
    }
}
