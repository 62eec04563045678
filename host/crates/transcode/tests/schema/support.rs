//! Deriving from WIT text, and checking what comes out as a client's tools would.

use std::collections::BTreeMap;

use prost_types::{FileDescriptorProto, FileDescriptorSet};
use roadstead_transcode::{Derived, Locks, MethodPlan, World, derive, print_proto};

pub(crate) fn world(wit: &str) -> World {
    World::from_wit(&[("world.wit".to_owned(), wit.to_owned())], None).unwrap()
}

/// Derives as version 0.1.0 of the module `my-module`.
pub(crate) fn derived_with(world: &World, locks: &Locks) -> Derived {
    let module = "my-module".parse().unwrap();
    let derived = derive(world, &module, &"0.1.0".parse().unwrap(), locks).unwrap();
    check(&derived);
    derived
}

pub(crate) fn derived(wit: &str) -> Derived {
    derived_with(&world(wit), &Locks::default())
}

pub(crate) fn text(derived: &Derived, path: &str) -> String {
    let file = derived.files.iter().find(|file| file.name() == path);
    print_proto(file.unwrap_or_else(|| panic!("no {path} in {:?}", paths(derived))))
}

pub(crate) fn paths(derived: &Derived) -> Vec<String> {
    derived.files.iter().map(|file| file.name().to_owned()).collect()
}

pub(crate) fn unmapped(derived: &Derived) -> Vec<String> {
    derived.unmapped.iter().map(|one| format!("{}: {}", one.export, one.reason)).collect()
}

/// The method with a name, of the only service that has it.
pub(crate) fn method<'a>(derived: &'a Derived, name: &str) -> &'a MethodPlan {
    let methods = derived.services.iter().flat_map(|service| &service.methods);
    methods.into_iter().find(|method| method.method == name).unwrap()
}

/// Asserts that the text holds these lines, one behind the other, whatever their indentation.
pub(crate) fn assert_lines(text: &str, expected: &str) {
    let trimmed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let expected = trimmed(expected.trim());
    assert!(trimmed(text).contains(&expected), "not there:\n{expected}\nin:\n{text}");
}

/// The one file of a module that has one.
pub(crate) fn only(derived: &Derived) -> String {
    assert_eq!(derived.files.len(), 1, "{:?}", paths(derived));
    print_proto(&derived.files[0])
}

/// The printed text compiles to the very descriptors that were derived, comments included; and the
/// lock's text reads back.
pub(crate) fn check(derived: &Derived) {
    let compiled = compile(derived);
    for file in &derived.files {
        let mut expected = file.clone();
        let mut found = compiled[file.name()].clone();
        assert_eq!(comments(&expected), comments(&found), "{}", print_proto(file));
        for (path, span) in spans(&expected) {
            assert_eq!(spans(&found).get(&path), Some(&span), "{path:?}\n{}", print_proto(file));
        }
        expected.source_code_info = None;
        found.source_code_info = None;
        assert_eq!(expected, found, "{}", print_proto(file));
    }
    assert_eq!(Locks::parse(&derived.locks.to_text()).unwrap(), derived.locks);
}

fn compile(derived: &Derived) -> BTreeMap<String, FileDescriptorProto> {
    struct Files(BTreeMap<String, String>);

    impl protox::file::FileResolver for Files {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            match self.0.get(name) {
                Some(text) => protox::file::File::from_source(name, text),
                None => protox::file::GoogleFileResolver::new().open_file(name),
            }
        }
    }

    let texts: BTreeMap<String, String> =
        derived.files.iter().map(|file| (file.name().to_owned(), print_proto(file))).collect();
    let mut compiler = protox::Compiler::with_file_resolver(Files(texts.clone()));
    compiler.include_source_info(true).include_imports(true);
    for (path, text) in &texts {
        compiler.open_file(path).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    }
    let FileDescriptorSet { file } = compiler.file_descriptor_set();
    file.into_iter().map(|file| (file.name().to_owned(), file)).collect()
}

fn comments(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, String> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations.filter_map(|one| Some((one.path.clone(), one.leading_comments.clone()?))).collect()
}

fn spans(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, Vec<i32>> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations.map(|one| (one.path.clone(), one.span.clone())).collect()
}

/// A component of the world that traps whenever it is called.
pub(crate) fn component(wit: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("world.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    wit_component::ComponentEncoder::default()
        .module(&core_module(&resolve, world))
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

pub(crate) fn core_module(resolve: &wit_parser::Resolve, world: wit_parser::WorldId) -> Vec<u8> {
    let mangling = wit_parser::ManglingAndAbi::Standard32;
    let mut module = wit_component::dummy_module(resolve, world, mangling);
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, resolve, world, encoding).unwrap();
    module
}
