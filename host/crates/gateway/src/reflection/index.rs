//! Files and symbols of a namespace, looked up by name.

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

use crate::builtin::{DESCRIPTORS, SERVICES};

/// Everything that reflection answers from. Immutable: a namespace that changes gets another.
pub(crate) struct Index {
    services: Vec<String>,
    files: HashMap<String, File>,
    /// Full name of every service, method, message, field, enum and value, and its file.
    symbols: HashMap<String, String>,
}

struct File {
    encoded: Vec<u8>,
    imports: Vec<String>,
}

impl Index {
    /// The host's own files, and those of the namespace.
    pub(crate) fn new(services: &[&str], files: &[FileDescriptorProto]) -> Self {
        let mut index =
            Self { services: Vec::new(), files: HashMap::new(), symbols: HashMap::new() };
        index.services.extend(SERVICES.iter().chain(services).map(|&name| name.to_owned()));
        let empty = prost_reflect::DescriptorPool::global()
            .get_file_by_name("google/protobuf/empty.proto")
            .map(|file| file.file_descriptor_proto().clone());
        let own = DESCRIPTORS
            .iter()
            .filter_map(|set| FileDescriptorSet::decode(*set).ok())
            .flat_map(|set| set.file)
            .chain(empty);
        for file in own {
            index.add(&file);
        }
        for file in files {
            index.add(file);
        }
        index
    }

    pub(crate) fn services(&self) -> &[String] {
        &self.services
    }

    /// Whether the name is a message's or anything else's.
    pub(crate) fn knows(&self, symbol: &str) -> bool {
        self.symbols.contains_key(symbol)
    }

    /// The file and everything it imports, itself first.
    pub(crate) fn file(&self, name: &str) -> Option<Vec<Vec<u8>>> {
        let (first, _) = self.files.get_key_value(name)?;
        let mut order = vec![first];
        let mut seen = HashSet::from([first]);
        let mut next = 0;
        while let Some(file) = order.get(next).and_then(|name| self.files.get(*name)) {
            next += 1;
            for import in &file.imports {
                if let Some((import, _)) = self.files.get_key_value(import)
                    && seen.insert(import)
                {
                    order.push(import);
                }
            }
        }
        Some(
            order
                .into_iter()
                .filter_map(|name| Some(self.files.get(name)?.encoded.clone()))
                .collect(),
        )
    }

    /// The file that declares the symbol, and everything it imports.
    pub(crate) fn symbol(&self, symbol: &str) -> Option<Vec<Vec<u8>>> {
        self.file(self.symbols.get(symbol.trim_start_matches('.'))?)
    }

    /// What was added first stays: no namespace can put a file in the place of the host's own.
    fn add(&mut self, file: &FileDescriptorProto) {
        if self.files.contains_key(file.name()) {
            return;
        }
        let mut names = Names { prefix: file.package().to_owned(), found: Vec::new() };
        names.file(file);
        for name in names.found {
            self.symbols.entry(name).or_insert_with(|| file.name().to_owned());
        }
        let entry = File { encoded: file.encode_to_vec(), imports: file.dependency.clone() };
        self.files.insert(file.name().to_owned(), entry);
    }
}

/// Collects full names.
struct Names {
    prefix: String,
    found: Vec<String>,
}

impl Names {
    fn file(&mut self, file: &FileDescriptorProto) {
        for service in &file.service {
            self.within(service.name(), |names| {
                names.all(service.method.iter().map(|method| method.name()));
            });
        }
        file.message_type.iter().for_each(|message| self.message(message));
        file.enum_type.iter().for_each(|found| self.enumeration(found));
    }

    fn message(&mut self, message: &DescriptorProto) {
        self.within(message.name(), |names| {
            names.all(message.field.iter().map(|field| field.name()));
            names.all(message.oneof_decl.iter().map(|oneof| oneof.name()));
            message.nested_type.iter().for_each(|nested| names.message(nested));
            message.enum_type.iter().for_each(|nested| names.enumeration(nested));
        });
    }

    /// Values of an enum are its siblings.
    fn enumeration(&mut self, found: &EnumDescriptorProto) {
        self.all([found.name()].into_iter());
        self.all(found.value.iter().map(|value| value.name()));
    }

    fn within(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        let full = self.full(name);
        self.found.push(full.clone());
        let outer = std::mem::replace(&mut self.prefix, full);
        inner(self);
        self.prefix = outer;
    }

    fn all<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            let full = self.full(name);
            self.found.push(full);
        }
    }

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: Option<Vec<Vec<u8>>>) -> Vec<String> {
        let decode =
            |bytes: Vec<u8>| FileDescriptorProto::decode(&*bytes).unwrap().name().to_owned();
        files.unwrap_or_default().into_iter().map(decode).collect()
    }

    fn module() -> FileDescriptorProto {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"
            syntax = "proto3";
            package demo;
            import "google/protobuf/empty.proto";
            service Ops { rpc Add(AddRequest) returns (AddResponse); }
            message AddRequest { oneof kind { google.protobuf.Empty none = 1; } }
            message AddResponse { message Inner { uint32 value = 1; } Inner inner = 1; }
            enum Colour { COLOUR_UNSPECIFIED = 0; }
        "#;
        std::fs::write(directory.path().join("demo.proto"), text).unwrap();
        let set = protox::compile(["demo.proto"], [directory.path()]).unwrap();
        set.file.into_iter().find(|file| file.name() == "demo.proto").unwrap()
    }

    #[test]
    fn every_kind_of_symbol_leads_to_its_file_and_imports() {
        let index = Index::new(&["demo.Ops"], &[module()]);
        assert!(index.services().iter().any(|name| name == "demo.Ops"));
        for symbol in [
            "demo.Ops",
            "demo.Ops.Add",
            "demo.AddRequest",
            "demo.AddRequest.none",
            "demo.AddRequest.kind",
            "demo.AddResponse.Inner.value",
            "demo.Colour",
            "demo.COLOUR_UNSPECIFIED",
            ".demo.AddResponse",
        ] {
            let files = names(index.symbol(symbol));
            assert_eq!(files, ["demo.proto", "google/protobuf/empty.proto"], "{symbol}");
        }
        assert!(index.symbol("demo.Missing").is_none());
        assert!(index.symbol("").is_none());
        assert!(index.file("missing.proto").is_none());
    }

    #[test]
    fn the_hosts_files_are_there_and_cannot_be_replaced() {
        let fake = FileDescriptorProto {
            name: Some("roadstead/v1/module_service.proto".into()),
            package: Some("fake".into()),
            ..FileDescriptorProto::default()
        };
        let index = Index::new(&[], &[fake]);
        for service in SERVICES {
            assert!(index.symbol(service).is_some(), "{service}");
        }
        assert!(index.symbol("google.rpc.ErrorInfo").is_some());
        assert!(index.file("google/protobuf/empty.proto").is_some());
        let bytes = index.file("roadstead/v1/module_service.proto").unwrap().remove(0);
        let file = FileDescriptorProto::decode(&*bytes).unwrap();
        assert_eq!(file.package(), "roadstead.v1");
    }
}
