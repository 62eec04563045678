//! What one more occurrence of a field adds to what is known of it.

use super::{Decoder, Make, Read};
use crate::{
    codec::{
        scalar::WireKind,
        slot::{Entry, Slot, occurrence},
        violation::Refusal,
        wire::{Raw, Reader},
    },
    plan::{FieldKind, FieldPlan, Scalar, Shape},
};

impl<M: Make> Decoder<'_, M> {
    /// Takes one occurrence of a field into its slot.
    pub(super) fn absorb<'a>(
        &mut self,
        field: &FieldPlan,
        slot: &mut Slot<'a, M>,
        raw: Raw<'a>,
        ahead: &Reader<'a>,
    ) -> Read<()> {
        let done = match &field.kind {
            FieldKind::Singular(shape) | FieldKind::Optional(shape) => match occurrence(shape, raw)
            {
                Ok(Some(new)) => self.replace(slot, new),
                Ok(None) => Ok(()),
                Err(refusal) => Err(refusal),
            },
            FieldKind::Repeated(shape) => {
                if slot.is_absent() {
                    *slot = Slot::List(Vec::new());
                }
                let Slot::List(list) = slot else { return Ok(()) };
                self.element(list, shape, raw, || 1 + ahead.run_of(field.number, &raw))
            }
            FieldKind::Map { key, value } => {
                if slot.is_absent() {
                    *slot = Slot::Map(Vec::new());
                }
                let Slot::Map(entries) = slot else { return Ok(()) };
                let Raw::Bytes(entry) = raw else { return Ok(()) };
                let run = || 1 + ahead.run_of(field.number, &raw);
                self.entry(*key, value, entry).and_then(|entry| {
                    self.budget.room_for_one(entries, run)?;
                    entries.push(entry);
                    Ok(())
                })
            }
        };
        done.map_err(|refusal| refusal.within(&field.proto_name))
    }

    /// Puts a later occurrence of the same field or case where an earlier one may be.
    pub(super) fn replace<'a>(&mut self, slot: &mut Slot<'a, M>, new: Slot<'a, M>) -> Read<()> {
        match (slot, new) {
            (Slot::Message(parts), Slot::Message(new)) => {
                for bytes in new.iter().filter(|bytes| !bytes.is_empty()) {
                    self.budget.room_for_one(parts.more_mut(), || 1)?;
                    parts.more_mut().push(bytes);
                }
            }
            (slot, new) => *slot = new,
        }
        Ok(())
    }

    fn element(
        &mut self,
        list: &mut Vec<M>,
        shape: &Shape,
        raw: Raw<'_>,
        run: impl FnOnce() -> usize,
    ) -> Read<()> {
        let at = list.len();
        let within = |refusal: Refusal| refusal.within(&format!("[{at}]"));
        if let (Some(kind), Raw::Bytes(packed)) = (packed_kind(shape), raw) {
            return self.packed(list, shape, kind, packed);
        }
        let Some(slot) = occurrence(shape, raw).map_err(within)? else { return Ok(()) };
        self.budget.room_for_one(list, run)?;
        list.push(self.value(shape, slot).map_err(within)?);
        Ok(())
    }

    fn packed(
        &mut self,
        list: &mut Vec<M>,
        shape: &Shape,
        kind: WireKind,
        packed: &[u8],
    ) -> Read<()> {
        let count = match kind {
            WireKind::Fixed32 => packed.len() / 4,
            WireKind::Fixed64 => packed.len() / 8,
            WireKind::Varint | WireKind::Text => packed.iter().filter(|byte| **byte < 0x80).count(),
        };
        self.budget.room_for(list, count)?;
        let mut reader = Reader::new(packed);
        while !reader.is_empty() {
            let bits = reader.packed_number(kind)?;
            let at = list.len();
            list.push(
                self.value(shape, Slot::Number(bits))
                    .map_err(|refusal| refusal.within(&format!("[{at}]")))?,
            );
        }
        Ok(())
    }

    /// One entry of a map: a message with the key as field 1 and the value as field 2.
    ///
    /// The value waits in its slot: another entry with the same key may replace it.
    fn entry<'a>(&mut self, key: Scalar, value: &Shape, bytes: &'a [u8]) -> Read<Entry<'a, M>> {
        let key_shape = Shape::Scalar(key);
        let (mut key_slot, mut value_slot) = (Slot::Absent, Slot::Absent);
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.field()? {
            let (shape, slot, name) = match number {
                1 => (&key_shape, &mut key_slot, "key"),
                2 => (value, &mut value_slot, "value"),
                _ => continue,
            };
            if let Some(new) = occurrence(shape, raw).map_err(|refusal| refusal.within(name))? {
                self.replace(slot, new)?;
            }
        }
        let key = self.scalar(key, &key_slot).map_err(|refusal| refusal.within("key"))?;
        Ok((key, value_slot))
    }
}

/// How the numbers of a packed field lie; none for what is never packed.
pub(in crate::codec) fn packed_kind(shape: &Shape) -> Option<WireKind> {
    match shape {
        Shape::Scalar(scalar) => Some(scalar.wire_kind()).filter(|kind| *kind != WireKind::Text),
        Shape::Enum(_) => Some(WireKind::Varint),
        Shape::Bytes | Shape::Message(_) => None,
    }
}
