//! How many times wasmtime's own count lifted values can really take on the host.
//!
//! wasmtime counts a flag by the letters of its name; on the host each flag that is set is a string
//! of its own. All other values take about what they count.

use std::{collections::HashSet, sync::Arc};

use roadstead_transcode::{Body, FieldKind, FieldPlan, MessagePlan, ResponsePlan, Shape};
use wasmtime::component::Val;

/// The least that the letters of a name take on the heap.
const ALLOCATION: usize = 16;

#[derive(Default)]
struct Walk {
    seen: HashSet<*const MessagePlan>,
    heaviest: usize,
}

/// The factor for a response of this kind.
pub(crate) fn of_response(response: &ResponsePlan) -> usize {
    let mut walk = Walk { heaviest: 1, ..Walk::default() };
    match response {
        ResponsePlan::Empty => {}
        ResponsePlan::Value(field) => walk.field(field),
        ResponsePlan::Result(message) => walk.message(message),
    }
    walk.heaviest
}

impl Walk {
    fn field(&mut self, field: &FieldPlan) {
        let (FieldKind::Singular(shape)
        | FieldKind::Optional(shape)
        | FieldKind::Repeated(shape)
        | FieldKind::Map { value: shape, .. }) = &field.kind;
        self.shape(shape);
    }

    fn shape(&mut self, shape: &Shape) {
        if let Shape::Message(message) = shape {
            self.message(message);
        }
    }

    fn message(&mut self, message: &Arc<MessagePlan>) {
        if !self.seen.insert(Arc::as_ptr(message)) {
            return;
        }
        match &message.body {
            Body::Fields(fields) | Body::Record(fields) | Body::Tuple(fields) => {
                fields.iter().for_each(|field| self.field(field));
            }
            Body::Flags(flags) => self.heaviest = self.heaviest.max(of_flags(flags)),
            Body::Variant(cases) => {
                cases.iter().filter_map(|case| case.payload.as_ref()).for_each(|s| self.shape(s));
            }
            Body::Result { ok, error } => {
                [ok, error].iter().filter_map(|c| c.payload.as_ref()).for_each(|s| self.shape(s));
            }
            Body::Wrapper(field) => self.field(field),
        }
    }
}

/// As if all names were as short as the shortest.
fn of_flags(flags: &[FieldPlan]) -> usize {
    let shortest = flags.iter().map(|flag| flag.wit_name.len()).min().unwrap_or(0);
    let each = size_of::<String>() + shortest.max(ALLOCATION);
    let taken = size_of::<Val>() + flags.len() * each;
    taken.div_ceil(size_of::<Val>() + flags.len() * shortest)
}
