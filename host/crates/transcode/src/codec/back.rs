//! Writes a message from its end to its beginning.

use bytes::Bytes;
use roadstead_domain::{LimitKind, LimitReached};

use super::{budget::CopyBudget, scalar::Number};

/// The kind of value that a tag announces.
#[derive(Debug, Clone, Copy)]
pub(super) enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

/// Protobuf puts the length of a message before it. Written back to front, the length is known when
/// its turn comes: one walk over the values, no sizes to keep, nothing to move. The bytes lie in
/// reverse until the whole is done.
pub(super) struct BackWriter<'b> {
    reversed: Vec<u8>,
    limit: u64,
    budget: &'b mut CopyBudget,
}

impl<'b> BackWriter<'b> {
    /// A writer of at most `limit` bytes.
    pub(super) fn new(limit: u64, budget: &'b mut CopyBudget) -> Self {
        Self { reversed: Vec::new(), limit, budget }
    }

    pub(super) fn finish(mut self) -> Bytes {
        self.reversed.reverse();
        self.reversed.into()
    }

    /// How much was written so far.
    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), LimitReached> {
        self.admit(bytes.len())?;
        self.reversed.extend(bytes.iter().rev());
        Ok(())
    }

    /// Asks for room for that many bytes, which are then written one by one.
    pub(super) fn admit(&mut self, count: usize) -> Result<(), LimitReached> {
        let sum = self.reversed.len().saturating_add(count);
        let sum = u64::try_from(sum).unwrap_or(u64::MAX);
        if self.limit < sum {
            let (limit, allowed) = (LimitKind::Output, self.limit);
            return Err(LimitReached { limit, allowed, used: Some(sum) });
        }
        self.budget.take(count)?;
        self.reversed.reserve(count);
        Ok(())
    }

    /// One byte of those admitted.
    pub(super) fn admitted(&mut self, byte: u8) {
        self.reversed.push(byte);
    }

    pub(super) fn number(&mut self, number: Number) -> Result<(), LimitReached> {
        match number {
            Number::Varint(value) => self.varint(value),
            Number::Fixed32(value) => self.bytes(&value.to_le_bytes()),
            Number::Fixed64(value) => self.bytes(&value.to_le_bytes()),
        }
    }

    pub(super) fn tag(&mut self, field: u32, wire_type: WireType) -> Result<(), LimitReached> {
        self.varint(u64::from(field) << 3 | wire_type as u64)
    }

    /// The length of what was written since the writer was `before` bytes long, and its tag.
    pub(super) fn length_since(&mut self, before: usize, field: u32) -> Result<(), LimitReached> {
        self.header(self.len().saturating_sub(before), field)
    }

    /// The tag and length that stand before so many bytes.
    pub(super) fn header(&mut self, length: usize, field: u32) -> Result<(), LimitReached> {
        self.varint(u64::try_from(length).unwrap_or(u64::MAX))?;
        self.tag(field, WireType::Bytes)
    }

    fn varint(&mut self, mut value: u64) -> Result<(), LimitReached> {
        let mut encoded = [0_u8; 10];
        let mut length = 0;
        for byte in &mut encoded {
            *byte = value.to_le_bytes()[0] & 0x7f;
            value >>= 7;
            length += 1;
            if value == 0 {
                break;
            }
            *byte |= 0x80;
        }
        self.bytes(encoded.get(..length).unwrap_or_default())
    }
}
