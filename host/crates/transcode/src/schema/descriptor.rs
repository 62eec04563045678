//! Descriptors of fields, messages and enums.

use prost_types::{
    DescriptorProto, FieldDescriptorProto, MessageOptions, OneofDescriptorProto,
    descriptor_proto::ReservedRange,
    enum_descriptor_proto::EnumReservedRange,
    field_descriptor_proto::{Label, Type},
};

use super::ledger::Place;
use crate::{
    lock::Member,
    names,
    plan::{FieldKind, Scalar, Shape},
};

pub(super) const EMPTY: &str = "google.protobuf.Empty";

/// A field that is not in a oneof. A map brings the message of its entries along.
pub(super) fn field(
    message: &mut DescriptorProto,
    message_name: &str,
    place: &Place,
    kind: &FieldKind,
) {
    let field = match kind {
        FieldKind::Singular(shape) => of_shape(place, shape),
        FieldKind::Optional(shape) => {
            FieldDescriptorProto { proto3_optional: Some(true), ..of_shape(place, shape) }
        }
        FieldKind::Repeated(shape) => {
            FieldDescriptorProto { label: Some(Label::Repeated.into()), ..of_shape(place, shape) }
        }
        FieldKind::Map { key, value } => {
            let entry = names::map_entry(&place.name);
            let mut field = of_message(place, &format!("{message_name}.{entry}"));
            field.label = Some(Label::Repeated.into());
            message.nested_type.push(map_entry(entry, *key, value));
            field
        }
    };
    message.field.push(field);
}

/// A case of the message's first oneof; without a shape it carries nothing.
pub(super) fn case(message: &mut DescriptorProto, place: &Place, shape: Option<&Shape>) {
    let field = match shape {
        Some(shape) => of_shape(place, shape),
        None => of_message(place, EMPTY),
    };
    message.field.push(FieldDescriptorProto { oneof_index: Some(0), ..field });
}

pub(super) fn oneof(name: &str) -> OneofDescriptorProto {
    OneofDescriptorProto { name: Some(name.to_owned()), options: None }
}

/// Gives every `optional` field the oneof of its own that reflection knows it by.
pub(super) fn add_synthetic_oneofs(message: &mut DescriptorProto) {
    for field in message.field.iter_mut().filter(|field| field.proto3_optional()) {
        field.oneof_index = i32::try_from(message.oneof_decl.len()).ok();
        message.oneof_decl.push(oneof(&format!("_{}", field.name())));
    }
}

/// Reserves what was given out and is gone, adjacent numbers as one range.
pub(super) fn reserve_fields(message: &mut DescriptorProto, removed: &[&Member]) {
    for (first, last) in ranges(removed) {
        let range = ReservedRange { start: Some(first), end: Some(last.saturating_add(1)) };
        message.reserved_range.push(range);
    }
    message.reserved_name = removed.iter().map(|member| member.name.clone()).collect();
}

pub(super) fn reserved_values(removed: &[&Member]) -> (Vec<EnumReservedRange>, Vec<String>) {
    let range = |(first, last)| EnumReservedRange { start: Some(first), end: Some(last) };
    let names = removed.iter().map(|member| member.name.clone()).collect();
    (ranges(removed).into_iter().map(range).collect(), names)
}

fn ranges(members: &[&Member]) -> Vec<(i32, i32)> {
    let mut numbers: Vec<i32> =
        members.iter().filter_map(|member| i32::try_from(member.number).ok()).collect();
    numbers.sort_unstable();
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.saturating_add(1) == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

fn map_entry(name: String, key: Scalar, value: &Shape) -> DescriptorProto {
    let place = |number, name: &str| Place { number, name: name.to_owned() };
    DescriptorProto {
        name: Some(name),
        field: vec![
            of_shape(&place(1, "key"), &Shape::Scalar(key)),
            of_shape(&place(2, "value"), value),
        ],
        options: Some(MessageOptions { map_entry: Some(true), ..Default::default() }),
        ..Default::default()
    }
}

fn of_shape(place: &Place, shape: &Shape) -> FieldDescriptorProto {
    match shape {
        Shape::Scalar(scalar) => plain(place, scalar_type(*scalar)),
        Shape::Bytes => plain(place, Type::Bytes),
        Shape::Message(plan) => of_message(place, &plan.name),
        Shape::Enum(plan) => FieldDescriptorProto {
            type_name: Some(format!(".{}", plan.name)),
            ..plain(place, Type::Enum)
        },
    }
}

fn of_message(place: &Place, name: &str) -> FieldDescriptorProto {
    FieldDescriptorProto { type_name: Some(format!(".{name}")), ..plain(place, Type::Message) }
}

fn plain(place: &Place, r#type: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(place.name.clone()),
        number: i32::try_from(place.number).ok(),
        label: Some(Label::Optional.into()),
        r#type: Some(r#type.into()),
        json_name: Some(names::json_name(&place.name)),
        ..Default::default()
    }
}

fn scalar_type(scalar: Scalar) -> Type {
    match scalar {
        Scalar::Bool => Type::Bool,
        Scalar::U8 | Scalar::U16 | Scalar::U32 => Type::Uint32,
        Scalar::U64 => Type::Uint64,
        Scalar::S8 | Scalar::S16 | Scalar::S32 => Type::Sint32,
        Scalar::S64 => Type::Sint64,
        Scalar::F32 => Type::Float,
        Scalar::F64 => Type::Double,
        Scalar::Char | Scalar::String => Type::String,
    }
}
