//! One set of files out of those of many modules.
//!
//! Modules of a namespace that share a protobuf package share its lock, so names and numbers agree;
//! each one's file holds only what that module uses and reserves the rest. Reflection shows the
//! union. Where two disagree all the same (a push was forced), the first one's word stands.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    iter,
};

use indexmap::IndexMap;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
    ServiceDescriptorProto, descriptor_proto::ReservedRange,
    enum_descriptor_proto::EnumReservedRange, source_code_info::Location,
};

// Field numbers within descriptors, as the paths of comments have them.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUM: i32 = 4;
const MEMBER: i32 = 2;

/// Merges files of the same name, in time that grows with what they hold; imported files come before
/// those that import them.
pub(crate) fn merge<'a>(
    files: impl IntoIterator<Item = &'a FileDescriptorProto>,
) -> Vec<FileDescriptorProto> {
    let mut by_name: BTreeMap<&str, Vec<&FileDescriptorProto>> = BTreeMap::new();
    for file in files {
        by_name.entry(file.name()).or_default().push(file);
    }
    let merged = by_name.into_iter().filter_map(|(name, files)| {
        let (first, others) = files.split_first()?;
        let others: Vec<_> = others.iter().copied().filter(|other| other != first).collect();
        Some((name, merge_files(first, &others)))
    });
    in_order(merged.collect())
}

fn in_order(mut files: BTreeMap<&str, FileDescriptorProto>) -> Vec<FileDescriptorProto> {
    let mut importers: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, file) in &files {
        let known = file.dependency.iter().filter_map(|name| files.get_key_value(name.as_str()));
        let imported: BTreeSet<&str> =
            known.map(|(imported, _)| *imported).filter(|imported| imported != name).collect();
        missing.insert(*name, imported.len());
        for imported in imported {
            importers.entry(imported).or_default().push(*name);
        }
    }
    let free = missing.iter().filter(|(_, imports)| **imports == 0);
    let mut ready: VecDeque<&str> = free.map(|(name, _)| *name).collect();
    let mut ordered = Vec::with_capacity(files.len());
    while let Some(name) = ready.pop_front() {
        ordered.extend(files.remove(name));
        for importer in importers.remove(name).unwrap_or_default() {
            let Some(imports) = missing.get_mut(importer) else { continue };
            *imports -= 1;
            if *imports == 0 {
                ready.push_back(importer);
            }
        }
    }
    // Only a forced push can make packages use each other: they are shown as they are.
    ordered.extend(files.into_values());
    ordered
}

fn merge_files(
    first: &FileDescriptorProto,
    others: &[&FileDescriptorProto],
) -> FileDescriptorProto {
    let comments: Vec<Comments<'_>> = others.iter().map(|file| Comments::of(file)).collect();
    let group = Group {
        // Its comments stay where they are.
        first: Part { element: first, path: Vec::new(), comments: None },
        others: others
            .iter()
            .zip(&comments)
            .map(|(file, comments)| Part {
                element: *file,
                path: Vec::new(),
                comments: Some(comments),
            })
            .collect(),
    };
    let mut added = Vec::new();
    let mut merged = merge_group(group, &[], &mut added);
    if let Some(info) = &mut merged.source_code_info {
        info.location.append(&mut added);
    }
    merged
}

/// The comments of one file, sorted by the paths of what they are about.
struct Comments<'a>(Vec<&'a Location>);

impl<'a> Comments<'a> {
    fn of(file: &'a FileDescriptorProto) -> Self {
        let info = file.source_code_info.iter();
        let mut locations: Vec<_> = info.flat_map(|info| &info.location).collect();
        locations.sort_by(|a, b| a.path.cmp(&b.path));
        Self(locations)
    }

    /// Everything at and below `from`, as `to`.
    fn moved(&self, from: &[i32], to: &[i32]) -> impl Iterator<Item = Location> {
        let start = self.0.partition_point(|location| location.path.as_slice() < from);
        self.0.iter().skip(start).map_while(move |location| {
            let below = location.path.strip_prefix(from)?;
            let path = to.iter().chain(below).copied().collect();
            Some(Location { path, ..Location::clone(location) })
        })
    }
}

/// An element of one file.
struct Part<'a, T> {
    element: &'a T,
    /// Where it stands in its file.
    path: Vec<i32>,
    /// Its file's comments; none once those at and below the element are taken over.
    comments: Option<&'a Comments<'a>>,
}

impl<'a, T> Part<'a, T> {
    fn children<C: 'a>(
        &self,
        field: i32,
        list: fn(&T) -> &[C],
    ) -> impl Iterator<Item = Part<'a, C>> {
        list(self.element).iter().enumerate().map(move |(index, element)| Part {
            element,
            path: below(&self.path, field, index),
            comments: self.comments,
        })
    }

    fn take_comments(&mut self, to: &[i32], added: &mut Vec<Location>) {
        if let Some(comments) = self.comments.take() {
            added.extend(comments.moved(&self.path, to));
        }
    }
}

/// Elements of one name in several files.
struct Group<'a, T> {
    first: Part<'a, T>,
    others: Vec<Part<'a, T>>,
}

impl<'a, T> Group<'a, T> {
    fn parts(&self) -> impl Iterator<Item = &Part<'a, T>> {
        iter::once(&self.first).chain(&self.others)
    }
}

/// What is merged with others of its name.
trait Element: Clone + 'static {
    fn key(&self) -> &str;

    /// Makes a copy of the group's first element, which stands at `to`, the union of the group.
    fn absorb(&mut self, group: &Group<'_, Self>, to: &[i32], added: &mut Vec<Location>);
}

fn merge_group<T: Element>(mut group: Group<'_, T>, to: &[i32], added: &mut Vec<Location>) -> T {
    group.first.take_comments(to, added);
    let mut merged = group.first.element.clone();
    if !group.others.is_empty() {
        merged.absorb(&group, to, added);
    }
    merged
}

/// Merges one list of all elements of a group. Each name stands where it first came.
fn merge_lists<'a, P, T: Element>(
    group: &Group<'a, P>,
    field: i32,
    list: fn(&P) -> &[T],
    to: &[i32],
    added: &mut Vec<Location>,
) -> Vec<T> {
    let mut by_name: IndexMap<&'a str, Group<'a, T>> = IndexMap::new();
    for part in group.parts().flat_map(|part| part.children(field, list)) {
        let name = part.element.key();
        match by_name.get_mut(name) {
            Some(known) => known.others.push(part),
            None => {
                by_name.insert(name, Group { first: part, others: Vec::new() });
            }
        }
    }
    let groups = by_name.into_values().enumerate();
    groups.map(|(index, group)| merge_group(group, &below(to, field, index), added)).collect()
}

/// The members of all but the first element whose number and name no member before them has, each
/// with the element that it is of.
fn new_members<'a, T, M: 'a>(
    group: &Group<'a, T>,
    field: i32,
    list: fn(&T) -> &[M],
    key: fn(&M) -> (i32, &str),
) -> Vec<(&'a T, Part<'a, M>)> {
    let (mut numbers, mut names): (HashSet<i32>, HashSet<&str>) =
        list(group.first.element).iter().map(key).unzip();
    let mut new = Vec::new();
    for other in &group.others {
        for part in other.children(field, list) {
            let (number, name) = key(part.element);
            if !numbers.contains(&number) && !names.contains(name) {
                numbers.insert(number);
                names.insert(name);
                new.push((other.element, part));
            }
        }
    }
    new
}

fn below(path: &[i32], field: i32, index: usize) -> Vec<i32> {
    let index = i32::try_from(index).unwrap_or(i32::MAX);
    path.iter().copied().chain([field, index]).collect()
}

impl Element for FileDescriptorProto {
    fn key(&self) -> &str {
        self.name()
    }

    fn absorb(&mut self, group: &Group<'_, Self>, to: &[i32], added: &mut Vec<Location>) {
        let mut known: HashSet<&String> = group.first.element.dependency.iter().collect();
        for dependency in group.others.iter().flat_map(|part| &part.element.dependency) {
            if known.insert(dependency) {
                self.dependency.push(dependency.clone());
            }
        }
        self.message_type =
            merge_lists(group, FILE_MESSAGE, |file| file.message_type.as_slice(), to, added);
        self.enum_type = merge_lists(group, FILE_ENUM, |file| file.enum_type.as_slice(), to, added);
        self.service = merge_lists(group, FILE_SERVICE, |file| file.service.as_slice(), to, added);
    }
}

impl Element for DescriptorProto {
    fn key(&self) -> &str {
        self.name()
    }

    fn absorb(&mut self, group: &Group<'_, Self>, to: &[i32], added: &mut Vec<Location>) {
        merge_fields(self, group, to, added);
        self.nested_type =
            merge_lists(group, MESSAGE_NESTED, |message| message.nested_type.as_slice(), to, added);
        self.enum_type =
            merge_lists(group, MESSAGE_ENUM, |message| message.enum_type.as_slice(), to, added);

        let used: BTreeSet<i32> = self.field.iter().map(|field| field.number()).collect();
        let reserved = group.parts().flat_map(|part| &part.element.reserved_range);
        self.reserved_range = without(reserved.map(|range| (range.start(), range.end())), &used)
            .map(|(start, end)| ReservedRange { start: Some(start), end: Some(end) })
            .collect();
        let names: HashSet<&str> = self.field.iter().map(|field| field.name()).collect();
        let reserved = group.parts().flat_map(|part| &part.element.reserved_name);
        self.reserved_name = unused(reserved, &names);
    }
}

fn merge_fields(
    into: &mut DescriptorProto,
    group: &Group<'_, DescriptorProto>,
    to: &[i32],
    added: &mut Vec<Location>,
) {
    let oneofs = group.first.element.oneof_decl.iter().enumerate();
    let mut oneofs: HashMap<&str, usize> =
        oneofs.map(|(index, oneof)| (oneof.name(), index)).collect();
    let new = new_members(
        group,
        MESSAGE_FIELD,
        |message| message.field.as_slice(),
        |field| (field.number(), field.name()),
    );
    for (message, mut part) in new {
        part.take_comments(&below(to, MESSAGE_FIELD, into.field.len()), added);
        let mut field = part.element.clone();
        field.oneof_index = field.oneof_index.and_then(|oneof| {
            let oneof = message.oneof_decl.get(usize::try_from(oneof).ok()?)?;
            let position = *oneofs.entry(oneof.name()).or_insert_with(|| {
                into.oneof_decl.push(oneof.clone());
                into.oneof_decl.len() - 1
            });
            i32::try_from(position).ok()
        });
        into.field.push(field);
    }
}

impl Element for EnumDescriptorProto {
    fn key(&self) -> &str {
        self.name()
    }

    fn absorb(&mut self, group: &Group<'_, Self>, to: &[i32], added: &mut Vec<Location>) {
        let new = new_members(
            group,
            MEMBER,
            |one| one.value.as_slice(),
            |value| (value.number(), value.name()),
        );
        for (_, mut part) in new {
            part.take_comments(&below(to, MEMBER, self.value.len()), added);
            self.value.push(part.element.clone());
        }
        let used: BTreeSet<i32> = self.value.iter().map(|value| value.number()).collect();
        let reserved = group.parts().flat_map(|part| &part.element.reserved_range);
        // Enums reserve up to and including the end, messages up to it.
        let reserved = reserved.map(|range| (range.start(), range.end().saturating_add(1)));
        self.reserved_range = without(reserved, &used)
            .map(|(start, end)| EnumReservedRange { start: Some(start), end: Some(end - 1) })
            .collect();
        let names: HashSet<&str> = self.value.iter().map(|value| value.name()).collect();
        let reserved = group.parts().flat_map(|part| &part.element.reserved_name);
        self.reserved_name = unused(reserved, &names);
    }
}

impl Element for ServiceDescriptorProto {
    fn key(&self) -> &str {
        self.name()
    }

    fn absorb(&mut self, group: &Group<'_, Self>, to: &[i32], added: &mut Vec<Location>) {
        self.method = merge_lists(group, MEMBER, |service| service.method.as_slice(), to, added);
    }
}

impl Element for MethodDescriptorProto {
    fn key(&self) -> &str {
        self.name()
    }

    /// A method has no parts: the first one's word stands.
    fn absorb(&mut self, _group: &Group<'_, Self>, _to: &[i32], _added: &mut Vec<Location>) {}
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

fn unused<'a>(names: impl Iterator<Item = &'a String>, used: &HashSet<&str>) -> Vec<String> {
    let unused: BTreeSet<&String> = names.filter(|name| !used.contains(name.as_str())).collect();
    unused.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use prost_types::{EnumValueDescriptorProto, OneofDescriptorProto, SourceCodeInfo};

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
    fn many_modules_of_one_package_make_one_file() {
        let module = |n: i32| {
            let (own, name) = (format!("Own{n}"), format!("f{n}"));
            let shared = message("Shared", &[("a", 1), (name.as_str(), n + 2)], &[]);
            let comments: [(&[i32], &str); 2] =
                [(&[4, 0, 2, 1], name.as_str()), (&[4, 1], own.as_str())];
            file(vec![shared, message(&own, &[], &[])], &["Find"], &comments)
        };
        let files: Vec<_> = (0..20).map(module).collect();
        let merged = merge(&files);
        let [file] = merged.as_slice() else { panic!("{} files", merged.len()) };
        let comments: BTreeMap<&[i32], &str> = file
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .map(|location| (location.path.as_slice(), location.leading_comments()))
            .collect();
        assert_eq!(file.service[0].method.len(), 1);
        assert_eq!((file.message_type.len(), file.message_type[0].field.len()), (21, 21));
        assert_eq!(comments.len(), 40);
        for n in 0..20_i32 {
            let place = n + 1;
            let at = usize::try_from(place).unwrap();
            assert_eq!(file.message_type[at].name(), format!("Own{n}"));
            assert_eq!(comments[&[4, place] as &[i32]], format!("Own{n}"));
            assert_eq!(file.message_type[0].field[at].number(), n + 2);
            assert_eq!(comments[&[4, 0, 2, place] as &[i32]], format!("f{n}"));
        }
        DescriptorPool::new().add_file_descriptor_protos(merged).unwrap();
    }

    #[test]
    fn fields_keep_their_oneofs() {
        let with = |oneof: &str, name: &str, number| {
            let choice =
                prost_types::FieldDescriptorProto { oneof_index: Some(0), ..field(name, number) };
            let shared = DescriptorProto {
                field: vec![choice],
                oneof_decl: vec![OneofDescriptorProto {
                    name: Some(oneof.to_owned()),
                    ..Default::default()
                }],
                ..message("Shared", &[], &[])
            };
            file(vec![shared], &[], &[])
        };
        let files = [with("one", "a", 1), with("two", "b", 2), with("one", "c", 3)];
        let merged = merge(&files);
        let shared = &merged[0].message_type[0];
        let oneofs: Vec<_> = shared.field.iter().map(|field| field.oneof_index()).collect();
        assert_eq!(oneofs, [0, 1, 0]);
        let names: Vec<_> = shared.oneof_decl.iter().map(|oneof| oneof.name()).collect();
        assert_eq!(names, ["one", "two"]);
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
