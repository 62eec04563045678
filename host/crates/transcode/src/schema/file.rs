//! One protobuf file a package, with its comments.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::DescriptorPool;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FileDescriptorProto,
    MethodDescriptorProto, ServiceDescriptorProto, SourceCodeInfo, source_code_info::Location,
};

use super::{DeriveError, descriptor, message::Built};
use crate::{lock::Member, print};

pub(crate) const EMPTY_FILE: &str = "google/protobuf/empty.proto";

const MESSAGE: i32 = 4;
const ENUM: i32 = 5;
const SERVICE: i32 = 6;
/// Of a method in a service, and of a value in an enum.
const MEMBER: i32 = 2;

/// A file as it grows: its types in the order of declaration, then the messages of its methods.
#[derive(Default)]
pub(super) struct FileDraft {
    messages: Vec<DescriptorProto>,
    enums: Vec<EnumDescriptorProto>,
    services: Vec<ServiceDescriptorProto>,
    /// The messages of methods, which stand behind all types.
    method_messages: Vec<Built>,
    /// In the order in which the file shows what they are of.
    locations: Vec<(Vec<i32>, Option<String>)>,
    service_comments: Vec<(Vec<i32>, String)>,
}

/// An enum with its comments, by paths from the enum on.
pub(super) struct EnumFile {
    descriptor: EnumDescriptorProto,
    comments: Vec<(Vec<i32>, String)>,
}

impl EnumFile {
    pub(super) fn new(
        name: &str,
        docs: Option<String>,
        values: Vec<(String, i32, Option<String>)>,
        removed: &[&Member],
    ) -> Self {
        let mut comments: Vec<_> = docs.map(|docs| (Vec::new(), docs)).into_iter().collect();
        let mut descriptor =
            EnumDescriptorProto { name: Some(name.to_owned()), ..Default::default() };
        for (at, (name, number, docs)) in (0..).zip(values) {
            let (name, number) = (Some(name), Some(number));
            descriptor.value.push(EnumValueDescriptorProto { name, number, options: None });
            comments.extend(docs.map(|docs| (vec![MEMBER, at], docs)));
        }
        (descriptor.reserved_range, descriptor.reserved_name) =
            descriptor::reserved_values(removed);
        Self { descriptor, comments }
    }
}

impl FileDraft {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.enums.is_empty() && self.services.is_empty()
    }

    pub(super) fn begin_service(&mut self, name: &str, docs: Option<&str>) {
        let path = vec![SERVICE, index(&self.services)];
        self.service_comments.extend(docs.map(|docs| (path, docs.to_owned())));
        self.services
            .push(ServiceDescriptorProto { name: Some(name.to_owned()), ..Default::default() });
    }

    /// Adds to the service that was begun last.
    pub(super) fn add_method(
        &mut self,
        name: &str,
        docs: Option<&str>,
        request: Built,
        response: Built,
        (client_streaming, server_streaming): (bool, bool),
    ) {
        let Some(service) = self.services.last_mut() else { return };
        let at = index(&service.method);
        service.method.push(MethodDescriptorProto {
            name: Some(name.to_owned()),
            input_type: Some(format!(".{}", request.plan.name)),
            output_type: Some(format!(".{}", response.plan.name)),
            client_streaming: client_streaming.then_some(true),
            server_streaming: server_streaming.then_some(true),
            ..Default::default()
        });
        let last = index(&self.services).saturating_sub(1);
        let path = vec![SERVICE, last, MEMBER, at];
        self.service_comments.extend(docs.map(|docs| (path, docs.to_owned())));
        self.method_messages.extend([request, response]);
    }

    pub(super) fn add_type(&mut self, built: Built) {
        let path = vec![MESSAGE, index(&self.messages)];
        self.messages.push(built.descriptor);
        self.locate(path, built.comments);
    }

    pub(super) fn add_enum(&mut self, one: EnumFile) {
        let path = vec![ENUM, index(&self.enums)];
        self.enums.push(one.descriptor);
        self.locate(path, one.comments);
    }

    fn locate(&mut self, path: Vec<i32>, comments: Vec<(Vec<i32>, String)>) {
        self.locations.push((path.clone(), None));
        for (below, text) in comments {
            let path = path.iter().copied().chain(below).collect();
            self.locations.push((path, Some(text)));
        }
    }

    pub(super) fn finish(
        mut self,
        package: &str,
        path: String,
        imports: BTreeSet<String>,
    ) -> FileDescriptorProto {
        for built in std::mem::take(&mut self.method_messages) {
            self.add_type(built);
        }
        for (path, text) in std::mem::take(&mut self.service_comments) {
            self.locations.push((path, Some(text)));
        }
        let mut comments: BTreeMap<Vec<i32>, (i32, Option<String>)> = BTreeMap::new();
        for (at, (path, text)) in (0..).zip(self.locations) {
            let (_, known) = comments.entry(path).or_insert((at, None));
            *known = known.take().or(text);
        }
        // Provisional lines, in order; the printed text gives the real ones.
        let location = comments.into_iter().map(|(path, (line, text))| Location {
            path,
            span: vec![line, 0, 0],
            leading_comments: text.as_deref().and_then(print::comment),
            ..Default::default()
        });
        let mut file = FileDescriptorProto {
            name: Some(path),
            package: Some(package.to_owned()),
            dependency: imports.into_iter().collect(),
            message_type: self.messages,
            enum_type: self.enums,
            service: self.services,
            source_code_info: Some(SourceCodeInfo { location: location.collect() }),
            syntax: Some("proto3".to_owned()),
            ..Default::default()
        };
        print::settle_spans(&mut file);
        file
    }
}

/// Every file after those it imports.
pub(super) fn in_order(
    files: Vec<FileDescriptorProto>,
) -> Result<Vec<FileDescriptorProto>, DeriveError> {
    let mut open: BTreeMap<String, FileDescriptorProto> =
        files.into_iter().map(|file| (file.name().to_owned(), file)).collect();
    let mut ordered = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let ready: Vec<String> = open
            .iter()
            .filter(|(_, file)| !file.dependency.iter().any(|name| open.contains_key(name)))
            .map(|(name, _)| name.clone())
            .collect();
        if ready.is_empty() {
            let packages = open.values().map(|file| file.package().to_owned()).collect();
            return Err(DeriveError::Cycle(packages));
        }
        ordered.extend(ready.iter().filter_map(|name| open.remove(name)));
    }
    Ok(ordered)
}

/// Nothing is published that clients could not load.
pub(super) fn check(files: &[FileDescriptorProto]) -> Result<(), DeriveError> {
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_protos(files.iter().cloned())
        .map_err(|error| DeriveError::Invalid(error.to_string()))
}

fn index<T>(items: &[T]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}
