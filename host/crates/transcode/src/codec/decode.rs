//! From a request's bytes to the values of a function's parameters, and from a response's to its
//! results.
//!
//! Every message is read in one walk that keeps slices of the input; values are made once it is
//! known which occurrences count. So a message that came in parts costs no more than a whole one,
//! and what a later occurrence replaces is never turned into a value.

mod absorb;
mod make;
mod stream;
mod value;

use std::marker::PhantomData;

use make::Value;
use wasmtime::component::Val;

pub(super) use self::{
    absorb::packed_kind,
    make::{Checked, Make},
};

use super::{
    budget::CopyBudget,
    handles::{self, Handles},
    skim,
    slot::{Parts, Slot, occurrence},
    violation::Refusal,
    wire::{MAX_DEPTH, Malformed, Raw, Reader},
};
use crate::plan::{Body, CasePlan, FieldPlan, MessagePlan, ResponsePlan};

type Read<T> = Result<T, Refusal>;

pub(super) struct Decoder<'b, M> {
    budget: &'b mut CopyBudget,
    handles: &'b mut dyn Handles,
    /// Messages that are open around the one being read.
    depth: usize,
    made: PhantomData<M>,
}

impl<'b, M: Make> Decoder<'b, M> {
    pub(super) fn new(budget: &'b mut CopyBudget, handles: &'b mut dyn Handles) -> Self {
        Self { budget, handles, depth: 0, made: PhantomData }
    }

    /// The values of the parameters, or of any other body the one value that it stands for.
    pub(super) fn parameters(&mut self, plan: &MessagePlan, bytes: &[u8]) -> Read<Vec<M>> {
        let parts = Parts::of(bytes);
        if let Body::Fields(fields) = &plan.body {
            return self.fields(plan, fields, &parts);
        }
        self.budget.take_many::<M>(1)?;
        Ok(vec![self.body(plan, &parts)?])
    }

    /// The values that a response stands for: none or one.
    pub(super) fn results(&mut self, plan: &ResponsePlan, bytes: &[u8]) -> Read<Vec<M>> {
        let parts = Parts::of(bytes);
        let result = match plan {
            ResponsePlan::Empty => {
                let mut reader = Reader::new(bytes);
                while reader.field()?.is_some() {}
                return Ok(Vec::new());
            }
            ResponsePlan::Stream(_) => return Err(Refusal::here("is one of a stream")),
            ResponsePlan::Result(message) => self.body(message, &parts)?,
            ResponsePlan::Value(field) => {
                let mut slot = Slot::default();
                let mut reader = Reader::new(bytes);
                while let Some((number, raw)) = reader.field()? {
                    if number == field.number {
                        self.absorb(field, &mut slot, raw, &reader)?;
                    }
                }
                self.field(field, slot)?
            }
        };
        self.budget.take_many::<M>(1)?;
        Ok(vec![result])
    }

    /// A message inside another one.
    fn message(&mut self, plan: &MessagePlan, parts: &Parts<'_>) -> Read<M> {
        if self.depth == MAX_DEPTH {
            return Err(Malformed::Depth.into());
        }
        self.depth += 1;
        let value = self.body(plan, parts);
        self.depth -= 1;
        value
    }

    fn body(&mut self, plan: &MessagePlan, parts: &Parts<'_>) -> Read<M> {
        match &plan.body {
            Body::Fields(fields) | Body::Tuple(fields) => {
                Ok(M::of(Value::Tuple(self.fields(plan, fields, parts)?)))
            }
            Body::Record(fields) => self.record(plan, fields, parts),
            Body::Flags(fields) => self.flags(plan, fields, parts),
            Body::Variant(cases) => {
                let (case, slot) = self.oneof(plan, |at| cases.get(at), parts)?;
                let name = M::text(&case.wit_name, self.budget)?;
                Ok(M::of(Value::Variant(name, self.payload(case, slot)?)))
            }
            Body::Result { ok, error } => {
                let cases = [ok, error];
                let (case, slot) = self.oneof(plan, |at| cases.get(at).copied(), parts)?;
                let is_ok = case.number == ok.number;
                let payload = self.payload(case, slot)?;
                Ok(M::of(Value::Result(if is_ok { Ok(payload) } else { Err(payload) })))
            }
            Body::Wrapper(field) => {
                let mut slots = self.slots(plan, std::slice::from_ref(field), parts)?.into_iter();
                self.field(field, slots.next().unwrap_or_default())
            }
            Body::Handle(handle) => {
                let id = handles::id(handle, parts)?;
                let resource = self.handles.resource(handle, id).map_err(Refusal::Handle)?;
                Ok(M::of(Value::Plain(Val::Resource(resource))))
            }
        }
    }

    fn fields(
        &mut self,
        plan: &MessagePlan,
        fields: &[FieldPlan],
        parts: &Parts<'_>,
    ) -> Read<Vec<M>> {
        let slots = self.slots(plan, fields, parts)?;
        self.budget.take_many::<M>(fields.len())?;
        let mut values = Vec::with_capacity(fields.len());
        for (field, slot) in fields.iter().zip(slots) {
            values.push(self.field(field, slot)?);
        }
        Ok(values)
    }

    fn record(&mut self, plan: &MessagePlan, fields: &[FieldPlan], parts: &Parts<'_>) -> Read<M> {
        let slots = self.slots(plan, fields, parts)?;
        self.budget.take_many::<(M::Text, M)>(fields.len())?;
        let mut entries = Vec::with_capacity(fields.len());
        for (field, slot) in fields.iter().zip(slots) {
            let name = M::text(&field.wit_name, self.budget)?;
            entries.push((name, self.field(field, slot)?));
        }
        Ok(M::of(Value::Record(entries)))
    }

    fn flags(&mut self, plan: &MessagePlan, fields: &[FieldPlan], parts: &Parts<'_>) -> Read<M> {
        let slots = self.slots(plan, fields, parts)?;
        let set = |slot: &Slot<'_, M>| slot.number() != 0;
        let count = slots.iter().filter(|slot| set(slot)).count();
        self.budget.take_many::<M::Text>(count)?;
        let mut names = Vec::with_capacity(count);
        for (field, _) in fields.iter().zip(slots).filter(|(_, slot)| set(slot)) {
            names.push(M::text(&field.wit_name, self.budget)?);
        }
        Ok(M::of(Value::Flags(names)))
    }

    /// What was read of every field, in the order of the plan.
    fn slots<'a>(
        &mut self,
        plan: &MessagePlan,
        fields: &[FieldPlan],
        parts: &Parts<'a>,
    ) -> Read<Vec<Slot<'a, M>>> {
        M::places(fields.len(), self.budget)?;
        let mut slots: Vec<Slot<'a, M>> = Vec::with_capacity(fields.len());
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
    ) -> Read<(&'p CasePlan, Slot<'a, M>)> {
        let mut chosen: Option<(usize, &CasePlan, Slot<'a, M>)> = None;
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

    fn payload(&mut self, case: &CasePlan, slot: Slot<'_, M>) -> Read<Option<Box<M>>> {
        let within = |refusal: Refusal| refusal.within(&case.proto_name);
        match &case.payload {
            Some(shape) => self.boxed(shape, slot).map(Some).map_err(within),
            None => skim::unknown_message(&slot).map(|()| None).map_err(within),
        }
    }
}

/// One occurrence of a case; a case without payload is a message whose fields do not matter.
fn occurrence_of<'a, M>(case: &CasePlan, raw: Raw<'a>) -> Read<Option<Slot<'a, M>>> {
    match (&case.payload, raw) {
        (Some(shape), raw) => occurrence(shape, raw),
        (None, Raw::Bytes(bytes)) => Ok(Some(Slot::message(bytes))),
        (None, _) => Ok(None),
    }
}
