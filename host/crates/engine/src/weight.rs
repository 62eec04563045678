//! How many times wasmtime's own count lifted values can really take on the host.
//!
//! wasmtime counts a flag by the letters of its name; on the host each flag that is set is a string
//! of its own. That matters where flags stand in lists: else there are few. All other values take
//! about what they count.

use std::{collections::HashSet, sync::Arc};

use roadstead_transcode::{
    Body, FieldKind, FieldPlan, MessagePlan, OutputPlan, ResponsePlan, Shape,
};
use wasmtime::component::{Type, Val};

/// The least that the letters of a name take on the heap.
const ALLOCATION: usize = 16;

#[derive(Default)]
struct Walk {
    /// With whether they were seen in a list.
    seen: HashSet<(*const MessagePlan, bool)>,
    in_list: bool,
    heaviest: usize,
}

/// The factor for a response of this kind.
pub(crate) fn of_response(response: &ResponsePlan) -> usize {
    let mut walk = Walk { heaviest: 1, ..Walk::default() };
    match response {
        ResponsePlan::Empty => {}
        ResponsePlan::Value(field) => walk.field(field),
        ResponsePlan::Result(message) => walk.message(message),
        ResponsePlan::Stream(OutputPlan::Items(field)) => walk.field(field),
        ResponsePlan::Stream(
            OutputPlan::OrError { item, error } | OutputPlan::ThenError { item, error },
        ) => [item, error].iter().filter_map(|c| c.payload.as_ref()).for_each(|s| walk.shape(s)),
    }
    walk.heaviest
}

impl Walk {
    fn field(&mut self, field: &FieldPlan) {
        match &field.kind {
            FieldKind::Singular(shape) | FieldKind::Optional(shape) => self.shape(shape),
            FieldKind::Repeated(shape) | FieldKind::Map { value: shape, .. } => {
                let around = std::mem::replace(&mut self.in_list, true);
                self.shape(shape);
                self.in_list = around;
            }
        }
    }

    fn shape(&mut self, shape: &Shape) {
        if let Shape::Message(message) = shape {
            self.message(message);
        }
    }

    fn message(&mut self, message: &Arc<MessagePlan>) {
        if !self.seen.insert((Arc::as_ptr(message), self.in_list)) {
            return;
        }
        match &message.body {
            Body::Fields(fields) | Body::Record(fields) | Body::Tuple(fields) => {
                fields.iter().for_each(|field| self.field(field));
            }
            Body::Flags(flags) if self.in_list => {
                self.heaviest = self.heaviest.max(of_flags(flags));
            }
            Body::Flags(_) => {}
            Body::Variant(cases) => {
                cases.iter().filter_map(|case| case.payload.as_ref()).for_each(|s| self.shape(s));
            }
            Body::Result { ok, error } => {
                [ok, error].iter().filter_map(|c| c.payload.as_ref()).for_each(|s| self.shape(s));
            }
            Body::Wrapper(field) => self.field(field),
            Body::Handle(_) => {}
        }
    }
}

/// The factor for values of a type as wasmtime knows it.
pub(crate) fn of_type(ty: &Type) -> usize {
    of_part(ty, false)
}

fn of_part(ty: &Type, in_list: bool) -> usize {
    let heaviest = |parts: &mut dyn Iterator<Item = Type>| {
        parts.map(|part| of_part(&part, in_list)).fold(1, usize::max)
    };
    match ty {
        Type::List(list) => of_part(&list.ty(), true),
        Type::FixedLengthList(list) => of_part(&list.ty(), true),
        Type::Map(map) => of_part(&map.key(), true).max(of_part(&map.value(), true)),
        Type::Record(record) => heaviest(&mut record.fields().map(|field| field.ty)),
        Type::Tuple(tuple) => heaviest(&mut tuple.types()),
        Type::Variant(variant) => heaviest(&mut variant.cases().filter_map(|case| case.ty)),
        Type::Option(option) => of_part(&option.ty(), in_list),
        Type::Result(result) => heaviest(&mut result.ok().into_iter().chain(result.err())),
        Type::Flags(flags) if in_list => of_names(flags.names().map(str::len)),
        _ => 1,
    }
}

/// As if all names were as short as the shortest.
fn of_flags(flags: &[FieldPlan]) -> usize {
    of_names(flags.iter().map(|flag| flag.wit_name.len()))
}

fn of_names(lengths: impl ExactSizeIterator<Item = usize>) -> usize {
    let count = lengths.len();
    let shortest = lengths.min().unwrap_or(0);
    let each = size_of::<String>() + shortest.max(ALLOCATION);
    let taken = size_of::<Val>() + count * each;
    taken.div_ceil(size_of::<Val>() + count * shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_count_where_they_stand_in_lists() {
        let field = |kind| FieldPlan {
            number: 1,
            wit_name: "f".to_owned(),
            proto_name: "f".to_owned(),
            kind,
        };
        let message =
            |name: &str, body| Shape::Message(Arc::new(MessagePlan::new(name.to_owned(), body)));
        let flag = field(FieldKind::Singular(Shape::Scalar(roadstead_transcode::Scalar::Bool)));
        let flags = message("flags", Body::Flags(vec![flag; 8]));
        let record = message("record", Body::Record(vec![field(FieldKind::Singular(flags))]));
        let alone = field(FieldKind::Singular(record.clone()));
        assert_eq!(of_response(&ResponsePlan::Value(alone.clone())), 1);
        let listed = field(FieldKind::Repeated(record));
        assert!(1 < of_response(&ResponsePlan::Value(listed.clone())));
        let both = message("both", Body::Tuple(vec![alone, listed]));
        let both = field(FieldKind::Optional(both));
        assert!(1 < of_response(&ResponsePlan::Value(both)));
    }
}
