//! What watches and answers make of the world.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::objects::read;

fn object(kind: Kind, name: &str, uid: &str, revision: u64, spec: Value) -> Object {
    let metadata = json!({"name": name, "uid": uid, "resourceVersion": revision.to_string()});
    let object: DynamicObject =
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
    read(kind, &object).unwrap()
}

fn module(name: &str, revision: u64) -> Object {
    object(Kind::Module, name, "u", revision, json!({}))
}

fn version(name: &str, module: &str, revision: u64) -> Object {
    object(Kind::Version, name, "u", revision, json!({"module": module, "version": "0.1.0"}))
}

fn names(keys: BTreeSet<ModuleKey>) -> Vec<String> {
    keys.into_iter().map(|key| key.to_string()).collect()
}

fn world() -> World {
    let mut world = World::default();
    world.enable("n");
    world
}

#[test]
fn a_change_names_the_modules_that_it_concerns() {
    let mut world = world();
    assert_eq!(names(world.put("n", module("a", 1))), ["n/a"]);
    assert_eq!(names(world.put("n", version("v", "b", 2))), ["n/b"]);
    assert_eq!(names(world.put("n", version("v", "c", 3))), ["n/b", "n/c"], "it moved");
    let locks = |revision, chain: &[&str]| {
        object(Kind::Locks, LOCKS, "u", revision, json!({"packages": {"p": chain}}))
    };
    let digest = format!("sha256:{}", "0".repeat(64));
    assert_eq!(names(world.put("n", locks(4, &[&digest]))), ["n/a", "n/c"], "all of them");
    assert_eq!(names(world.put("n", locks(5, &[&digest]))), [""; 0], "nothing new");
    assert_eq!(names(world.put("other", module("a", 9))), [""; 0], "not looked after");
    assert_eq!(world.size(), (1, 1));
    assert_eq!(names(world.disable("n")), ["n/a", "n/c"]);
}

#[test]
fn old_news_are_no_news_but_what_was_just_read_counts() {
    let mut world = world();
    world.put("n", module("a", 5));
    let key = ModuleKey { namespace: "n".to_owned(), module: "a".to_owned(), native: false };
    let revision = |world: &World| world.module(&key).map(|module| module.id.revision);
    world.put("n", module("a", 4));
    world.gone("n", &module("a", 4));
    assert_eq!(revision(&world), Some(5));
    world.believe("n", module("a", 2));
    assert_eq!(revision(&world), Some(2));
    world.gone("n", &module("a", 6));
    assert_eq!(revision(&world), None);
    world.learn("n", module("a", 7));
    assert_eq!(revision(&world), None, "the answer to a write came after its deletion");
}

#[test]
fn a_list_is_all_there_is() {
    let mut world = world();
    world.put("n", module("a", 5));
    world.put("n", version("v", "b", 6));
    let touched = world.replace("n", Kind::Module, vec![module("c", 7)]);
    assert_eq!(names(touched), ["n/a", "n/c"]);
    assert_eq!(names(world.replace("n", Kind::Version, Vec::new())), ["n/b"]);
    assert_eq!(names(world.all_keys()), ["n/c"]);
}
