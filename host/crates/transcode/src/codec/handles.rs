//! Handles of resources in messages: where they stand, and who knows what they lead to.

use roadstead_domain::Fault;
use wasmtime::component::ResourceAny;

use super::{
    EncodeError,
    slot::Parts,
    violation::Refusal,
    wire::{MAX_DEPTH, Raw, Reader},
};
use crate::plan::{
    Body, CasePlan, FieldKind, FieldPlan, HandlePlan, MessagePlan, MethodPlan, Shape,
};

/// Knows the resources behind handles.
pub trait Handles: Send {
    /// The resource behind the id of a request's handle. A handle that is owned is given away.
    ///
    /// # Errors
    /// The fault that the call ends in.
    fn resource(&mut self, handle: &HandlePlan, id: &[u8]) -> Result<ResourceAny, Fault>;

    /// The id of a new handle, of a resource that a function returned.
    ///
    /// # Errors
    /// [`EncodeError`], in which the call ends.
    fn id(&mut self, handle: &HandlePlan, resource: ResourceAny) -> Result<Vec<u8>, EncodeError>;
}

/// Where nothing lives on between calls.
#[derive(Debug, Clone, Copy)]
pub struct NoHandles;

impl Handles for NoHandles {
    fn resource(&mut self, _: &HandlePlan, _: &[u8]) -> Result<ResourceAny, Fault> {
        Err(Fault::NoSuchHandle)
    }

    fn id(&mut self, _: &HandlePlan, _: ResourceAny) -> Result<Vec<u8>, EncodeError> {
        Err(EncodeError::Mismatch("a handle where nothing lives on"))
    }
}

/// The id in a handle's message; what is not there is empty.
pub(super) fn id<'a>(handle: &HandlePlan, parts: &Parts<'a>) -> Result<&'a [u8], Refusal> {
    let mut id: &[u8] = &[];
    for part in parts.iter() {
        let mut reader = Reader::new(part);
        while let Some((number, raw)) = reader.field()? {
            if let (true, Raw::Bytes(bytes)) = (number == handle.number, raw) {
                id = bytes;
            }
        }
    }
    Ok(id)
}

/// The handle that says where a call runs, found without making any value: the first one in the
/// order of the parameters and of the fields in them, where each stands for the last time.
///
/// It is a hint, for which no more than [`LOOKED_AT`] fields are looked at: whether the request is valid, and whether all its handles go together, is for
/// decoding to say. None where there is no handle.
pub fn first<'p, 'a>(
    method: &'p MethodPlan,
    request: &'a [u8],
) -> Option<(&'p HandlePlan, &'a [u8])> {
    Search { left: LOOKED_AT }.in_message(&method.request, request, 0)
}

/// Fields among which the handle must stand to be found. Writers put fields in the order of their
/// numbers, and `self` is the first; whoever sends others ahead of it is not worth reading all.
const LOOKED_AT: usize = 4096;

/// Bytes of a handle's message, beyond which it is none of ours.
const HANDLE: usize = 1 << 10;

struct Search {
    left: usize,
}

type Found<'p, 'a> = Option<(&'p HandlePlan, &'a [u8])>;

impl Search {
    /// The next field, while there is patience for it.
    fn field<'a>(&mut self, reader: &mut Reader<'a>) -> Option<(u32, Raw<'a>)> {
        self.left = self.left.checked_sub(1)?;
        reader.field().ok().flatten()
    }

    fn in_message<'p, 'a>(
        &mut self,
        plan: &'p MessagePlan,
        bytes: &'a [u8],
        depth: usize,
    ) -> Found<'p, 'a> {
        if !plan.holds_handles() || MAX_DEPTH <= depth {
            return None;
        }
        let mut best: Option<(usize, (&HandlePlan, &[u8]))> = None;
        let mut reader = Reader::new(bytes);
        if let Body::Handle(handle) = &plan.body {
            let short = bytes.len() <= HANDLE;
            return short
                .then(|| id(handle, &Parts::of(bytes)).ok())
                .flatten()
                .map(|id| (handle, id));
        }
        while let Some((number, raw)) = self.field(&mut reader) {
            let Some(at) = plan.position(number) else { continue };
            let (found, replaces) = match member(&plan.body, at) {
                Member::Field(field) => {
                    let later =
                        matches!(field.kind, FieldKind::Singular(_) | FieldKind::Optional(_));
                    (self.in_field(field, raw, depth), later)
                }
                // Of a oneof the last case counts, whether there is a handle in it or not.
                Member::Case(case) => {
                    best = None;
                    (case.payload.as_ref().and_then(|shape| self.in_shape(shape, raw, depth)), true)
                }
                Member::Nothing => continue,
            };
            let Some(found) = found else { continue };
            let goes_first = |known: usize| at < known || (at == known && replaces);
            if best.is_none_or(|(known, _)| goes_first(known)) {
                best = Some((at, found));
            }
        }
        best.map(|(_, found)| found)
    }

    fn in_field<'p, 'a>(
        &mut self,
        field: &'p FieldPlan,
        raw: Raw<'a>,
        depth: usize,
    ) -> Found<'p, 'a> {
        let FieldKind::Map { value, .. } = &field.kind else {
            return self.in_shape(field.kind.shape(), raw, depth);
        };
        let Raw::Bytes(entry) = raw else { return None };
        let mut reader = Reader::new(entry);
        let mut found = None;
        while let Some((number, raw)) = self.field(&mut reader) {
            if number == 2 {
                found = self.in_shape(value, raw, depth + 1);
            }
        }
        found
    }

    fn in_shape<'p, 'a>(&mut self, shape: &'p Shape, raw: Raw<'a>, depth: usize) -> Found<'p, 'a> {
        match (shape, raw) {
            (Shape::Message(plan), Raw::Bytes(bytes)) => self.in_message(plan, bytes, depth + 1),
            _ => None,
        }
    }
}

enum Member<'p> {
    Field(&'p FieldPlan),
    Case(&'p CasePlan),
    Nothing,
}

fn member(body: &Body, at: usize) -> Member<'_> {
    match body {
        Body::Fields(fields) | Body::Record(fields) | Body::Tuple(fields) => {
            fields.get(at).map_or(Member::Nothing, Member::Field)
        }
        Body::Variant(cases) => cases.get(at).map_or(Member::Nothing, Member::Case),
        Body::Result { ok, .. } if at == 0 => Member::Case(ok),
        Body::Result { error, .. } => Member::Case(error),
        Body::Wrapper(field) => Member::Field(field),
        Body::Flags(_) | Body::Handle(_) => Member::Nothing,
    }
}
