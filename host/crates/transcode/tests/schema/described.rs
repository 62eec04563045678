//! The plan as JSON: everything a generator of bindings needs, and nothing else.

use roadstead_transcode::{Derived, describe, descriptor_set};
use serde_json::{Value, json};

use super::support::derived;

const WIT: &str = "package acme:harbour@1.2.0;
    /// Shapes of things.
    interface shapes { record point { x: f64, y: f64 } enum colour { red, deep-blue } }
    interface manifest {
      use shapes.{point, colour};
      type samples = list<f32>;
      variant problem { missing, bad(string) }
      resource crane {
        constructor(reach: u32);
        lift: async func(corner: option<point>) -> result<u32, problem>;
      }
      /// Finds.
      find: func(label: string, paint: colour, raw: list<u8>) -> list<point>;
      follow: func(crane: borrow<crane>, of: stream<u8>) -> stream<point>;
      smooth: func(of: samples) -> samples;
      odd: func(of: list<u8, 4>);
    }
    world port { export manifest; export ready: func() -> bool; }";

fn plan(derived: &Derived) -> Value {
    let methods = derived.services.iter().flat_map(|service| &service.methods);
    let text = describe(&derived.interfaces, methods.map(|method| &**method));
    serde_json::from_str(&text).unwrap()
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[test]
fn interfaces_stand_with_what_they_declare() {
    let plan = plan(&derived(WIT));
    assert_eq!(plan["format"], 1);
    let shapes = named(&plan["interfaces"], "shapes");
    assert_eq!(shapes["id"], "acme:harbour/shapes@1.2.0");
    assert_eq!(shapes["exported"], false);
    assert_eq!(shapes["docs"], "Shapes of things.");
    let point = named(&shapes["types"], "point");
    assert_eq!(point["kind"], "record");
    assert_eq!(point["proto"], "acme.harbour.shapes.v1.Point");
    assert_eq!(point["members"][1]["type"], json!({ "scalar": "f64" }));
    let manifest = named(&plan["interfaces"], "manifest");
    assert_eq!(manifest["exported"], true);
    let find = named(&manifest["functions"], "find");
    assert_eq!(find["docs"], "Finds.");
    assert_eq!(find["params"][1]["type"]["named"]["interface"], "acme:harbour/shapes@1.2.0");
    assert_eq!(find["params"][2]["type"], json!({ "list": { "scalar": "u8" } }));
    let lift = named(&manifest["functions"], "lift");
    assert_eq!((&lift["kind"], &lift["resource"]), (&json!("method"), &json!("crane")));
    assert_eq!(lift["async"], true);
    assert_eq!(lift["service"], "acme.harbour.manifest.v1.ManifestCrane");
    assert_eq!(named(&manifest["functions"], "crane")["kind"], "constructor");
    let smooth = named(&manifest["functions"], "smooth");
    assert_eq!(smooth["result"], json!({ "list": { "scalar": "f32" } }));
    let functions = manifest["functions"].as_array().unwrap();
    assert!(functions.iter().all(|one| one["name"] != "odd"), "what is not callable is left out");
    let world = plan["interfaces"].as_array().unwrap().iter().find(|one| one["id"].is_null());
    assert_eq!(world.unwrap()["functions"][0]["method"], "Ready");
}

#[test]
fn messages_stand_with_their_numbers() {
    let plan = plan(&derived(WIT));
    let methods = plan["methods"].as_array().unwrap();
    let method = |name: &str| methods.iter().find(|one| one["method"] == name).unwrap();
    let find = method("Find");
    assert_eq!(find["response"]["kind"], "value");
    assert_eq!(find["response"]["fields"][0]["label"], "repeated");
    let request = &plan["messages"][find["request"].as_str().unwrap()];
    assert_eq!(request["kind"], "fields");
    assert_eq!(request["fields"][2]["shape"], json!({ "bytes": true }));
    assert_eq!(plan["enums"]["acme.harbour.shapes.v1.Colour"][1], json!([2, "deep-blue"]));
    let lift = method("Lift");
    assert_eq!(lift["response"]["kind"], "result");
    assert_eq!(lift["interface"], "acme:harbour/manifest@1.2.0");
    let handle = &plan["messages"]["acme.harbour.manifest.v1.CraneHandle"];
    assert_eq!((&handle["kind"], &handle["number"]), (&json!("handle"), &json!(1)));
    assert_eq!(method("Drop")["drops"], true);
}

#[test]
fn the_same_module_has_the_same_plan() {
    let methods = derived(WIT);
    let backwards = methods.services.iter().rev().flat_map(|one| one.methods.iter().rev());
    let again = describe(&methods.interfaces, backwards.map(|method| &**method));
    assert_eq!(plan(&methods), serde_json::from_str::<Value>(&again).unwrap());
}

#[test]
fn a_descriptor_set_links_by_itself() {
    let of = |wit: &str| {
        let set = descriptor_set(&derived(wit).files);
        prost_reflect::DescriptorPool::decode(set.as_slice()).unwrap()
    };
    let pool = of(WIT);
    assert!(pool.get_service_by_name("acme.harbour.manifest.v1.Manifest").is_some());
    assert!(pool.get_message_by_name("google.protobuf.Empty").is_some());
    let plain = of("package a:b; interface i { f: func(); } world w { export i; }");
    assert!(plain.get_message_by_name("google.protobuf.Empty").is_none());
}
