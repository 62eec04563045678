//! Which field of a JSON text does not fit, found by a second reading on the way of an error only.
//!
//! Every value is looked at once at most, and only those that hold no others are read on their own,
//! so that the search takes no longer than a few readings.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use roadstead_domain::Fault;
use serde::de::value::MapDeserializer;
use serde_json::Value;

/// Values that are read on their own.
const TRIALS: u32 = 10_000;

pub(super) fn diagnose(
    descriptor: &MessageDescriptor,
    text: &[u8],
    error: &serde_json::Error,
) -> Fault {
    let found = serde_json::from_slice::<Value>(text)
        .ok()
        .and_then(|value| Search { trials: TRIALS }.message(descriptor, &value));
    match found {
        Some(Found { path, problem }) => Fault::bad_input(path, problem),
        None => Fault::bad_input("", format!("the JSON does not read: {error}")),
    }
}

struct Search {
    trials: u32,
}

/// The path is written on the way back: most are never needed.
struct Found {
    path: String,
    problem: String,
}

impl Search {
    fn message(&mut self, descriptor: &MessageDescriptor, value: &Value) -> Option<Found> {
        let Value::Object(fields) = value else {
            return Some(Found::here(format!("expected an object, got {}", kind(value))));
        };
        fields.iter().find_map(|(key, value)| {
            let field = descriptor
                .get_field_by_json_name(key)
                .or_else(|| descriptor.get_field_by_name(key));
            let found = match field {
                Some(field) => self.field(&field, value),
                None => {
                    let problem = format!("`{}` has no such field", descriptor.full_name());
                    Some(Found::here(problem))
                }
            };
            found.map(|found| found.within(key))
        })
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value) -> Option<Found> {
        match (field.kind(), value) {
            (_, Value::Null) => None,
            (Kind::Message(entry), Value::Object(entries)) if entry.is_map_entry() => {
                let item = entry.map_entry_value_field();
                entries.iter().find_map(|(key, value)| {
                    let found = match nested(&item) {
                        Some(message) => self.message(&message, value),
                        None => self.alone(field, &serde_json::json!({ key: value })),
                    };
                    found.map(|found| found.within(&format!("[{key:?}]")))
                })
            }
            (_, Value::Array(items)) if field.is_list() => {
                items.iter().enumerate().find_map(|(index, value)| {
                    let found = match nested(field) {
                        Some(message) => self.message(&message, value),
                        None => self.alone(field, &serde_json::json!([value])),
                    };
                    found.map(|found| found.within(&format!("[{index}]")))
                })
            }
            _ => match nested(field).filter(|_| !field.is_list() && !field.is_map()) {
                Some(message) => self.message(&message, value),
                None => self.alone(field, value),
            },
        }
    }

    /// Reads the field as the only one of its message.
    fn alone(&mut self, field: &FieldDescriptor, value: &Value) -> Option<Found> {
        self.trials = self.trials.checked_sub(1)?;
        let only = MapDeserializer::new(std::iter::once((field.name(), value)));
        let read = DynamicMessage::deserialize(field.parent_message().clone(), only);
        read.err().map(|error: serde_json::Error| Found::here(error.to_string()))
    }
}

/// The message that a value of the field is, where its fields can be looked at one by one.
fn nested(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if message.package_name() != "google.protobuf" => Some(message),
        _ => None,
    }
}

impl Found {
    fn here(problem: String) -> Self {
        Self { path: String::new(), problem }
    }

    /// The same, seen from the value around.
    fn within(self, step: &str) -> Self {
        let Self { path, problem } = self;
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        Self { path: format!("{step}{dot}{path}"), problem }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
