//! From a request's bytes to the values of a function's parameters.
//!
//! Every message is read in one walk that keeps slices of the input; values are made once it is
//! known which occurrences count. So a message that came in parts costs no more than a whole one,
//! and what a later occurrence replaces is never turned into a value.

use wasmtime::component::Val;

use super::{
    budget::CopyBudget,
    key,
    scalar::{WireKind, low},
    skim,
    slot::{Parts, Slot, occurrence},
    violation::Refusal,
    wire::{MAX_DEPTH, Malformed, Raw, Reader},
};
use crate::plan::{Body, CasePlan, EnumPlan, FieldKind, FieldPlan, MessagePlan, Scalar, Shape};

type Read<T> = Result<T, Refusal>;

pub(super) struct Decoder<'b> {
    budget: &'b mut CopyBudget,
    /// Messages that are open around the one being read.
    depth: usize,
}

impl<'b> Decoder<'b> {
    pub(super) fn new(budget: &'b mut CopyBudget) -> Self {
        Self { budget, depth: 0 }
    }

    /// The values of the parameters, or of any other body the one value that it stands for.
    pub(super) fn parameters(&mut self, plan: &MessagePlan, bytes: &[u8]) -> Read<Vec<Val>> {
        let parts = Parts::of(bytes);
        if let Body::Fields(fields) = &plan.body {
            return self.fields(plan, fields, &parts);
        }
        self.budget.take_many::<Val>(1)?;
        Ok(vec![self.body(plan, &parts)?])
    }

    fn message(&mut self, plan: &MessagePlan, parts: &Parts<'_>) -> Read<Val> {
        if self.depth == MAX_DEPTH {
            return Err(Malformed::Depth.into());
        }
        self.depth += 1;
        let value = self.body(plan, parts);
        self.depth -= 1;
        value
    }

    fn body(&mut self, plan: &MessagePlan, parts: &Parts<'_>) -> Read<Val> {
        match &plan.body {
            Body::Fields(fields) | Body::Tuple(fields) => {
                Ok(Val::Tuple(self.fields(plan, fields, parts)?))
            }
            Body::Record(fields) => self.record(plan, fields, parts),
            Body::Flags(fields) => self.flags(plan, fields, parts),
            Body::Variant(cases) => {
                let (case, slot) = self.oneof(plan, |at| cases.get(at), parts)?;
                self.budget.take(case.wit_name.len())?;
                Ok(Val::Variant(case.wit_name.clone(), self.payload(case, slot)?))
            }
            Body::Result { ok, error } => {
                let cases = [ok, error];
                let (case, slot) = self.oneof(plan, |at| cases.get(at).copied(), parts)?;
                let is_ok = case.number == ok.number;
                let payload = self.payload(case, slot)?;
                Ok(Val::Result(if is_ok { Ok(payload) } else { Err(payload) }))
            }
            Body::Wrapper(field) => {
                let mut slots = self.slots(plan, std::slice::from_ref(field), parts)?.into_iter();
                self.field(field, slots.next().unwrap_or_default())
            }
        }
    }

    fn fields(
        &mut self,
        plan: &MessagePlan,
        fields: &[FieldPlan],
        parts: &Parts<'_>,
    ) -> Read<Vec<Val>> {
        let slots = self.slots(plan, fields, parts)?;
        self.budget.take_many::<Val>(fields.len())?;
        let mut values = Vec::with_capacity(fields.len());
        for (field, slot) in fields.iter().zip(slots) {
            values.push(self.field(field, slot)?);
        }
        Ok(values)
    }

    fn record(&mut self, plan: &MessagePlan, fields: &[FieldPlan], parts: &Parts<'_>) -> Read<Val> {
        let slots = self.slots(plan, fields, parts)?;
        self.budget.take_many::<(String, Val)>(fields.len())?;
        let mut entries = Vec::with_capacity(fields.len());
        for (field, slot) in fields.iter().zip(slots) {
            self.budget.take(field.wit_name.len())?;
            entries.push((field.wit_name.clone(), self.field(field, slot)?));
        }
        Ok(Val::Record(entries))
    }

    fn flags(&mut self, plan: &MessagePlan, fields: &[FieldPlan], parts: &Parts<'_>) -> Read<Val> {
        let slots = self.slots(plan, fields, parts)?;
        let set = |slot: &Slot<'_>| slot.number() != 0;
        let count = slots.iter().filter(|slot| set(slot)).count();
        self.budget.take_many::<String>(count)?;
        let mut names = Vec::with_capacity(count);
        for (field, _) in fields.iter().zip(slots).filter(|(_, slot)| set(slot)) {
            self.budget.take(field.wit_name.len())?;
            names.push(field.wit_name.clone());
        }
        Ok(Val::Flags(names))
    }

    /// What was read of every field, in the order of the plan.
    fn slots<'a>(
        &mut self,
        plan: &MessagePlan,
        fields: &[FieldPlan],
        parts: &Parts<'a>,
    ) -> Read<Vec<Slot<'a>>> {
        let mut slots: Vec<Slot<'a>> = Vec::with_capacity(fields.len());
        slots.resize_with(fields.len(), Slot::default);
        for part in parts.iter() {
            let mut reader = Reader::new(part);
            while let Some((number, raw)) = reader.field()? {
                let Some(at) = plan.position(number) else { continue };
                if let (Some(field), Some(slot)) = (fields.get(at), slots.get_mut(at)) {
                    self.absorb(field, slot, raw, &reader)?;
                }
            }
        }
        Ok(slots)
    }

    /// The case that counts, the last one, with all that was read of it since another one stood.
    fn oneof<'a, 'p>(
        &mut self,
        plan: &MessagePlan,
        case_at: impl Fn(usize) -> Option<&'p CasePlan>,
        parts: &Parts<'a>,
    ) -> Read<(&'p CasePlan, Slot<'a>)> {
        let mut chosen: Option<(usize, &CasePlan, Slot<'a>)> = None;
        for part in parts.iter() {
            let mut reader = Reader::new(part);
            while let Some((number, raw)) = reader.field()? {
                let Some(at) = plan.position(number) else { continue };
                let Some(case) = case_at(at) else { continue };
                let within = |refusal: Refusal| refusal.within(&case.proto_name);
                let Some(new) = occurrence_of(case, raw).map_err(within)? else { continue };
                match &mut chosen {
                    Some((same, _, slot)) if *same == at => self.replace(slot, new)?,
                    _ => {
                        if let Some((_, case, slot)) = chosen.replace((at, case, new)) {
                            skim::discarded(case.payload.as_ref(), &slot, self.depth)
                                .map_err(|refusal| refusal.within(&case.proto_name))?;
                        }
                    }
                }
            }
        }
        chosen
            .map(|(_, case, slot)| (case, slot))
            .ok_or_else(|| Refusal::here("one of its cases must be set, to one that is known"))
    }

    fn payload(&mut self, case: &CasePlan, slot: Slot<'_>) -> Read<Option<Box<Val>>> {
        let within = |refusal: Refusal| refusal.within(&case.proto_name);
        match &case.payload {
            Some(shape) => self.boxed(shape, slot).map(Some).map_err(within),
            None => skim::unknown_message(&slot).map(|()| None).map_err(within),
        }
    }

    fn boxed(&mut self, shape: &Shape, slot: Slot<'_>) -> Read<Box<Val>> {
        self.budget.take_many::<Val>(1)?;
        Ok(Box::new(self.value(shape, slot)?))
    }

    /// Takes one occurrence of a field into its slot.
    fn absorb<'a>(
        &mut self,
        field: &FieldPlan,
        slot: &mut Slot<'a>,
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
    fn replace<'a>(&mut self, slot: &mut Slot<'a>, new: Slot<'a>) -> Read<()> {
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
        list: &mut Vec<Val>,
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
        list: &mut Vec<Val>,
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
    fn entry(&mut self, key: Scalar, value: &Shape, bytes: &[u8]) -> Read<(Val, Val)> {
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
        let read = self.value(&key_shape, key_slot).map_err(|refusal| refusal.within("key"))?;
        match self.value(value, value_slot) {
            Ok(value) => Ok((read, value)),
            Err(refusal) => Err(refusal.within(&key::subscript(&read))),
        }
    }

    /// A whole field, its presence checked.
    fn field(&mut self, field: &FieldPlan, slot: Slot<'_>) -> Read<Val> {
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
            FieldKind::Map { .. } => {
                let entries = if let Slot::Map(entries) = slot { entries } else { Vec::new() };
                self.last_of_equal_keys(entries).map(Val::Map)
            }
        };
        value.map_err(|refusal| refusal.within(&field.proto_name))
    }

    /// The value in a slot; of an empty slot, protobuf's default.
    fn value(&mut self, shape: &Shape, slot: Slot<'_>) -> Read<Val> {
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

    /// Sorts by key and keeps the last of equal ones.
    fn last_of_equal_keys(&mut self, mut entries: Vec<(Val, Val)>) -> Read<Vec<(Val, Val)>> {
        // What a stable sort may need beside the list.
        self.budget.take_many::<(Val, Val)>(entries.len() / 2)?;
        entries.reverse();
        entries.sort_by(|(left, _), (right, _)| key::compare(left, right));
        entries.dedup_by(|(later, _), (kept, _)| key::compare(later, kept).is_eq());
        Ok(entries)
    }
}

/// One occurrence of a case; a case without payload is a message whose fields do not matter.
fn occurrence_of<'a>(case: &CasePlan, raw: Raw<'a>) -> Read<Option<Slot<'a>>> {
    match (&case.payload, raw) {
        (Some(shape), raw) => occurrence(shape, raw),
        (None, Raw::Bytes(bytes)) => Ok(Some(Slot::message(bytes))),
        (None, _) => Ok(None),
    }
}

/// How the numbers of a packed field lie; none for what is never packed.
pub(super) fn packed_kind(shape: &Shape) -> Option<WireKind> {
    match shape {
        Shape::Scalar(scalar) => Some(scalar.wire_kind()).filter(|kind| *kind != WireKind::Text),
        Shape::Enum(_) => Some(WireKind::Varint),
        Shape::Bytes | Shape::Message(_) => None,
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
