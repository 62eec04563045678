//! Checks of bytes that become no value.
//!
//! A message that a later case of its oneof replaces leaves no trace, but protobuf's parsers have
//! read it by then: where it is malformed, so is the whole.

use super::{
    decode::{Checked, packed_kind},
    scalar::WireKind,
    slot::{Slot, occurrence},
    violation::Refusal,
    wire::{MAX_DEPTH, Malformed, Raw, Reader},
};
use crate::plan::{Body, FieldKind, FieldPlan, MessagePlan, Scalar, Shape};

/// Checks what was read of a case that was replaced. `depth` is that of the message around it.
pub(super) fn discarded<M>(
    payload: Option<&Shape>,
    slot: &Slot<'_, M>,
    depth: usize,
) -> Result<(), Refusal> {
    match (payload, slot) {
        (Some(Shape::Message(plan)), Slot::Message(parts)) => {
            parts.iter().try_for_each(|bytes| message(plan, bytes, depth + 1))
        }
        (None, slot) => unknown_message(slot),
        // Numbers and bytes cannot be wrong, texts were checked when they were read.
        (Some(_), _) => Ok(()),
    }
}

/// Checks a message of which no field is known.
pub(super) fn unknown_message<M>(slot: &Slot<'_, M>) -> Result<(), Refusal> {
    let Slot::Message(parts) = slot else { return Ok(()) };
    for bytes in parts.iter() {
        let mut reader = Reader::new(bytes);
        while reader.field()?.is_some() {}
    }
    Ok(())
}

fn message(plan: &MessagePlan, bytes: &[u8], depth: usize) -> Result<(), Refusal> {
    if MAX_DEPTH <= depth {
        return Err(Malformed::Depth.into());
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.field()? {
        let Some(at) = plan.position(number) else { continue };
        match field_at(&plan.body, at) {
            Known::Field(FieldPlan { kind: FieldKind::Map { key, value }, .. }) => {
                if let Raw::Bytes(bytes) = raw {
                    entry(*key, value, bytes, depth + 1)?;
                }
            }
            Known::Field(FieldPlan { kind: FieldKind::Repeated(shape), .. }) => {
                match (packed_kind(shape), raw) {
                    (Some(kind), Raw::Bytes(bytes)) => packed(kind, bytes)?,
                    (_, raw) => value(shape, raw, depth)?,
                }
            }
            Known::Field(FieldPlan {
                kind: FieldKind::Singular(shape) | FieldKind::Optional(shape),
                ..
            })
            | Known::Case(Some(shape)) => value(shape, raw, depth)?,
            Known::Case(None) => {
                if let Raw::Bytes(bytes) = raw {
                    unknown_message(&Slot::<Checked>::message(bytes))?;
                }
            }
            Known::Nothing => {}
        }
    }
    Ok(())
}

fn entry(key: Scalar, of: &Shape, bytes: &[u8], depth: usize) -> Result<(), Refusal> {
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.field()? {
        match number {
            1 => value(&Shape::Scalar(key), raw, depth)?,
            2 => value(of, raw, depth)?,
            _ => {}
        }
    }
    Ok(())
}

fn value(shape: &Shape, raw: Raw<'_>, depth: usize) -> Result<(), Refusal> {
    match occurrence::<Checked>(shape, raw)? {
        Some(slot) => discarded(Some(shape), &slot, depth),
        None => Ok(()),
    }
}

fn packed(kind: WireKind, bytes: &[u8]) -> Result<(), Refusal> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        reader.packed_number(kind)?;
    }
    Ok(())
}

/// What a number stands for in a body.
enum Known<'a> {
    Field(&'a FieldPlan),
    Case(Option<&'a Shape>),
    Nothing,
}

fn field_at(body: &Body, at: usize) -> Known<'_> {
    match body {
        Body::Fields(fields) | Body::Record(fields) | Body::Tuple(fields) | Body::Flags(fields) => {
            fields.get(at).map_or(Known::Nothing, Known::Field)
        }
        Body::Wrapper(field) => Known::Field(field),
        // Its id is bytes, which cannot be wrong.
        Body::Handle(_) => Known::Nothing,
        Body::Variant(cases) => {
            cases.get(at).map_or(Known::Nothing, |case| Known::Case(case.payload.as_ref()))
        }
        Body::Result { ok, error } => {
            Known::Case(if at == 0 { &ok.payload } else { &error.payload }.as_ref())
        }
    }
}
