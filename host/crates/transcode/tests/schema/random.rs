//! Random worlds: whatever WIT there is, the schema is valid, prints, compiles and stays.

use std::fmt::Write as _;

use proptest::prelude::*;
use roadstead_transcode::{Derived, Locks, compare};

use crate::support::{derived_with, world};

/// A type by its text; named types are the ones declared before it.
#[derive(Debug, Clone)]
enum Ty {
    Plain(&'static str),
    Option(Box<Ty>),
    List(Box<Ty>),
    Map(&'static str, Box<Ty>),
    Tuple(Vec<Ty>),
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Named(prop::sample::Index),
}

#[derive(Debug, Clone)]
enum Definition {
    Record(Vec<(String, Ty)>),
    Variant(Vec<(String, Option<Ty>)>),
    Enum(Vec<String>),
    Flags(Vec<String>),
    Alias(Ty),
}

#[derive(Debug, Clone)]
struct Function {
    name: String,
    params: Vec<(String, Ty)>,
    result: Option<Ty>,
}

#[derive(Debug, Clone)]
struct Wit {
    types: Vec<(String, Definition)>,
    functions: Vec<Function>,
    /// Types from here on, and the functions, stand in a second interface that uses the first.
    split: prop::sample::Index,
}

/// Few and short, so that they collide; with digits, so that protobuf confuses them.
fn name() -> impl Strategy<Value = String> {
    let word =
        prop::sample::select(vec!["a", "b", "find", "request", "type", "kind", "A", "entry"]);
    let rest =
        prop::sample::select(vec!["a", "1", "b2", "request", "response", "type", "entry", "B"]);
    (word, prop::collection::vec(rest, 0..3))
        .prop_map(|(first, rest)| [vec![first], rest].concat().join("-"))
}

fn scalar() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "bool", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "char", "string",
    ])
}

fn ty() -> impl Strategy<Value = Ty> {
    let leaf = prop_oneof![
        3 => scalar().prop_map(Ty::Plain),
        1 => prop::sample::select(vec!["f32", "f64"]).prop_map(Ty::Plain),
        4 => any::<prop::sample::Index>().prop_map(Ty::Named),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Ty::Option),
            boxed.clone().prop_map(Ty::List),
            (scalar(), boxed.clone()).prop_map(|(key, value)| Ty::Map(key, value)),
            prop::collection::vec(inner, 1..4).prop_map(Ty::Tuple),
            (prop::option::of(boxed.clone()), prop::option::of(boxed))
                .prop_map(|(ok, error)| Ty::Result(ok, error)),
        ]
    })
}

fn named<T: std::fmt::Debug>(
    of: impl Strategy<Value = T>,
    size: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<(String, T)>> {
    prop::collection::vec((name(), of), size).prop_map(|mut all| {
        // WIT names must differ in more than their case.
        let mut seen = std::collections::HashSet::new();
        all.retain(|(name, _)| seen.insert(name.to_ascii_lowercase()));
        all
    })
}

fn names() -> impl Strategy<Value = Vec<String>> {
    named(Just(()), 1..6).prop_map(|all| all.into_iter().map(|(name, ())| name).collect())
}

fn definition() -> impl Strategy<Value = Definition> {
    prop_oneof![
        3 => named(ty(), 1..6).prop_map(Definition::Record),
        2 => named(prop::option::of(ty()), 1..6).prop_map(Definition::Variant),
        1 => names().prop_map(Definition::Enum),
        1 => names().prop_map(Definition::Flags),
        1 => ty().prop_map(Definition::Alias),
    ]
}

fn wit() -> impl Strategy<Value = Wit> {
    let function = (named(ty(), 0..5), prop::option::of(ty()));
    (named(definition(), 0..6), named(function, 1..5), any::<prop::sample::Index>()).prop_map(
        |(types, functions, split)| {
            let taken: Vec<String> =
                types.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
            let functions = functions
                .into_iter()
                .filter(|(name, _)| !taken.contains(&name.to_ascii_lowercase()))
                .map(|(name, (params, result))| Function { name, params, result })
                .collect();
            Wit { types, functions, split }
        },
    )
}

impl Wit {
    fn text(&self) -> String {
        let split = self.split.index(self.types.len() + 1);
        let mut text = String::from("package t:random@1.2.3;\ninterface find {\n");
        for (at, (name, definition)) in self.types.iter().enumerate() {
            if at == split {
                self.second(&mut text, split);
            }
            let known = &self.types[..at];
            definition.write(&mut text, name, known);
        }
        if split == self.types.len() {
            self.second(&mut text, split);
        }
        for Function { name, params, result } in &self.functions {
            let params = fields(params, &self.types);
            write!(text, "%{name}: func({params})").unwrap();
            if let Some(result) = result {
                write!(text, " -> {}", result.text(&self.types)).unwrap();
            }
            text.push_str(";\n");
        }
        text.push_str("}\nworld w { export find; export kind; }\n");
        text
    }

    fn second(&self, text: &mut String, split: usize) {
        text.push_str("}\ninterface kind {\n");
        if split > 0 {
            let used: Vec<_> =
                self.types[..split].iter().map(|(name, _)| format!("%{name}")).collect();
            writeln!(text, "use find.{{{}}};", used.join(", ")).unwrap();
        }
    }
}

fn fields(fields: &[(String, Ty)], known: &[(String, Definition)]) -> String {
    let each = fields.iter().map(|(name, ty)| format!("%{name}: {}", ty.text(known)));
    each.collect::<Vec<_>>().join(", ")
}

impl Definition {
    fn write(&self, text: &mut String, name: &str, known: &[(String, Self)]) {
        let names =
            |all: &[String]| all.iter().map(|one| format!("%{one}")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Record(all) => writeln!(text, "record %{name} {{ {} }}", fields(all, known)),
            Self::Enum(all) => writeln!(text, "enum %{name} {{ {} }}", names(all)),
            Self::Flags(all) => writeln!(text, "flags %{name} {{ {} }}", names(all)),
            Self::Alias(ty) => writeln!(text, "type %{name} = {};", ty.text(known)),
            Self::Variant(cases) => {
                let cases = cases.iter().map(|(name, ty)| match ty {
                    Some(ty) => format!("%{name}({})", ty.text(known)),
                    None => format!("%{name}"),
                });
                writeln!(text, "variant %{name} {{ {} }}", cases.collect::<Vec<_>>().join(", "))
            }
        }
        .unwrap();
    }

    fn reversed(&self) -> Self {
        let mut reversed = self.clone();
        match &mut reversed {
            Self::Record(all) => all.reverse(),
            Self::Variant(all) => all.reverse(),
            Self::Enum(all) | Self::Flags(all) => all.reverse(),
            Self::Alias(_) => {}
        }
        reversed
    }
}

impl Ty {
    fn text(&self, known: &[(String, Definition)]) -> String {
        let optional = |ty: &Option<Box<Self>>| {
            ty.as_ref().map_or_else(|| "_".to_owned(), |ty| ty.text(known))
        };
        match self {
            Self::Plain(name) => (*name).to_owned(),
            Self::Option(ty) => format!("option<{}>", ty.text(known)),
            Self::List(ty) => format!("list<{}>", ty.text(known)),
            Self::Map(key, value) => format!("map<{key}, {}>", value.text(known)),
            Self::Tuple(types) => {
                let types: Vec<_> = types.iter().map(|ty| ty.text(known)).collect();
                format!("tuple<{}>", types.join(", "))
            }
            Self::Result(None, None) => "result".to_owned(),
            Self::Result(ok, None) => format!("result<{}>", optional(ok)),
            Self::Result(ok, error) => format!("result<{}, {}>", optional(ok), optional(error)),
            Self::Named(_) if known.is_empty() => "u8".to_owned(),
            Self::Named(at) => format!("%{}", at.get(known).0),
        }
    }
}

/// Derives with every check that there is: valid, printable, the same when compiled.
fn derived(wit: &Wit, locks: &Locks) -> Derived {
    derived_with(&world(&wit.text()), locks)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_world_has_a_schema_that_stays(first in wit(), second in wit()) {
        let before = derived(&first, &Locks::default());
        prop_assert!(before.unmapped.is_empty());
        prop_assert!(compare(&Locks::default(), &Locks::default(), &before).is_empty());

        let again = derived(&first, &before.locks);
        prop_assert_eq!(&again.files, &before.files);
        prop_assert_eq!(&again.locks, &before.locks);
        prop_assert!(compare(&before.locks, &before.surface, &again).is_empty());

        // Something else under the same names: what was given out stays given out.
        let changed = derived(&second, &before.locks);
        prop_assert_eq!(&derived(&second, &before.locks).files, &changed.files);
        let back = derived(&first, &changed.locks);
        prop_assert_eq!(given_out(&back), given_out(&before));
    }

    #[test]
    fn reordering_changes_no_number(wit in wit()) {
        let before = derived(&wit, &Locks::default());
        let mut reordered = wit.clone();
        reordered.functions.reverse();
        for function in &mut reordered.functions {
            function.params.reverse();
        }
        for (_, definition) in &mut reordered.types {
            *definition = definition.reversed();
        }
        let after = derived(&reordered, &before.locks);
        prop_assert_eq!(given_out(&after), given_out(&before));
        prop_assert!(compare(&before.locks, &before.surface, &after).is_empty());
    }
}

/// Every name and number that a version uses, without the order in which they were given out.
fn given_out(derived: &Derived) -> Vec<String> {
    let mut lines = Vec::new();
    for file in &derived.files {
        for service in &file.service {
            lines.push(format!("{} {}", file.package(), service.name()));
            let methods = service.method.iter();
            lines.extend(methods.map(|one| format!("{} {}", one.name(), one.input_type())));
        }
        for one in &file.enum_type {
            let values = one.value.iter();
            lines.extend(values.map(|v| {
                format!("{}.{}: {} {}", file.package(), one.name(), v.name(), v.number())
            }));
        }
        for message in &file.message_type {
            collect(file.package(), message, &mut lines);
        }
    }
    lines.sort();
    lines
}

fn collect(scope: &str, message: &prost_types::DescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{scope}.{}", message.name());
    let fields = message.field.iter();
    lines.extend(fields.map(|field| format!("{name}: {} {}", field.name(), field.number())));
    for nested in &message.nested_type {
        collect(&name, nested, lines);
    }
    lines.push(name);
}
