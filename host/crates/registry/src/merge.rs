//! One set of files out of those of many modules.
//!
//! Modules of a namespace that share a protobuf package share its lock, so names and numbers agree;
//! each one's file holds only what that module uses and reserves the rest. Reflection shows the
//! union. Where two disagree all the same (a push was forced), the first one's word stands.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
    descriptor_proto::ReservedRange, enum_descriptor_proto::EnumReservedRange,
    source_code_info::Location,
};

// Field numbers within descriptors, as the paths of comments have them.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUM: i32 = 4;
const MEMBER: i32 = 2;

/// Merges files of the same name; imported files come before those that import them.
pub(crate) fn merge<'a>(
    files: impl IntoIterator<Item = &'a FileDescriptorProto>,
) -> Vec<FileDescriptorProto> {
    let mut merged: BTreeMap<&str, FileDescriptorProto> = BTreeMap::new();
    for file in files {
        match merged.get_mut(file.name()) {
            Some(into) if into == file => {}
            Some(into) => merge_file(into, file),
            None => {
                merged.insert(file.name(), file.clone());
            }
        }
    }
    in_order(merged)
}

fn in_order(mut files: BTreeMap<&str, FileDescriptorProto>) -> Vec<FileDescriptorProto> {
    let mut ordered = Vec::with_capacity(files.len());
    let mut placed = BTreeSet::new();
    while !files.is_empty() {
        let free = |file: &FileDescriptorProto| {
            file.dependency.iter().all(|name| {
                placed.contains(name) || !files.contains_key(name.as_str()) || name == file.name()
            })
        };
        let mut ready: Vec<&str> =
            files.iter().filter(|(_, file)| free(file)).map(|(name, _)| *name).collect();
        if ready.is_empty() {
            // Only a forced push can make packages use each other: they are shown as they are.
            ready = files.keys().copied().collect();
        }
        for name in ready {
            if let Some(file) = files.remove(name) {
                placed.insert(name.to_owned());
                ordered.push(file);
            }
        }
    }
    ordered
}

/// Comments on their way from one file to another, whose elements have other positions.
struct Comments<'a> {
    from: &'a [Location],
    added: Vec<Location>,
}

impl Comments<'_> {
    /// Takes over everything at and below `from`, as `to`.
    fn take(&mut self, from: &[i32], to: &[i32]) {
        for location in self.from {
            if let Some(below) = location.path.strip_prefix(from) {
                let path = to.iter().chain(below).copied().collect();
                self.added.push(Location { path, ..location.clone() });
            }
        }
    }
}

fn merge_file(into: &mut FileDescriptorProto, from: &FileDescriptorProto) {
    for dependency in &from.dependency {
        if !into.dependency.contains(dependency) {
            into.dependency.push(dependency.clone());
        }
    }
    let locations = from.source_code_info.as_ref().map(|info| info.location.as_slice());
    let mut comments = Comments { from: locations.unwrap_or_default(), added: Vec::new() };
    let name = DescriptorProto::name;
    let at = Place { from: &[], to: &[], field: FILE_MESSAGE };
    merge_list(&mut into.message_type, &from.message_type, name, merge_message, at, &mut comments);
    let name = EnumDescriptorProto::name;
    let at = Place { field: FILE_ENUM, ..at };
    merge_list(&mut into.enum_type, &from.enum_type, name, merge_enum, at, &mut comments);
    let name = ServiceDescriptorProto::name;
    let at = Place { field: FILE_SERVICE, ..at };
    merge_list(&mut into.service, &from.service, name, merge_service, at, &mut comments);
    if let Some(info) = &mut into.source_code_info {
        info.location.append(&mut comments.added);
    }
}

/// Where a list of elements stands in both files.
#[derive(Clone, Copy)]
struct Place<'a> {
    from: &'a [i32],
    to: &'a [i32],
    field: i32,
}

type Merge<T> = fn(&mut T, &T, Place<'_>, &mut Comments<'_>);

/// Appends what `into` does not have, by name, and merges what both have.
fn merge_list<T: Clone>(
    into: &mut Vec<T>,
    from: &[T],
    name: fn(&T) -> &str,
    merge: Merge<T>,
    place: Place<'_>,
    comments: &mut Comments<'_>,
) {
    for (index, element) in from.iter().enumerate() {
        let known = into.iter().position(|known| name(known) == name(element));
        let from = below(place.from, place.field, index);
        let to = below(place.to, place.field, known.unwrap_or(into.len()));
        match known.and_then(|known| into.get_mut(known)) {
            Some(known) => {
                merge(known, element, Place { from: &from, to: &to, field: 0 }, comments)
            }
            None => {
                comments.take(&from, &to);
                into.push(element.clone());
            }
        }
    }
}

fn below(path: &[i32], field: i32, index: usize) -> Vec<i32> {
    let index = i32::try_from(index).unwrap_or(i32::MAX);
    path.iter().copied().chain([field, index]).collect()
}

fn merge_message(
    into: &mut DescriptorProto,
    from: &DescriptorProto,
    place: Place<'_>,
    comments: &mut Comments<'_>,
) {
    for (index, field) in from.field.iter().enumerate() {
        let clashes = |known: &prost_types::FieldDescriptorProto| {
            known.number == field.number || known.name == field.name
        };
        if into.field.iter().any(clashes) {
            continue;
        }
        let from_path = below(place.from, MESSAGE_FIELD, index);
        comments.take(&from_path, &below(place.to, MESSAGE_FIELD, into.field.len()));
        let mut field = field.clone();
        field.oneof_index = field.oneof_index.and_then(|oneof| {
            let oneof = from.oneof_decl.get(usize::try_from(oneof).ok()?)?;
            let known = into.oneof_decl.iter().position(|known| known.name == oneof.name);
            let position = known.unwrap_or_else(|| {
                into.oneof_decl.push(oneof.clone());
                into.oneof_decl.len() - 1
            });
            i32::try_from(position).ok()
        });
        into.field.push(field);
    }
    let at = Place { field: MESSAGE_NESTED, ..place };
    let name = DescriptorProto::name;
    merge_list(&mut into.nested_type, &from.nested_type, name, merge_message, at, comments);
    let at = Place { field: MESSAGE_ENUM, ..place };
    let name = EnumDescriptorProto::name;
    merge_list(&mut into.enum_type, &from.enum_type, name, merge_enum, at, comments);

    let used: BTreeSet<i32> = into.field.iter().map(|field| field.number()).collect();
    let both = into.reserved_range.iter().chain(&from.reserved_range);
    let reserved = both.map(|range| (range.start(), range.end()));
    into.reserved_range = without(reserved, &used)
        .map(|(start, end)| ReservedRange { start: Some(start), end: Some(end) })
        .collect();
    let names = into.field.iter().map(|field| field.name().to_owned()).collect();
    into.reserved_name = unused(&into.reserved_name, &from.reserved_name, &names);
}

fn merge_enum(
    into: &mut EnumDescriptorProto,
    from: &EnumDescriptorProto,
    place: Place<'_>,
    comments: &mut Comments<'_>,
) {
    for (index, value) in from.value.iter().enumerate() {
        let clashes = |known: &prost_types::EnumValueDescriptorProto| {
            known.number == value.number || known.name == value.name
        };
        if into.value.iter().any(clashes) {
            continue;
        }
        let to = below(place.to, MEMBER, into.value.len());
        comments.take(&below(place.from, MEMBER, index), &to);
        into.value.push(value.clone());
    }
    let used: BTreeSet<i32> = into.value.iter().map(|value| value.number()).collect();
    let both = into.reserved_range.iter().chain(&from.reserved_range);
    // Enums reserve up to and including the end, messages up to it.
    let reserved = both.map(|range| (range.start(), range.end().saturating_add(1)));
    into.reserved_range = without(reserved, &used)
        .map(|(start, end)| EnumReservedRange { start: Some(start), end: Some(end - 1) })
        .collect();
    let names = into.value.iter().map(|value| value.name().to_owned()).collect();
    into.reserved_name = unused(&into.reserved_name, &from.reserved_name, &names);
}

fn merge_service(
    into: &mut ServiceDescriptorProto,
    from: &ServiceDescriptorProto,
    place: Place<'_>,
    comments: &mut Comments<'_>,
) {
    for (index, method) in from.method.iter().enumerate() {
        if into.method.iter().any(|known| known.name == method.name) {
            continue;
        }
        let to = below(place.to, MEMBER, into.method.len());
        comments.take(&below(place.from, MEMBER, index), &to);
        into.method.push(method.clone());
    }
}

/// The ranges, which end before their second number, without single numbers: disjoint, in order.
fn without(
    ranges: impl Iterator<Item = (i32, i32)>,
    used: &BTreeSet<i32>,
) -> impl Iterator<Item = (i32, i32)> {
    let mut ranges: Vec<(i32, i32)> = ranges.collect();
    ranges.sort_unstable();
    let mut disjoint: Vec<(i32, i32)> = Vec::new();
    let mut next = i32::MIN;
    for (start, end) in ranges {
        let mut start = start.max(next);
        let holes: Vec<i32> =
            if start < end { used.range(start..end).copied().collect() } else { Vec::new() };
        for hole in holes {
            if start < hole {
                disjoint.push((start, hole));
            }
            start = hole.saturating_add(1);
        }
        if start < end {
            disjoint.push((start, end));
        }
        next = next.max(end);
    }
    disjoint.into_iter()
}

fn unused(into: &[String], from: &[String], used: &BTreeSet<String>) -> Vec<String> {
    let names: BTreeSet<&String> =
        into.iter().chain(from).filter(|name| !used.contains(*name)).collect();
    names.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use prost_types::{EnumValueDescriptorProto, MethodDescriptorProto, SourceCodeInfo};

    use super::*;

    const STRING: i32 = 9;

    fn field(name: &str, number: i32) -> prost_types::FieldDescriptorProto {
        prost_types::FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            label: Some(1),
            r#type: Some(STRING),
            ..Default::default()
        }
    }

    fn message(name: &str, fields: &[(&str, i32)], reserved: &[(&str, i32)]) -> DescriptorProto {
        let range = |number: i32| ReservedRange { start: Some(number), end: Some(number + 1) };
        DescriptorProto {
            name: Some(name.to_owned()),
            field: fields.iter().map(|(name, number)| field(name, *number)).collect(),
            reserved_range: reserved.iter().map(|(_, number)| range(*number)).collect(),
            reserved_name: reserved.iter().map(|(name, _)| (*name).to_owned()).collect(),
            ..Default::default()
        }
    }

    fn service(methods: &[&str]) -> ServiceDescriptorProto {
        let method = |name: &&str| MethodDescriptorProto {
            name: Some((*name).to_owned()),
            input_type: Some(".p.Shared".to_owned()),
            output_type: Some(".p.Shared".to_owned()),
            ..Default::default()
        };
        let method = methods.iter().map(method).collect();
        ServiceDescriptorProto { name: Some("S".to_owned()), method, ..Default::default() }
    }

    fn file(
        messages: Vec<DescriptorProto>,
        methods: &[&str],
        comments: &[(&[i32], &str)],
    ) -> FileDescriptorProto {
        let location = comments.iter().map(|(path, text)| Location {
            path: path.to_vec(),
            span: vec![0, 0, 0],
            leading_comments: Some((*text).to_owned()),
            ..Default::default()
        });
        FileDescriptorProto {
            name: Some("p.proto".to_owned()),
            package: Some("p".to_owned()),
            syntax: Some("proto3".to_owned()),
            message_type: messages,
            service: vec![service(methods)],
            source_code_info: Some(SourceCodeInfo { location: location.collect() }),
            ..Default::default()
        }
    }

    #[test]
    fn two_modules_of_one_package_make_one_file() {
        let one = file(
            vec![
                message("Shared", &[("a", 1), ("b", 2)], &[("c", 3), ("gone", 4)]),
                message("One", &[], &[]),
            ],
            &["Find"],
            &[(&[4, 0], "shared"), (&[6, 0, 2, 0], "finds")],
        );
        let two = file(
            vec![
                message("Two", &[("x", 1)], &[]),
                message("Shared", &[("a", 1), ("c", 3)], &[("b", 2), ("gone", 4)]),
            ],
            &["Find", "Weigh"],
            &[(&[4, 0, 2, 0], "the x"), (&[4, 1, 2, 1], "the c"), (&[6, 0, 2, 1], "weighs")],
        );
        let merged = merge([&one, &two]);
        assert_eq!(merged.len(), 1);
        let file = &merged[0];
        let names: Vec<_> = file.message_type.iter().map(DescriptorProto::name).collect();
        assert_eq!(names, ["Shared", "One", "Two"]);
        let shared = &file.message_type[0];
        let fields: Vec<_> =
            shared.field.iter().map(|field| (field.name(), field.number())).collect();
        assert_eq!(fields, [("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(shared.reserved_name, ["gone"]);
        assert_eq!(shared.reserved_range, [ReservedRange { start: Some(4), end: Some(5) }]);
        let methods: Vec<_> = file.service[0].method.iter().map(|method| method.name()).collect();
        assert_eq!(methods, ["Find", "Weigh"]);
        let comments: BTreeMap<&[i32], &str> = file
            .source_code_info
            .as_ref()
            .unwrap()
            .location
            .iter()
            .map(|location| (location.path.as_slice(), location.leading_comments()))
            .collect();
        let expected: BTreeMap<&[i32], &str> = BTreeMap::from([
            (&[4, 0] as &[i32], "shared"),
            (&[4, 0, 2, 2], "the c"),
            (&[4, 2, 2, 0], "the x"),
            (&[6, 0, 2, 0], "finds"),
            (&[6, 0, 2, 1], "weighs"),
        ]);
        assert_eq!(comments, expected);
        DescriptorPool::new().add_file_descriptor_protos(merged).unwrap();
    }

    #[test]
    fn the_first_word_stands_and_the_set_links() {
        let one = file(vec![message("Shared", &[("a", 1)], &[])], &[], &[]);
        let two = file(vec![message("Shared", &[("other", 1), ("a", 5), ("b", 2)], &[])], &[], &[]);
        let merged = merge([&one, &two]);
        let fields: Vec<_> = merged[0].message_type[0]
            .field
            .iter()
            .map(|field| (field.name(), field.number()))
            .collect();
        assert_eq!(fields, [("a", 1), ("b", 2)]);
        DescriptorPool::new().add_file_descriptor_protos(merged).unwrap();
    }

    #[test]
    fn enums_take_each_others_values() {
        let value = |name: &str, number| EnumValueDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            ..Default::default()
        };
        let with = |values: Vec<EnumValueDescriptorProto>, reserved: i32| {
            let range = EnumReservedRange { start: Some(reserved), end: Some(reserved) };
            let one = EnumDescriptorProto {
                name: Some("E".to_owned()),
                value: values,
                reserved_range: vec![range],
                ..Default::default()
            };
            FileDescriptorProto { enum_type: vec![one], ..file(Vec::new(), &[], &[]) }
        };
        let one = with(vec![value("ZERO", 0), value("A", 1)], 2);
        let two = with(vec![value("ZERO", 0), value("B", 2)], 1);
        let merged = merge([&one, &two]);
        let values: Vec<_> = merged[0].enum_type[0].value.iter().map(|v| v.number()).collect();
        assert_eq!(values, [0, 1, 2]);
        assert_eq!(merged[0].enum_type[0].reserved_range, []);
    }

    #[test]
    fn imported_files_come_first() {
        let named = |name: &str, dependencies: &[&str]| FileDescriptorProto {
            name: Some(name.to_owned()),
            dependency: dependencies.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let (a, b) = (named("a", &["b", "google/protobuf/empty.proto"]), named("b", &["c"]));
        let c = named("c", &[]);
        let merged = merge([&a, &b, &c]);
        let order: Vec<_> = merged.iter().map(FileDescriptorProto::name).collect();
        assert_eq!(order, ["c", "b", "a"]);
        let cyclic = named("c", &["a"]);
        assert_eq!(merge([&a, &b, &cyclic]).len(), 3);
    }

    #[test]
    fn ranges_lose_single_numbers() {
        let used = BTreeSet::from([3, 5]);
        let left: Vec<_> = without([(4, 8), (1, 6), (9, 9)].into_iter(), &used).collect();
        assert_eq!(left, [(1, 3), (4, 5), (6, 8)]);
    }
}
