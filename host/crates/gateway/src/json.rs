//! Messages as canonical protobuf JSON: read strictly, printed with default values.

use std::fmt::Write as _;

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions};
use roadstead_domain::Fault;
use serde_json::Value;

/// Values that are looked at on their own to find the one that does not fit.
const TRIALS: u32 = 10_000;

/// Reads one message. Nesting is bounded by serde_json, at 128 levels.
///
/// # Errors
/// [`Fault::BadInput`] names the field that does not fit.
pub(crate) fn read(descriptor: &MessageDescriptor, text: &[u8]) -> Result<Bytes, Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = DynamicMessage::deserialize(descriptor.clone(), &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message));
    match read {
        Ok(message) => Ok(message.encode_to_vec().into()),
        Err(error) => Err(diagnose(descriptor, text, &error)),
    }
}

/// Prints one message. None if the bytes are not such a message.
pub(crate) fn print(descriptor: &MessageDescriptor, message: Bytes) -> Option<Vec<u8>> {
    let message = DynamicMessage::decode(descriptor.clone(), message).ok()?;
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut text = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut text, &options).ok()?;
    Some(text.into_inner())
}

/// Finds the field, which costs a second reading, on the way of an error only.
fn diagnose(descriptor: &MessageDescriptor, text: &[u8], error: &serde_json::Error) -> Fault {
    let found = serde_json::from_slice::<Value>(text)
        .ok()
        .and_then(|value| Search { trials: TRIALS }.message(descriptor, &value, String::new()));
    match found {
        Some((field, problem)) => Fault::bad_input(field, problem),
        None => Fault::bad_input("", format!("the JSON does not read: {error}")),
    }
}

struct Search {
    trials: u32,
}

type Found = Option<(String, String)>;

impl Search {
    fn message(&mut self, descriptor: &MessageDescriptor, value: &Value, path: String) -> Found {
        if descriptor.package_name() == "google.protobuf" {
            return None;
        }
        let Value::Object(fields) = value else {
            return Some((path, format!("expected an object, got {}", kind(value))));
        };
        fields.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let field = descriptor
                .get_field_by_json_name(key)
                .or_else(|| descriptor.get_field_by_name(key));
            match field {
                Some(field) => self.field(&field, value, path),
                None => Some((path, format!("`{}` has no such field", descriptor.full_name()))),
            }
        })
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value, path: String) -> Found {
        match (field.kind(), value) {
            (_, Value::Null) => None,
            (Kind::Message(entry), Value::Object(entries)) if entry.is_map_entry() => {
                let item = entry.map_entry_value_field();
                entries.iter().find_map(|(key, value)| {
                    let path = format!("{path}[{key:?}]");
                    let only = serde_json::json!({ key: value });
                    self.nested(&item, value, &path).or_else(|| self.alone(field, &only, &path))
                })
            }
            (_, Value::Array(items)) if field.is_list() => {
                items.iter().enumerate().find_map(|(index, value)| {
                    let mut path = path.clone();
                    write!(path, "[{index}]").ok()?;
                    let only = Value::Array(vec![value.clone()]);
                    self.nested(field, value, &path).or_else(|| self.alone(field, &only, &path))
                })
            }
            _ => self.nested(field, value, &path).or_else(|| self.alone(field, value, &path)),
        }
    }

    /// Looks within a message.
    fn nested(&mut self, field: &FieldDescriptor, value: &Value, path: &str) -> Found {
        match field.kind() {
            Kind::Message(descriptor) if !descriptor.is_map_entry() && !value.is_array() => {
                self.message(&descriptor, value, path.to_owned())
            }
            _ => None,
        }
    }

    /// Reads the field as the only one of its message.
    fn alone(&mut self, field: &FieldDescriptor, value: &Value, path: &str) -> Found {
        self.trials = self.trials.checked_sub(1)?;
        let only = serde_json::json!({ field.name(): value });
        let error = DynamicMessage::deserialize(field.parent_message().clone(), only).err()?;
        Some((path.to_owned(), error.to_string()))
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

#[cfg(test)]
mod tests;
