//! The values that fields and their shapes stand for, once all is read.

use wasmtime::component::Val;

use super::{Decoder, Read};
use crate::{
    codec::{
        key,
        scalar::low,
        skim,
        slot::{Entry, Slot},
        violation::Refusal,
    },
    plan::{Body, EnumPlan, FieldKind, FieldPlan, Scalar, Shape},
};

impl Decoder<'_> {
    /// A whole field, its presence checked.
    pub(super) fn field(&mut self, field: &FieldPlan, slot: Slot<'_>) -> Read<Val> {
        let value = match &field.kind {
            FieldKind::Singular(shape) if slot.is_absent() && is_required(shape) => {
                Err(Refusal::here("must be set"))
            }
            FieldKind::Singular(shape) => self.value(shape, slot),
            FieldKind::Optional(_) if slot.is_absent() => Ok(Val::Option(None)),
            FieldKind::Optional(shape) => {
                self.boxed(shape, slot).map(|value| Val::Option(Some(value)))
            }
            FieldKind::Repeated(_) => {
                Ok(Val::List(if let Slot::List(list) = slot { list } else { Vec::new() }))
            }
            FieldKind::Map { value, .. } => {
                let entries = if let Slot::Map(entries) = slot { entries } else { Vec::new() };
                self.map(value, entries)
            }
        };
        value.map_err(|refusal| refusal.within(&field.proto_name))
    }

    /// The value in a slot; of an empty slot, protobuf's default.
    pub(super) fn value(&mut self, shape: &Shape, slot: Slot<'_>) -> Read<Val> {
        match shape {
            Shape::Scalar(Scalar::String) => {
                let text = slot.text();
                self.budget.take(text.len())?;
                Ok(Val::String(text.to_owned()))
            }
            Shape::Scalar(Scalar::Char) => one_char(slot.text()),
            Shape::Scalar(scalar) => scalar.number(slot.number()).map_err(Refusal::here),
            Shape::Bytes => {
                let bytes = slot.bytes();
                self.budget.take_many::<Val>(bytes.len())?;
                Ok(Val::List(bytes.iter().copied().map(Val::U8).collect()))
            }
            Shape::Enum(plan) => self.enumerated(plan, low(slot.number()).cast_signed()),
            Shape::Message(plan) => self.message(plan, &slot.into_parts()),
        }
    }

    fn enumerated(&mut self, plan: &EnumPlan, number: i32) -> Read<Val> {
        let Some(name) = plan.name_of(number) else {
            return Err(Refusal::here(if number == 0 {
                "must be set".to_owned()
            } else {
                format!("{number} is none of its values")
            }));
        };
        self.budget.take(name.len())?;
        Ok(Val::Enum(name.to_owned()))
    }

    /// The entries in the order of their keys, the last of equal ones.
    fn map(&mut self, shape: &Shape, mut entries: Vec<Entry<'_>>) -> Read<Val> {
        // What a stable sort may need, and the list that is made.
        self.budget.take_many::<Entry<'_>>(entries.len() / 2)?;
        self.budget.take_many::<(Val, Val)>(entries.len())?;
        let mut values: Vec<(Val, Val)> = Vec::with_capacity(entries.len());
        entries.reverse();
        entries.sort_by(|(left, _), (right, _)| key::compare(left, right));
        for (key, slot) in entries {
            let read = match values.last() {
                Some((last, _)) if key::compare(last, &key).is_eq() => {
                    skim::discarded(Some(shape), &slot, self.depth).map(|()| None)
                }
                _ => self.value(shape, slot).map(Some),
            };
            match read {
                Ok(Some(value)) => values.push((key, value)),
                Ok(None) => {}
                Err(refusal) => return Err(refusal.within(&key::subscript(&key))),
            }
        }
        Ok(Val::Map(values))
    }

    pub(super) fn boxed(&mut self, shape: &Shape, slot: Slot<'_>) -> Read<Box<Val>> {
        self.budget.take_many::<Val>(1)?;
        Ok(Box::new(self.value(shape, slot)?))
    }
}

/// Whether a field that is not there has no value to stand for it. (A `char` has none either, but
/// there the empty text that protobuf puts in its place is refused.)
fn is_required(shape: &Shape) -> bool {
    match shape {
        Shape::Scalar(_) | Shape::Bytes => false,
        Shape::Enum(_) => true,
        Shape::Message(plan) => !matches!(plan.body, Body::Flags(_)),
    }
}

fn one_char(text: &str) -> Read<Val> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) => Ok(Val::Char(only)),
        _ => Err(Refusal::here("must be exactly one Unicode scalar value")),
    }
}
