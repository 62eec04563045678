//! A module's plan as JSON: what a codec or a generator of bindings outside this program needs to
//! know of it. `roadstead proto --plan` writes it, and hosts hand it out beside `.proto` files.
//!
//! `format` grows when readers of the form before would misread it.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Interface,
    plan::{
        Action, Body, CasePlan, EnumPlan, FieldKind, FieldPlan, MessagePlan, MethodPlan,
        OutputPlan, ResponsePlan, Scalar, Shape,
    },
};

const FORMAT: u32 = 1;

/// The plan's text: the interfaces as WIT says them, and how the messages of each method lie on the
/// wire.
pub fn describe<'a>(
    interfaces: &[Interface],
    methods: impl Iterator<Item = &'a MethodPlan>,
) -> String {
    let mut tables = Tables::default();
    let mut methods: Vec<&MethodPlan> = methods.collect();
    methods.sort_by(|a, b| (&a.service, &a.method).cmp(&(&b.service, &b.method)));
    let methods = methods.into_iter().map(|method| tables.method(method)).collect();
    let Tables { messages, enums } = tables;
    let plan = Described { format: FORMAT, interfaces, methods, messages, enums };
    // A map of texts and numbers always serializes.
    serde_json::to_string(&plan).unwrap_or_default()
}

/// The encoded `google.protobuf.FileDescriptorSet` of derived files, with all that they import.
pub fn descriptor_set(files: &[FileDescriptorProto]) -> Vec<u8> {
    let empty = crate::schema::EMPTY_FILE;
    let imported = files.iter().any(|file| file.dependency.iter().any(|name| name == empty));
    let known = DescriptorPool::global().get_file_by_name(empty);
    let known = known.filter(|_| imported).map(|file| file.file_descriptor_proto().clone());
    let file = known.into_iter().chain(files.iter().cloned()).collect();
    FileDescriptorSet { file }.encode_to_vec()
}

#[derive(Serialize)]
struct Described<'a> {
    format: u32,
    interfaces: &'a [Interface],
    methods: Vec<Value>,
    messages: BTreeMap<String, Value>,
    enums: BTreeMap<String, Value>,
}

/// Messages and enums by their full names.
#[derive(Default)]
struct Tables {
    messages: BTreeMap<String, Value>,
    enums: BTreeMap<String, Value>,
}

impl Tables {
    fn method(&mut self, method: &MethodPlan) -> Value {
        let input = method.input.as_ref().map(|input| {
            json!({
                "position": input.position,
                "settles": input.settles,
                "message": self.message(&input.message),
            })
        });
        json!({
            "service": method.service,
            "method": method.method,
            "interface": method.export.interface,
            "function": method.export.function,
            "drops": method.action == Action::Drop,
            "request": self.message(&method.request),
            "input": input,
            "response": self.response(&method.response),
        })
    }

    fn response(&mut self, response: &ResponsePlan) -> Value {
        match response {
            ResponsePlan::Empty => json!({ "kind": "empty" }),
            ResponsePlan::Value(field) => json!({ "kind": "value", "fields": [self.field(field)] }),
            ResponsePlan::Result(message) => {
                json!({ "kind": "result", "message": self.message(message) })
            }
            ResponsePlan::Stream(OutputPlan::Items(item)) => {
                json!({ "kind": "items", "fields": [self.field(item)] })
            }
            ResponsePlan::Stream(OutputPlan::OrError { item, error }) => {
                json!({ "kind": "or-error", "fields": [self.case(item), self.case(error)] })
            }
            ResponsePlan::Stream(OutputPlan::ThenError { item, error }) => {
                json!({ "kind": "then-error", "fields": [self.case(item), self.case(error)] })
            }
        }
    }

    /// Adds a message with all that it is made of, and returns its name.
    fn message(&mut self, plan: &MessagePlan) -> String {
        if self.messages.contains_key(&plan.name) {
            return plan.name.clone();
        }
        self.messages.insert(plan.name.clone(), Value::Null);
        let described = match &plan.body {
            Body::Fields(fields) => self.fields("fields", fields),
            Body::Record(fields) => self.fields("record", fields),
            Body::Tuple(fields) => self.fields("tuple", fields),
            Body::Flags(fields) => self.fields("flags", fields),
            Body::Wrapper(field) => self.fields("wrapper", std::slice::from_ref(field)),
            Body::Variant(cases) => self.cases("variant", cases.iter()),
            Body::Result { ok, error } => self.cases("result", [ok, error].into_iter()),
            Body::Handle(handle) => json!({
                "kind": "handle",
                "number": handle.number,
                "resource": handle.resource,
            }),
        };
        self.messages.insert(plan.name.clone(), described);
        plan.name.clone()
    }

    fn fields(&mut self, kind: &str, fields: &[FieldPlan]) -> Value {
        let fields: Vec<Value> = fields.iter().map(|field| self.field(field)).collect();
        json!({ "kind": kind, "fields": fields })
    }

    fn cases<'c>(&mut self, kind: &str, cases: impl Iterator<Item = &'c CasePlan>) -> Value {
        let cases: Vec<Value> = cases.map(|case| self.case(case)).collect();
        json!({ "kind": kind, "fields": cases })
    }

    fn field(&mut self, field: &FieldPlan) -> Value {
        let (label, key) = match &field.kind {
            FieldKind::Singular(_) => ("singular", None),
            FieldKind::Optional(_) => ("optional", None),
            FieldKind::Repeated(_) => ("repeated", None),
            FieldKind::Map { key, .. } => ("map", Some(*key)),
        };
        let shape = self.shape(field.kind.shape());
        let FieldPlan { number, wit_name, proto_name, .. } = field;
        member(*number, wit_name, proto_name, label, key, shape)
    }

    fn case(&mut self, case: &CasePlan) -> Value {
        let shape = case.payload.as_ref().map(|shape| self.shape(shape));
        let CasePlan { number, wit_name, proto_name, .. } = case;
        member(*number, wit_name, proto_name, "case", None, shape.unwrap_or_default())
    }

    fn shape(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Scalar(scalar) => json!({ "scalar": scalar }),
            Shape::Bytes => json!({ "bytes": true }),
            Shape::Enum(plan) => json!({ "enum": self.enumeration(plan) }),
            Shape::Message(plan) => {
                let owned = matches!(&plan.body, Body::Handle(handle) if handle.owned);
                json!({ "message": self.message(plan), "owned": owned })
            }
        }
    }

    fn enumeration(&mut self, plan: &EnumPlan) -> String {
        self.enums.entry(plan.name.clone()).or_insert_with(|| json!(plan.cases));
        plan.name.clone()
    }
}

fn member(
    number: u32,
    wit_name: &str,
    proto_name: &str,
    label: &str,
    key: Option<Scalar>,
    shape: Value,
) -> Value {
    json!({
        "number": number,
        "name": wit_name,
        "proto": proto_name,
        "label": label,
        "key": key,
        "shape": shape,
    })
}
