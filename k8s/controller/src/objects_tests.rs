//! Objects of other releases, and odd ones.

use serde_json::json;

use super::*;

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "uid": "u", "resourceVersion": "7", "generation": 3})
}

#[test]
fn what_newer_releases_say_of_a_module_is_left_alone() {
    let condition = |reason: &str| {
        json!({"type": "Ready", "status": "True", "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "newer": 1})
    };
    let value = json!({
        "metadata": metadata("m"),
        "spec": {"pinned": "0.2.0", "rollout": {"steps": [10, 100], "newer": 1}, "newer": 2},
        "status": {
            "newer": 3,
            "serving": [{"version": "0.2.0", "percent": 100, "newer": 1}, {"newer": 2}],
            "conditions": [condition("Answering"), condition("Unheard")],
            "rollout": {"from": "0.1.0", "to": "0.2.0", "phase": "Dancing", "step": 0},
        },
    });
    let Object::Module(module) = read(Kind::Module, &object(value)).unwrap() else { panic!() };
    let spec = module.spec.unwrap();
    assert_eq!(spec.pinned, Some("0.2.0".parse().unwrap()));
    assert_eq!(spec.rollout.unwrap().steps, [10, 100]);
    assert_eq!((module.status.serving.len(), module.status.conditions.len()), (1, 1));
    assert_eq!((module.status.rollout, module.id.generation), (None, Some(3)));
}

#[test]
fn a_spec_that_means_something_else_now_is_not_guessed() {
    for (spec, part) in [
        (json!({"pinned": {"version": "0.1.0"}}), "pinned"),
        (json!({"rollout": {"steps": "half"}}), "rollout"),
        (json!({"rollout": true}), "rollout"),
    ] {
        let value = json!({"metadata": metadata("m"), "spec": spec});
        let Object::Module(module) = read(Kind::Module, &object(value)).unwrap() else { panic!() };
        assert!(module.spec.unwrap_err().contains(part), "{part}");
    }
}

#[test]
fn a_version_need_only_say_which_it_is() {
    let read = |name: &str, spec: Value| {
        let value = json!({"metadata": metadata(name), "spec": spec});
        match read(Kind::Version, &object(value)).unwrap() {
            Object::Version(version) => version,
            other => panic!("{other:?}"),
        }
    };
    let older = read("m-0.1.0", json!({"module": "m", "version": "0.1.0"}));
    assert_eq!(older.says.unwrap().version, "0.1.0".parse().unwrap());
    let newer = json!({"module": "m", "version": "0.1.0", "newer": 1, "spec": {"newer": 2}});
    assert!(read("m-0.1.0", newer).says.is_ok());
    for (name, spec, part) in [
        ("m-0.1.0", json!({"module": "m"}), "version"),
        ("m-0.1.0", json!({"module": "m", "version": "one"}), "version"),
        ("m-0.1.0", json!({"module": "M", "version": "0.1.0"}), "module"),
        ("m-0.2.0", json!({"module": "m", "version": "0.1.0"}), "m-0.1.0"),
        ("m-0.1.0", json!({"module": "m", "version": "0.1.0", "locks": {"p": 1}}), "locks"),
    ] {
        let version = read(name, spec);
        assert_eq!(version.module.to_lowercase(), "m", "it is known whose it would be");
        assert!(version.says.unwrap_err().contains(part), "{part}");
    }
}

#[test]
fn without_a_name_or_a_comparable_revision_there_is_no_object() {
    for metadata in [
        json!({"resourceVersion": "7"}),
        json!({"name": "m"}),
        json!({"name": "m", "resourceVersion": "x"}),
    ] {
        assert_eq!(read(Kind::Module, &object(json!({"metadata": metadata}))), None);
    }
}
