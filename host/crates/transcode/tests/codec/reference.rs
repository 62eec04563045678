//! The same contract once more, slowly: through descriptors and `DynamicMessage`.

use std::collections::BTreeMap;

use prost_reflect::{
    DescriptorPool, DynamicMessage, MapKey, MessageDescriptor, ReflectMessage, Value,
};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, MessageOptions, OneofDescriptorProto,
    field_descriptor_proto::{Label, Type as ProtoType},
};
use roadstead_transcode::{
    Body, CasePlan, FieldKind, FieldPlan, MessagePlan, MethodPlan, Scalar, Shape,
};
use wasmtime::component::Val;

/// The descriptor of a method's request.
pub(crate) fn request_descriptor(plan: &MethodPlan) -> MessageDescriptor {
    let mut files = Files::default();
    files.message(&plan.request);
    let file = FileDescriptorProto {
        name: Some("test.proto".to_owned()),
        package: Some("test".to_owned()),
        dependency: vec!["google/protobuf/empty.proto".to_owned()],
        syntax: Some("proto3".to_owned()),
        message_type: files.messages.into_values().collect(),
        enum_type: files.enums.into_values().collect(),
        ..FileDescriptorProto::default()
    };
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_proto(file).unwrap();
    pool.get_message_by_name(&plan.request.name).unwrap()
}

#[derive(Default)]
struct Files {
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, EnumDescriptorProto>,
}

impl Files {
    fn message(&mut self, plan: &MessagePlan) {
        let mut message =
            DescriptorProto { name: Some(short(&plan.name)), ..DescriptorProto::default() };
        match &plan.body {
            Body::Fields(fields)
            | Body::Record(fields)
            | Body::Tuple(fields)
            | Body::Flags(fields) => {
                fields.iter().for_each(|field| self.field(&mut message, field));
            }
            Body::Wrapper(field) => self.field(&mut message, field),
            Body::Variant(cases) => self.oneof(&mut message, cases.iter()),
            Body::Result { ok, error } => self.oneof(&mut message, [ok, error].into_iter()),
            Body::Handle(_) => unreachable!("no random type holds one"),
        }
        // Oneofs that only mark presence must come after all others; here there are no others.
        self.messages.insert(plan.name.clone(), message);
    }

    fn oneof<'a>(
        &mut self,
        message: &mut DescriptorProto,
        cases: impl Iterator<Item = &'a CasePlan>,
    ) {
        message
            .oneof_decl
            .push(OneofDescriptorProto { name: Some("choice_of_it".to_owned()), options: None });
        for case in cases {
            let (kind, type_name) = match &case.payload {
                Some(shape) => self.shape(shape),
                None => (ProtoType::Message, Some(".google.protobuf.Empty".to_owned())),
            };
            message.field.push(FieldDescriptorProto {
                oneof_index: Some(0),
                ..field(case.number, &case.proto_name, kind, type_name)
            });
        }
    }

    fn field(&mut self, message: &mut DescriptorProto, plan: &FieldPlan) {
        let FieldPlan { number, proto_name: name, kind, .. } = plan;
        let made = match kind {
            FieldKind::Singular(shape) => {
                let (kind, type_name) = self.shape(shape);
                field(*number, name, kind, type_name)
            }
            FieldKind::Optional(shape) => {
                let (kind, type_name) = self.shape(shape);
                let oneof = i32::try_from(message.oneof_decl.len()).unwrap();
                message
                    .oneof_decl
                    .push(OneofDescriptorProto { name: Some(format!("_{name}")), options: None });
                FieldDescriptorProto {
                    oneof_index: Some(oneof),
                    proto3_optional: Some(true),
                    ..field(*number, name, kind, type_name)
                }
            }
            FieldKind::Repeated(shape) => {
                let (kind, type_name) = self.shape(shape);
                FieldDescriptorProto {
                    label: Some(Label::Repeated.into()),
                    ..field(*number, name, kind, type_name)
                }
            }
            FieldKind::Map { key, value } => {
                let entry = camel(name) + "Entry";
                let (key, _) = self.shape(&Shape::Scalar(*key));
                let (value, value_type) = self.shape(value);
                let type_name = format!(".test.{}.{entry}", message.name());
                message.nested_type.push(DescriptorProto {
                    name: Some(entry),
                    field: vec![field(1, "key", key, None), field(2, "value", value, value_type)],
                    options: Some(MessageOptions {
                        map_entry: Some(true),
                        ..MessageOptions::default()
                    }),
                    ..DescriptorProto::default()
                });
                FieldDescriptorProto {
                    label: Some(Label::Repeated.into()),
                    ..field(*number, name, ProtoType::Message, Some(type_name))
                }
            }
        };
        message.field.push(made);
    }

    fn shape(&mut self, shape: &Shape) -> (ProtoType, Option<String>) {
        match shape {
            Shape::Bytes => (ProtoType::Bytes, None),
            Shape::Message(plan) => {
                self.message(plan);
                (ProtoType::Message, Some(format!(".{}", plan.name)))
            }
            Shape::Enum(plan) => {
                let name = short(&plan.name);
                let value = |number: i32| EnumValueDescriptorProto {
                    name: Some(format!("{name}_{number}")),
                    number: Some(number),
                    options: None,
                };
                let numbers = plan.cases.iter().map(|(number, _)| *number);
                self.enums.insert(
                    plan.name.clone(),
                    EnumDescriptorProto {
                        name: Some(name.clone()),
                        value: std::iter::once(0).chain(numbers).map(value).collect(),
                        ..EnumDescriptorProto::default()
                    },
                );
                (ProtoType::Enum, Some(format!(".{}", plan.name)))
            }
            Shape::Scalar(scalar) => (
                match scalar {
                    Scalar::Bool => ProtoType::Bool,
                    Scalar::U8 | Scalar::U16 | Scalar::U32 => ProtoType::Uint32,
                    Scalar::U64 => ProtoType::Uint64,
                    Scalar::S8 | Scalar::S16 | Scalar::S32 => ProtoType::Sint32,
                    Scalar::S64 => ProtoType::Sint64,
                    Scalar::F32 => ProtoType::Float,
                    Scalar::F64 => ProtoType::Double,
                    Scalar::Char | Scalar::String => ProtoType::String,
                },
                None,
            ),
        }
    }
}

fn field(
    number: u32,
    name: &str,
    kind: ProtoType,
    type_name: Option<String>,
) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(i32::try_from(number).unwrap()),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name,
        json_name: Some(camel(name)),
        ..FieldDescriptorProto::default()
    }
}

fn short(full: &str) -> String {
    full.rsplit('.').next().unwrap().to_owned()
}

fn camel(name: &str) -> String {
    let capital = |word: &str| {
        let mut chars = word.chars();
        chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect::<String>()
    };
    name.split('_').map(capital).collect()
}

/// The values in a message, if it keeps to the contract.
pub(crate) fn read_fields(message: &DynamicMessage, fields: &[FieldPlan]) -> Option<Vec<Val>> {
    fields.iter().map(|field| read_field(message, field)).collect()
}

fn read_field(message: &DynamicMessage, field: &FieldPlan) -> Option<Val> {
    let value = message.get_field_by_number(field.number)?;
    let present = message.has_field_by_number(field.number);
    match &field.kind {
        FieldKind::Singular(Shape::Message(plan))
            if !present && !matches!(plan.body, Body::Flags(_)) =>
        {
            None
        }
        FieldKind::Singular(shape) => read(&value, shape),
        FieldKind::Optional(_) if !present => Some(Val::Option(None)),
        FieldKind::Optional(shape) => Some(Val::Option(Some(Box::new(read(&value, shape)?)))),
        FieldKind::Repeated(shape) => Some(Val::List(
            value.as_list()?.iter().map(|value| read(value, shape)).collect::<Option<_>>()?,
        )),
        FieldKind::Map { key, value: shape } => {
            let mut entries: Vec<_> = value.as_map()?.iter().collect();
            entries.sort_by(|(left, _), (right, _)| order(left).cmp(&order(right)));
            let entries = entries.into_iter().map(|(key_value, value)| {
                let key = read(&key_value.clone().into(), &Shape::Scalar(*key))?;
                Some((key, read(value, shape)?))
            });
            Some(Val::Map(entries.collect::<Option<_>>()?))
        }
    }
}

fn order(key: &MapKey) -> (i128, &str) {
    match key {
        MapKey::Bool(key) => (i128::from(*key), ""),
        MapKey::I32(key) => (i128::from(*key), ""),
        MapKey::I64(key) => (i128::from(*key), ""),
        MapKey::U32(key) => (i128::from(*key), ""),
        MapKey::U64(key) => (i128::from(*key), ""),
        MapKey::String(key) => (0, key),
    }
}

fn read(value: &Value, shape: &Shape) -> Option<Val> {
    Some(match (shape, value) {
        (Shape::Bytes, Value::Bytes(bytes)) => {
            Val::List(bytes.iter().map(|byte| Val::U8(*byte)).collect())
        }
        (Shape::Enum(plan), Value::EnumNumber(number)) => {
            let (_, name) = plan.cases.iter().find(|(known, _)| known == number)?;
            Val::Enum(name.clone())
        }
        (Shape::Message(plan), Value::Message(message)) => read_message(message, plan)?,
        (Shape::Scalar(scalar), value) => match (scalar, value) {
            (Scalar::Bool, Value::Bool(value)) => Val::Bool(*value),
            (Scalar::U8, Value::U32(value)) => Val::U8(u8::try_from(*value).ok()?),
            (Scalar::U16, Value::U32(value)) => Val::U16(u16::try_from(*value).ok()?),
            (Scalar::U32, Value::U32(value)) => Val::U32(*value),
            (Scalar::U64, Value::U64(value)) => Val::U64(*value),
            (Scalar::S8, Value::I32(value)) => Val::S8(i8::try_from(*value).ok()?),
            (Scalar::S16, Value::I32(value)) => Val::S16(i16::try_from(*value).ok()?),
            (Scalar::S32, Value::I32(value)) => Val::S32(*value),
            (Scalar::S64, Value::I64(value)) => Val::S64(*value),
            (Scalar::F32, Value::F32(value)) => Val::Float32(*value),
            (Scalar::F64, Value::F64(value)) => Val::Float64(*value),
            (Scalar::String, Value::String(text)) => Val::String(text.clone()),
            (Scalar::Char, Value::String(text)) => {
                let mut chars = text.chars();
                Val::Char(chars.next().filter(|_| chars.next().is_none())?)
            }
            _ => panic!("{value:?} for {scalar:?}"),
        },
        _ => panic!("{value:?} for {shape:?}"),
    })
}

fn read_message(message: &DynamicMessage, plan: &MessagePlan) -> Option<Val> {
    match &plan.body {
        Body::Fields(fields) | Body::Tuple(fields) => {
            Some(Val::Tuple(read_fields(message, fields)?))
        }
        Body::Record(fields) => Some(Val::Record(
            fields
                .iter()
                .map(|field| Some((field.wit_name.clone(), read_field(message, field)?)))
                .collect::<Option<_>>()?,
        )),
        Body::Flags(fields) => Some(Val::Flags(
            fields
                .iter()
                .filter(|field| {
                    message.get_field_by_number(field.number).unwrap().as_bool().unwrap()
                })
                .map(|field| field.wit_name.clone())
                .collect(),
        )),
        Body::Wrapper(field) => read_field(message, field),
        Body::Handle(_) => unreachable!("no random type holds one"),
        Body::Variant(cases) => {
            let case = cases.iter().find(|case| message.has_field_by_number(case.number))?;
            Some(Val::Variant(case.wit_name.clone(), read_payload(message, case)?))
        }
        Body::Result { ok, error } => {
            if message.has_field_by_number(ok.number) {
                Some(Val::Result(Ok(read_payload(message, ok)?)))
            } else if message.has_field_by_number(error.number) {
                Some(Val::Result(Err(read_payload(message, error)?)))
            } else {
                None
            }
        }
    }
}

fn read_payload(message: &DynamicMessage, case: &CasePlan) -> Option<Option<Box<Val>>> {
    Some(match &case.payload {
        None => None,
        Some(shape) => Some(Box::new(read(&*message.get_field_by_number(case.number)?, shape)?)),
    })
}

/// The message that holds the values.
pub(crate) fn write_fields(
    descriptor: MessageDescriptor,
    fields: &[FieldPlan],
    values: &[Val],
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor);
    for (field, value) in fields.iter().zip(values) {
        write_field(&mut message, field, value);
    }
    message
}

fn write_field(message: &mut DynamicMessage, field: &FieldPlan, value: &Val) {
    let descriptor = message.descriptor().get_field(field.number).unwrap();
    let written = match (&field.kind, value) {
        (FieldKind::Singular(shape), value) => write(shape, value, &descriptor.kind()),
        (FieldKind::Optional(_), Val::Option(None)) => return,
        (FieldKind::Optional(shape), Val::Option(Some(value))) => {
            write(shape, value, &descriptor.kind())
        }
        (FieldKind::Repeated(shape), Val::List(values)) => Value::List(
            values.iter().map(|value| write(shape, value, &descriptor.kind())).collect(),
        ),
        (FieldKind::Map { key, value: shape }, Val::Map(entries)) => {
            let entry = descriptor.kind();
            let entry = entry.as_message().unwrap();
            let (key_kind, value_kind) =
                (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            Value::Map(
                entries
                    .iter()
                    .map(|(key_value, value)| {
                        let key = write(&Shape::Scalar(*key), key_value, &key_kind);
                        (key.into_map_key().unwrap(), write(shape, value, &value_kind))
                    })
                    .collect(),
            )
        }
        (kind, value) => panic!("{value:?} for {kind:?}"),
    };
    message.set_field(&descriptor, written);
}

fn write(shape: &Shape, value: &Val, kind: &prost_reflect::Kind) -> Value {
    match (shape, value) {
        (Shape::Bytes, Val::List(values)) => {
            let byte = |value: &Val| if let Val::U8(byte) = value { *byte } else { panic!() };
            Value::Bytes(values.iter().map(byte).collect())
        }
        (Shape::Enum(plan), Val::Enum(name)) => {
            let (number, _) = plan.cases.iter().find(|(_, known)| known == name).unwrap();
            Value::EnumNumber(*number)
        }
        (Shape::Message(plan), value) => {
            let mut message = DynamicMessage::new(kind.as_message().unwrap().clone());
            write_message(&mut message, plan, value);
            Value::Message(message)
        }
        (_, Val::Bool(value)) => Value::Bool(*value),
        (_, Val::U8(value)) => Value::U32(u32::from(*value)),
        (_, Val::U16(value)) => Value::U32(u32::from(*value)),
        (_, Val::U32(value)) => Value::U32(*value),
        (_, Val::U64(value)) => Value::U64(*value),
        (_, Val::S8(value)) => Value::I32(i32::from(*value)),
        (_, Val::S16(value)) => Value::I32(i32::from(*value)),
        (_, Val::S32(value)) => Value::I32(*value),
        (_, Val::S64(value)) => Value::I64(*value),
        (_, Val::Float32(value)) => Value::F32(if value.is_nan() { f32::NAN } else { *value }),
        (_, Val::Float64(value)) => Value::F64(if value.is_nan() { f64::NAN } else { *value }),
        (_, Val::Char(value)) => Value::String(value.to_string()),
        (_, Val::String(value)) => Value::String(value.clone()),
        (shape, value) => panic!("{value:?} for {shape:?}"),
    }
}

fn write_message(message: &mut DynamicMessage, plan: &MessagePlan, value: &Val) {
    match (&plan.body, value) {
        (Body::Tuple(fields), Val::Tuple(values)) => {
            for (field, value) in fields.iter().zip(values) {
                write_field(message, field, value);
            }
        }
        (Body::Record(fields), Val::Record(entries)) => {
            for (field, (_, value)) in fields.iter().zip(entries) {
                write_field(message, field, value);
            }
        }
        (Body::Flags(fields), Val::Flags(names)) => {
            for field in fields.iter().filter(|field| names.contains(&field.wit_name)) {
                message.set_field_by_number(field.number, Value::Bool(true));
            }
        }
        (Body::Wrapper(field), value) => write_field(message, field, value),
        (Body::Variant(cases), Val::Variant(name, payload)) => {
            let case = cases.iter().find(|case| case.wit_name == *name).unwrap();
            write_case(message, case, payload.as_deref());
        }
        (Body::Result { ok, error }, Val::Result(result)) => match result {
            Ok(payload) => write_case(message, ok, payload.as_deref()),
            Err(payload) => write_case(message, error, payload.as_deref()),
        },
        (body, value) => panic!("{value:?} for {body:?}"),
    }
}

fn write_case(message: &mut DynamicMessage, case: &CasePlan, payload: Option<&Val>) {
    let kind = message.descriptor().get_field(case.number).unwrap().kind();
    let written = match (&case.payload, payload) {
        (Some(shape), Some(value)) => write(shape, value, &kind),
        _ => Value::Message(DynamicMessage::new(kind.as_message().unwrap().clone())),
    };
    message.set_field_by_number(case.number, written);
}
