//! Deriving from WIT text, and checking what comes out as a client's tools would.

use std::collections::BTreeMap;

use prost_types::{FileDescriptorProto, FileDescriptorSet};
use roadstead_transcode::{Derived, Locks, World, derive, print_proto};

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
