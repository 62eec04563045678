//! The committed definitions are what the types say, and the schemas cover every field.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

use std::{fs, path::PathBuf};

use roadstead_k8s_api::{definitions, yaml};
use serde_json::Value;

#[test]
fn definitions_are_up_to_date() {
    let committed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crds");
    let mut stale = Vec::new();
    for (file, definition) in definitions() {
        let path = committed.join(file);
        let text = yaml(&definition).unwrap();
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            fs::write(&path, text).unwrap();
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "these were stale and are rewritten now: {stale:?}");
}

/// Every object in a schema, with its path.
fn walk(at: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(at, schema);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{at}.{name}"), inner, visit);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            walk(&format!("{at}.{part}"), &schema[part], visit);
        }
    }
}

fn schema(kind: usize) -> Value {
    let definition = serde_json::to_value(&definitions()[kind].1).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn schemas_are_structural_and_strict() {
    for kind in 0..definitions().len() {
        walk("", &schema(kind), &mut |at, schema| {
            let typed = schema["type"].is_string()
                || schema["x-kubernetes-int-or-string"] == Value::Bool(true);
            assert!(typed, "{at} has no type: {schema}");
            assert!(schema["x-kubernetes-preserve-unknown-fields"].is_null(), "{at}");
            assert!(schema.get("$ref").is_none(), "{at}");
            let format = schema["format"].as_str().unwrap_or("int64");
            assert!(!format.starts_with("uint"), "{at}: {format}");
        });
    }
}

/// All that a spec file can say is in the schema of a version's spec.
#[test]
fn the_schema_of_a_version_covers_every_field_of_a_spec() {
    let full = "
limits: {memory: 1Mi}
quota: {cpu: 500m, memory: 1Gi}
capabilities:
  env: {A: b}
  config: {c: d}
  secrets: [s]
  network: {http: ['a.example.com:443'], tcp: ['b.example.com:1']}
  files: [{host: h, guest: /g, mode: rw}]
";
    let spec =
        roadstead_domain::ModuleSpec::parse(full, roadstead_domain::SpecFormat::Yaml).unwrap();
    let spec = serde_json::to_value(spec).unwrap();
    let version = schema(1);
    let schema = &version["properties"]["spec"]["properties"]["spec"];
    covers("spec", schema, &spec);
}

#[test]
fn the_schema_of_a_native_version_covers_every_field_of_a_native_spec() {
    let full = "
native:
  command: [python3]
  image: registry.example.com/a:1
  resources: {cpu: 4, memory: 8Gi, tpu: {accelerator: v5e, topology: 2x2}}
  stateful: true
  env: {MODE: train}
  secrets: [key]
  probes: {startup: 2m, progress: 30s}
  idle: 10m
  concurrent: [status]
  idempotent: [status]
  service_account: trainer
";
    let spec =
        roadstead_domain::ModuleSpec::parse(full, roadstead_domain::SpecFormat::Yaml).unwrap();
    let spec = serde_json::to_value(spec).unwrap();
    let version = schema(4);
    let schema = &version["properties"]["spec"]["properties"]["spec"];
    covers("spec", schema, &spec);
    assert_eq!(*schema, self::schema(1)["properties"]["spec"]["properties"]["spec"]);
}

/// What the chart shows can be pushed to a cluster.
#[test]
fn the_chart_s_examples_are_native_specs_with_images() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../chart/examples");
    for example in ["linalg.yaml", "learner.yaml"] {
        let text = fs::read_to_string(examples.join(example)).unwrap();
        let wit = text.lines().find_map(|line| line.strip_prefix("wit: ")).unwrap();
        assert!(examples.join(wit).is_dir(), "{wit}");
        // The line is for the command line alone.
        let spec: Vec<&str> = text.lines().filter(|line| !line.starts_with("wit: ")).collect();
        let format = roadstead_domain::SpecFormat::Yaml;
        let spec = roadstead_domain::ModuleSpec::parse(&spec.join("\n"), format).unwrap();
        assert!(spec.native.unwrap().image.is_some(), "{example}");
    }
}

fn covers(at: &str, schema: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let inner = match &schema["additionalProperties"] {
                    Value::Null => &schema["properties"][name],
                    all => all,
                };
                assert!(inner.is_object(), "{at}.{name} is not in the schema");
                covers(&format!("{at}.{name}"), inner, value);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| covers(at, &schema["items"], item)),
        Value::String(_) => {
            let text = schema["type"] == "string"
                || schema["x-kubernetes-int-or-string"] == Value::Bool(true);
            assert!(text, "{at}: {schema}");
        }
        Value::Number(_) => assert_eq!(schema["type"], "integer", "{at}"),
        Value::Bool(_) => assert_eq!(schema["type"], "boolean", "{at}"),
        Value::Null => panic!("{at} is null"),
    }
}
