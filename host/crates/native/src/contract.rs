//! Whether a server's own description of its services is that of the module's wire contract.
//!
//! Pure. What protobuf lets a server have beside it is allowed: further services, methods, messages,
//! and fields outside of the contract's oneofs. Everything of the contract must be there as it is:
//! services, methods and how they stream, fields by number with type, label, oneof and packing, and
//! the values of enums. Names of fields are not on the wire.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    MethodDescriptorProto, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use roadstead_engine::Contract;

/// How a server differs from the contract of its module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ContractMismatch: {at}: {problem}")]
pub struct ContractMismatch {
    /// A service, `service/method`, or a message with the number of a field.
    pub at: String,
    pub problem: String,
}

fn differs(at: impl Into<String>, problem: impl Into<String>) -> ContractMismatch {
    ContractMismatch { at: at.into(), problem: problem.into() }
}

/// Compares what a server says of its services with the contract.
///
/// # Errors
/// [`ContractMismatch`] names the first difference.
pub fn compare(
    contract: &Contract,
    served: &[FileDescriptorProto],
) -> Result<(), ContractMismatch> {
    let (wanted, served) = (Index::of(&contract.files), Index::of(served));
    let mut comparison = Comparison { wanted: &wanted, served: &served, done: BTreeSet::new() };
    for name in &contract.services {
        let Some(service) = wanted.services.get(name.as_str()) else {
            return Err(differs(name, "is not in the contract's own files"));
        };
        let other = served.services.get(name.as_str());
        let other = other.ok_or_else(|| differs(name, "is not served"))?;
        comparison.service(name, service, other)?;
    }
    Ok(())
}

/// The definitions of files, by full name.
struct Index<'a> {
    services: BTreeMap<String, &'a ServiceDescriptorProto>,
    messages: BTreeMap<String, Message<'a>>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
}

struct Message<'a> {
    message: &'a DescriptorProto,
    /// Whether lists of numbers are packed where nothing is said.
    packs: bool,
}

impl<'a> Index<'a> {
    fn of(files: &'a [FileDescriptorProto]) -> Self {
        let mut index =
            Self { services: BTreeMap::new(), messages: BTreeMap::new(), enums: BTreeMap::new() };
        for file in files {
            let packs = !matches!(file.syntax(), "" | "proto2");
            let scope = file.package();
            for service in &file.service {
                index.services.insert(within(scope, service.name()), service);
            }
            index.enums(scope, &file.enum_type);
            index.messages(scope, &file.message_type, packs);
        }
        index
    }

    fn messages(&mut self, scope: &str, messages: &'a [DescriptorProto], packs: bool) {
        for message in messages {
            let name = within(scope, message.name());
            self.enums(&name, &message.enum_type);
            self.messages(&name, &message.nested_type, packs);
            self.messages.insert(name, Message { message, packs });
        }
    }

    fn enums(&mut self, scope: &str, enums: &'a [EnumDescriptorProto]) {
        for one in enums {
            self.enums.insert(within(scope, one.name()), one);
        }
    }
}

fn within(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

struct Comparison<'a> {
    wanted: &'a Index<'a>,
    served: &'a Index<'a>,
    /// Types that were compared, or are being compared.
    done: BTreeSet<String>,
}

impl Comparison<'_> {
    fn service(
        &mut self,
        name: &str,
        wanted: &ServiceDescriptorProto,
        served: &ServiceDescriptorProto,
    ) -> Result<(), ContractMismatch> {
        for method in &wanted.method {
            let at = format!("{name}/{}", method.name());
            let other = served.method.iter().find(|other| other.name() == method.name());
            let other = other.ok_or_else(|| differs(&at, "is not served"))?;
            self.method(&at, method, other)?;
        }
        Ok(())
    }

    fn method(
        &mut self,
        at: &str,
        wanted: &MethodDescriptorProto,
        served: &MethodDescriptorProto,
    ) -> Result<(), ContractMismatch> {
        let streams = [
            ("requests", wanted.client_streaming(), served.client_streaming()),
            ("responses", wanted.server_streaming(), served.server_streaming()),
        ];
        for (what, wanted, served) in streams {
            if wanted != served {
                let (are, should) = if served { ("are", "not be") } else { ("are not", "be") };
                return Err(differs(at, format!("its {what} {are} a stream, and should {should}")));
            }
        }
        let types = [
            ("requests", wanted.input_type(), served.input_type()),
            ("responses", wanted.output_type(), served.output_type()),
        ];
        for (what, wanted, served) in types {
            if wanted != served {
                return Err(differs(
                    at,
                    format!("its {what} are {served}, and should be {wanted}"),
                ));
            }
            self.message(wanted)?;
        }
        Ok(())
    }

    fn message(&mut self, type_name: &str) -> Result<(), ContractMismatch> {
        let name = type_name.trim_start_matches('.');
        // Those of protobuf itself are what their names say.
        if name.starts_with("google.protobuf.") || !self.done.insert(name.to_owned()) {
            return Ok(());
        }
        let absent = |whose| differs(name, format!("is not in {whose} files"));
        let wanted = self.wanted.messages.get(name).ok_or_else(|| absent("the contract's own"))?;
        let served = self.served.messages.get(name).ok_or_else(|| absent("the server's"))?;
        for field in &wanted.message.field {
            let at = format!("{name} field {}", field.number());
            let other = served.message.field.iter().find(|other| other.number() == field.number());
            let other =
                other.ok_or_else(|| differs(&at, format!("({}) is missing", field.name())))?;
            let wanted_shape = Shape::of(wanted, field);
            let served_shape = Shape::of(served, other);
            if let Some(problem) = wanted_shape.problem(&served_shape) {
                return Err(differs(at, problem));
            }
            match field.r#type() {
                Type::Message | Type::Group => self.message(field.type_name())?,
                Type::Enum => self.r#enum(field.type_name())?,
                _ => {}
            }
        }
        self.no_further_cases(name, wanted, served)
    }

    /// A case that the contract does not have would look like none.
    fn no_further_cases(
        &self,
        name: &str,
        wanted: &Message<'_>,
        served: &Message<'_>,
    ) -> Result<(), ContractMismatch> {
        let known: BTreeSet<i32> =
            wanted.message.field.iter().map(FieldDescriptorProto::number).collect();
        let fields = &served.message.field;
        let of_contract = fields.iter().filter(|field| known.contains(&field.number()));
        let oneofs: BTreeSet<i32> = of_contract.filter_map(|field| field.oneof_index).collect();
        for field in fields.iter().filter(|field| !known.contains(&field.number())) {
            if field.oneof_index.is_some_and(|oneof| oneofs.contains(&oneof)) {
                let at = format!("{name} field {}", field.number());
                let problem = format!("({}) is a further case of a oneof", field.name());
                return Err(differs(at, problem));
            }
        }
        Ok(())
    }

    fn r#enum(&mut self, type_name: &str) -> Result<(), ContractMismatch> {
        let name = type_name.trim_start_matches('.');
        if name.starts_with("google.protobuf.") || !self.done.insert(name.to_owned()) {
            return Ok(());
        }
        let absent = |whose| differs(name, format!("is not in {whose} files"));
        let wanted = self.wanted.enums.get(name).ok_or_else(|| absent("the contract's own"))?;
        let served = self.served.enums.get(name).ok_or_else(|| absent("the server's"))?;
        let numbers = |one: &EnumDescriptorProto| -> BTreeSet<i32> {
            one.value.iter().map(prost_types::EnumValueDescriptorProto::number).collect()
        };
        let (wanted, served) = (numbers(wanted), numbers(served));
        if wanted == served {
            return Ok(());
        }
        Err(differs(name, format!("has the values {served:?}, and should have {wanted:?}")))
    }
}

/// What of a field is on the wire.
#[derive(PartialEq)]
struct Shape {
    label: Label,
    kind: Type,
    type_name: String,
    packed: bool,
    /// The numbers of its oneof, of which the first tells it from others.
    oneof: Option<i32>,
    optional: bool,
}

impl Shape {
    fn of(message: &Message<'_>, field: &FieldDescriptorProto) -> Self {
        let repeated = field.label() == Label::Repeated;
        let scalar =
            !matches!(field.r#type(), Type::String | Type::Bytes | Type::Message | Type::Group);
        let said = field.options.as_ref().and_then(|options| options.packed);
        let optional = field.proto3_optional();
        let beside = |one: &&FieldDescriptorProto| one.oneof_index == field.oneof_index;
        let oneof = field.oneof_index.filter(|_| !optional).and_then(|_| {
            message.message.field.iter().filter(beside).map(FieldDescriptorProto::number).min()
        });
        Self {
            label: if repeated { Label::Repeated } else { Label::Optional },
            kind: field.r#type(),
            type_name: field.type_name().to_owned(),
            packed: repeated && scalar && said.unwrap_or(message.packs),
            oneof,
            optional,
        }
    }

    fn problem(&self, served: &Self) -> Option<String> {
        if self.label != served.label {
            let (is, should) =
                if served.label == Label::Repeated { ("", "not ") } else { ("not ", "") };
            return Some(format!("is {is}repeated, and should {should}be"));
        }
        if (self.kind, &self.type_name) != (served.kind, &served.type_name) {
            return Some(format!("is {}, and should be {}", served.name(), self.name()));
        }
        if self.packed != served.packed {
            let (is, should) = if served.packed { ("", "not ") } else { ("not ", "") };
            return Some(format!("is {is}packed, and should {should}be"));
        }
        if (self.oneof, self.optional) != (served.oneof, served.optional) {
            return Some(format!("{}, and {}", served.presence("is"), self.presence("should be")));
        }
        None
    }

    fn name(&self) -> String {
        if self.type_name.is_empty() {
            self.kind.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase()
        } else {
            self.type_name.clone()
        }
    }

    fn presence(&self, is: &str) -> String {
        match self.oneof {
            Some(first) => format!("{is} in a oneof with field {first}"),
            None if self.optional => format!("{is} optional"),
            None => format!("{is} neither optional nor in a oneof"),
        }
    }
}

#[cfg(test)]
mod tests;
