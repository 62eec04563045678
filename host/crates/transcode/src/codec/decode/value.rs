//! The values that fields and their shapes stand for, once all is read.

use wasmtime::component::Val;

use super::{Decoder, Make, Read, make::Value};
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

impl<M: Make> Decoder<'_, M> {
    /// A whole field, its presence checked.
    pub(super) fn field(&mut self, field: &FieldPlan, slot: Slot<'_, M>) -> Read<M> {
        let value = match &field.kind {
            FieldKind::Singular(shape) if slot.is_absent() && is_required(shape) => {
                Err(Refusal::here("must be set"))
            }
            FieldKind::Singular(shape) => self.value(shape, slot),
            FieldKind::Optional(_) if slot.is_absent() => Ok(M::of(Value::Option(None))),
            FieldKind::Optional(shape) => {
                self.boxed(shape, slot).map(|value| M::of(Value::Option(Some(value))))
            }
            FieldKind::Repeated(_) => {
                let list = if let Slot::List(list) = slot { list } else { Vec::new() };
                Ok(M::of(Value::List(list)))
            }
            FieldKind::Map { value, .. } => {
                let entries = if let Slot::Map(entries) = slot { entries } else { Vec::new() };
                self.map(value, entries)
            }
        };
        value.map_err(|refusal| refusal.within(&field.proto_name))
    }

    /// The value in a slot; of an empty slot, protobuf's default.
    pub(super) fn value(&mut self, shape: &Shape, slot: Slot<'_, M>) -> Read<M> {
        match shape {
            Shape::Scalar(scalar) => self.scalar(*scalar, &slot),
            Shape::Bytes => Ok(M::of(Value::List(M::bytes(slot.bytes(), self.budget)?))),
            Shape::Enum(plan) => self.enumerated(plan, low(slot.number()).cast_signed()),
            Shape::Message(plan) => self.message(plan, &slot.into_parts()),
        }
    }

    /// A value of a scalar type, whatever the decoder makes of others.
    pub(super) fn scalar<T: Make>(&mut self, scalar: Scalar, slot: &Slot<'_, M>) -> Read<T> {
        Ok(T::of(match scalar {
            Scalar::String => Value::String(T::text(slot.text(), self.budget)?),
            Scalar::Char => Value::Plain(one_char(slot.text())?),
            scalar => Value::Plain(scalar.number(slot.number()).map_err(Refusal::here)?),
        }))
    }

    fn enumerated(&mut self, plan: &EnumPlan, number: i32) -> Read<M> {
        let Some(name) = plan.name_of(number) else {
            return Err(Refusal::here(if number == 0 {
                "must be set".to_owned()
            } else {
                format!("{number} is none of its values")
            }));
        };
        Ok(M::of(Value::Enum(M::text(name, self.budget)?)))
    }

    /// The entries in the order of their keys, the last of equal ones.
    fn map(&mut self, shape: &Shape, mut entries: Vec<Entry<'_, M>>) -> Read<M> {
        // What a stable sort may need, and the list that is made.
        self.budget.take_many::<Entry<'_, M>>(entries.len() / 2)?;
        self.budget.take_many::<(Val, M)>(entries.len())?;
        let mut values: Vec<(Val, M)> = Vec::with_capacity(entries.len());
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
        Ok(M::of(Value::Map(values)))
    }

    pub(super) fn boxed(&mut self, shape: &Shape, slot: Slot<'_, M>) -> Read<Box<M>> {
        self.budget.take_many::<M>(1)?;
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
