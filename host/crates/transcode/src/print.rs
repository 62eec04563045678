//! Descriptors as `.proto` text, in one canonical form.
//!
//! Prints what derived files hold: proto3, no options, no extensions. Types stand in the order of
//! their places in the source info, where the file has it.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    ServiceDescriptorProto, field_descriptor_proto::Type,
};

const MESSAGE: i32 = 4;
const ENUM: i32 = 5;
const SERVICE: i32 = 6;
const FIELD: i32 = 2;
const NESTED: i32 = 3;
/// Of a method in a service, and of a value in an enum.
const MEMBER: i32 = 2;

/// The text of a file.
pub fn print_proto(file: &FileDescriptorProto) -> String {
    let mut printer = Printer::new(file);
    printer.file(file);
    printer.out
}

/// Gives every element of the source info its place in the printed text.
pub(crate) fn settle_spans(file: &mut FileDescriptorProto) {
    let mut printer = Printer::new(file);
    printer.file(file);
    let spans = printer.spans;
    for location in file.source_code_info.iter_mut().flat_map(|info| &mut info.location) {
        if let Some(span) = spans.get(&location.path) {
            location.span.clone_from(span);
        }
    }
}

/// Comment text as descriptors hold it: every line with a space before it and its end behind it.
/// None if nothing is left of it.
pub(crate) fn comment(docs: &str) -> Option<String> {
    let visible = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
    let lines: Vec<String> = docs
        .lines()
        .map(|line| line.chars().map(visible).collect::<String>().trim_end().to_owned())
        .collect();
    let first = lines.iter().position(|line| !line.is_empty())?;
    let last = lines.iter().rposition(|line| !line.is_empty())?;
    let text = lines
        .iter()
        .take(last.saturating_add(1))
        .skip(first)
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!(" {line}\n") });
    Some(text.collect())
}

struct Printer<'a> {
    out: String,
    line: i32,
    comments: BTreeMap<&'a [i32], &'a str>,
    /// Lines that the file itself gives its elements.
    places: BTreeMap<&'a [i32], i32>,
    /// Full names of all messages and enums of the file.
    types: BTreeSet<String>,
    spans: BTreeMap<Vec<i32>, Vec<i32>>,
}

impl<'a> Printer<'a> {
    fn new(file: &'a FileDescriptorProto) -> Self {
        let mut types: BTreeSet<String> =
            file.enum_type.iter().map(|one| join(file.package(), one.name())).collect();
        for message in &file.message_type {
            collect_types(file.package(), message, &mut types);
        }
        let mut comments = BTreeMap::new();
        let mut places = BTreeMap::new();
        for location in file.source_code_info.iter().flat_map(|info| &info.location) {
            let path = location.path.as_slice();
            comments.extend(location.leading_comments.as_deref().map(|text| (path, text)));
            places.extend(location.span.first().map(|line| (path, *line)));
        }
        Self { out: String::new(), line: 0, comments, places, types, spans: BTreeMap::new() }
    }

    fn file(&mut self, file: &FileDescriptorProto) {
        self.put(0, "syntax = \"proto3\";");
        if !file.package().is_empty() {
            self.blank();
            self.put(0, &format!("package {};", file.package()));
        }
        if !file.dependency.is_empty() {
            self.blank();
        }
        for import in &file.dependency {
            self.put(0, &format!("import \"{import}\";"));
        }
        for (at, service) in (0..).zip(&file.service) {
            self.blank();
            self.service(service, file.package(), &[SERVICE, at]);
        }
        let messages = (0..).zip(&file.message_type).map(|(at, one)| ([MESSAGE, at], Ok(one)));
        let enums = (0..).zip(&file.enum_type).map(|(at, one)| ([ENUM, at], Err(one)));
        let mut types: Vec<_> = messages.chain(enums).collect();
        types
            .sort_by_key(|(path, _)| self.places.get(path.as_slice()).copied().unwrap_or(i32::MAX));
        for (path, one) in types {
            self.blank();
            match one {
                Ok(message) => self.message(message, file.package(), &path, 0),
                Err(one) => self.enumeration(one, &path, 0),
            }
        }
    }

    fn service(&mut self, service: &ServiceDescriptorProto, package: &str, path: &[i32]) {
        self.block(0, &format!("service {}", service.name()), path, service.method.is_empty());
        for (at, method) in (0..).zip(&service.method) {
            let stream = |on: bool| if on { "stream " } else { "" };
            let text = format!(
                "rpc {}({}{}) returns ({}{});",
                method.name(),
                stream(method.client_streaming()),
                self.reference(method.input_type(), package),
                stream(method.server_streaming()),
                self.reference(method.output_type(), package),
            );
            self.element(1, &text, &below(path, &[MEMBER, at]));
        }
        self.close(0, path, service.method.is_empty());
    }

    fn message(&mut self, message: &DescriptorProto, scope: &str, path: &[i32], depth: usize) {
        let nested = || (0..).zip(&message.nested_type).filter(|(_, one)| !is_map_entry(one));
        let reserved = reserved(
            message.reserved_range.iter().map(|one| (one.start(), one.end().saturating_sub(1))),
            &message.reserved_name,
        );
        let is_empty = message.field.is_empty() && reserved.is_empty() && nested().next().is_none();
        let full_name = join(scope, message.name());
        self.block(depth, &format!("message {}", message.name()), path, is_empty);
        for line in &reserved {
            self.put(depth + 1, line);
        }
        if !reserved.is_empty() && !message.field.is_empty() {
            self.blank();
        }
        self.fields(message, &full_name, path, depth + 1);
        let mut is_first = message.field.is_empty() && reserved.is_empty();
        for (at, one) in nested() {
            if !std::mem::take(&mut is_first) {
                self.blank();
            }
            self.message(one, &full_name, &below(path, &[NESTED, at]), depth + 1);
        }
        self.close(depth, path, is_empty);
    }

    fn fields(&mut self, message: &DescriptorProto, scope: &str, path: &[i32], depth: usize) {
        let entries: BTreeMap<String, &DescriptorProto> = message
            .nested_type
            .iter()
            .filter(|one| is_map_entry(one))
            .map(|one| (format!(".{}", join(scope, one.name())), one))
            .collect();
        let mut open = None;
        for (at, field) in (0..).zip(&message.field) {
            let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
            if oneof != open {
                if open.is_some() {
                    self.put(depth, "}");
                }
                let declared = oneof.and_then(|at| usize::try_from(at).ok());
                if let Some(one) = declared.and_then(|at| message.oneof_decl.get(at)) {
                    self.put(depth, &format!("oneof {} {{", one.name()));
                }
                open = oneof;
            }
            let entry = entries.get(field.type_name()).copied();
            let text = self.field(field, entry, scope);
            self.element(depth + usize::from(open.is_some()), &text, &below(path, &[FIELD, at]));
        }
        if open.is_some() {
            self.put(depth, "}");
        }
    }

    fn field(
        &self,
        field: &FieldDescriptorProto,
        entry: Option<&DescriptorProto>,
        scope: &str,
    ) -> String {
        let ty = match entry.map(|entry| entry.field.as_slice()) {
            Some([key, value]) => {
                format!("map<{}, {}>", self.type_of(key, scope), self.type_of(value, scope))
            }
            _ => self.type_of(field, scope),
        };
        let label = match field.label() {
            _ if entry.is_some() => "",
            prost_types::field_descriptor_proto::Label::Repeated => "repeated ",
            _ if field.proto3_optional() => "optional ",
            _ => "",
        };
        format!("{label}{ty} {} = {};", field.name(), field.number())
    }

    fn type_of(&self, field: &FieldDescriptorProto, scope: &str) -> String {
        let name = match field.r#type() {
            Type::Message | Type::Enum | Type::Group => {
                return self.reference(field.type_name(), scope);
            }
            Type::Double => "double",
            Type::Float => "float",
            Type::Int64 => "int64",
            Type::Uint64 => "uint64",
            Type::Int32 => "int32",
            Type::Fixed64 => "fixed64",
            Type::Fixed32 => "fixed32",
            Type::Bool => "bool",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Uint32 => "uint32",
            Type::Sfixed32 => "sfixed32",
            Type::Sfixed64 => "sfixed64",
            Type::Sint32 => "sint32",
            Type::Sint64 => "sint64",
        };
        name.to_owned()
    }

    /// The simple name where protobuf's search from `scope` outwards finds the type by it, else the
    /// full name with a leading dot.
    fn reference(&self, absolute: &str, scope: &str) -> String {
        let full_name = absolute.trim_start_matches('.');
        let simple = full_name.rsplit('.').next().unwrap_or(full_name);
        let mut scope = Some(scope);
        while let Some(around) = scope {
            let candidate = join(around, simple);
            if candidate == full_name && self.types.contains(full_name) {
                return simple.to_owned();
            }
            if self.types.contains(&candidate) {
                break;
            }
            scope = around.rsplit_once('.').map(|(outer, _)| outer);
        }
        format!(".{full_name}")
    }

    fn enumeration(&mut self, one: &EnumDescriptorProto, path: &[i32], depth: usize) {
        self.block(depth, &format!("enum {}", one.name()), path, false);
        let ranges = one.reserved_range.iter().map(|range| (range.start(), range.end()));
        let reserved = reserved(ranges, &one.reserved_name);
        for line in &reserved {
            self.put(depth + 1, line);
        }
        if !reserved.is_empty() {
            self.blank();
        }
        for (at, value) in (0..).zip(&one.value) {
            let text = format!("{} = {};", value.name(), value.number());
            self.element(depth + 1, &text, &below(path, &[MEMBER, at]));
        }
        self.close(depth, path, false);
    }

    /// One line with the comments of its element.
    fn element(&mut self, depth: usize, text: &str, path: &[i32]) {
        self.comment(depth, path);
        let start = column(depth);
        let end = start.saturating_add(column_of(text));
        self.spans.insert(path.to_vec(), vec![self.line, start, end]);
        self.put(depth, text);
    }

    fn block(&mut self, depth: usize, head: &str, path: &[i32], is_empty: bool) {
        self.comment(depth, path);
        self.spans.insert(path.to_vec(), vec![self.line, column(depth)]);
        if is_empty {
            let text = format!("{head} {{}}");
            let end = column(depth).saturating_add(column_of(&text));
            self.spans.entry(path.to_vec()).or_default().push(end);
            self.put(depth, &text);
        } else {
            self.put(depth, &format!("{head} {{"));
        }
    }

    fn close(&mut self, depth: usize, path: &[i32], is_empty: bool) {
        if !is_empty {
            let end = [self.line, column(depth).saturating_add(1)];
            self.spans.entry(path.to_vec()).or_default().extend(end);
            self.put(depth, "}");
        }
    }

    fn comment(&mut self, depth: usize, path: &[i32]) {
        if let Some(text) = self.comments.get(path).copied() {
            for line in text.lines() {
                self.put(depth, format!("//{line}").trim_end());
            }
        }
    }

    fn put(&mut self, depth: usize, text: &str) {
        for _ in 0..depth {
            self.out.push_str("  ");
        }
        self.out.push_str(text);
        self.blank();
    }

    fn blank(&mut self) {
        self.out.push('\n');
        self.line = self.line.saturating_add(1);
    }
}

fn reserved(ranges: impl Iterator<Item = (i32, i32)>, names: &[String]) -> Vec<String> {
    let ranges: Vec<String> = ranges
        .map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first} to {last}") }
            },
        )
        .collect();
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    [ranges, names]
        .iter()
        .filter(|list| !list.is_empty())
        .map(|list| format!("reserved {};", list.join(", ")))
        .collect()
}

fn collect_types(scope: &str, message: &DescriptorProto, types: &mut BTreeSet<String>) {
    let full_name = join(scope, message.name());
    for nested in &message.nested_type {
        collect_types(&full_name, nested, types);
    }
    types.extend(message.enum_type.iter().map(|one| join(&full_name, one.name())));
    types.insert(full_name);
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn below(path: &[i32], rest: &[i32]) -> Vec<i32> {
    [path, rest].concat()
}

fn column(depth: usize) -> i32 {
    i32::try_from(depth.saturating_mul(2)).unwrap_or(i32::MAX)
}

fn column_of(text: &str) -> i32 {
    i32::try_from(text.len()).unwrap_or(i32::MAX)
}
