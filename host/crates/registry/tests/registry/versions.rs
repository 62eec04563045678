//! Names, versions, pins and deletion.

use std::{collections::BTreeMap, sync::Arc};

use roadstead_domain::{Digest, ModuleSpec, Namespace, SpecFormat};
use roadstead_registry::{ChangeError, Phase, PushError, PushRequest};

use crate::harness::{Host, OPS, add, calc, functions, module, named, versioned};

fn spec(text: &str) -> ModuleSpec {
    ModuleSpec::parse(text, SpecFormat::Yaml).unwrap()
}

#[tokio::test]
async fn a_push_is_callable_and_says_what_it_did() {
    let host = Host::new().await;
    let staged = host.stage(&calc(0)).await.unwrap();
    let digest = staged.digest();
    let phases = parking_lot::Mutex::new(Vec::new());
    let note = |progress: roadstead_registry::Progress| phases.lock().push(progress.phase);
    let pushed =
        host.registry.push(&Namespace::default(), named("calc"), staged, &note).await.unwrap();
    assert!(pushed.created);
    assert_eq!(pushed.record.version.to_string(), "0.1.0");
    assert_eq!(pushed.record.digest, digest);
    assert_eq!(pushed.record.component, digest);
    assert_eq!(pushed.record.services.len(), 1);
    assert_eq!(pushed.record.services[0].name, OPS);
    assert_eq!(pushed.record.services[0].methods[0].name, "Add");
    assert_eq!(pushed.record.services[0].methods[0].export, "demo:calc/ops@0.1.0#add");
    assert!(pushed.record.published_unix_ms > 0);
    assert_eq!(
        *phases.lock(),
        [Phase::Validating, Phase::Compiling, Phase::Storing, Phase::Publishing]
    );
    assert_eq!(host.call().await, 5);
}

#[tokio::test]
async fn the_header_goes_before_the_spec() {
    let host = Host::new().await;
    let spec = spec("{name: from-spec, version: 2.0.0}");
    let request = PushRequest { spec: spec.clone(), ..PushRequest::default() };
    let pushed = host.push_as(request.clone(), &calc(0)).await.unwrap();
    assert_eq!(
        (pushed.name.as_str(), pushed.record.version.to_string()),
        ("from-spec", "2.0.0".into())
    );
    let request = PushRequest { spec, ..versioned("from-header", "3.0.0") };
    let pushed = host.push_as(request, &calc(0)).await.unwrap();
    assert_eq!(
        (pushed.name.as_str(), pushed.record.version.to_string()),
        ("from-header", "3.0.0".into())
    );
    let error = host.push_as(PushRequest::default(), &calc(0)).await.unwrap_err();
    assert!(matches!(error, PushError::NoName), "{error}");
}

#[tokio::test]
async fn versions_are_immutable_and_the_same_again_is_nothing() {
    let host = Host::new().await;
    let first = host.push_as(versioned("m", "1.0.0"), &calc(0)).await.unwrap();
    let files = host.files();
    let again = host.push_as(versioned("m", "1.0.0"), &calc(0)).await.unwrap();
    assert!(first.created && !again.created);
    assert_eq!(first.record, again.record);
    let error = host.push_as(versioned("m", "1.0.0"), &calc(1)).await.unwrap_err();
    assert!(matches!(error, PushError::VersionExists { .. }), "{error}");
    let other_spec =
        PushRequest { spec: spec("{limits: {fuel_per_call: 1000}}"), ..versioned("m", "1.0.0") };
    let error = host.push_as(other_spec, &calc(0)).await.unwrap_err();
    assert!(matches!(error, PushError::VersionExists { .. }), "{error}");
    host.settles_to(&files).await;
    assert_eq!(host.call().await, 5);
}

#[tokio::test]
async fn without_a_version_a_push_gets_the_next_patch() {
    let host = Host::new().await;
    for (more, version, created) in
        [(0, "0.1.0", true), (1, "0.1.1", true), (1, "0.1.1", false), (0, "0.1.2", true)]
    {
        let pushed = host.push("m", &calc(more)).await.unwrap();
        assert_eq!(
            (pushed.record.version.to_string().as_str(), pushed.created),
            (version, created)
        );
        assert_eq!(host.call().await, 5 + u64::from(more));
    }
    // The same bytes with another spec are new.
    let request = PushRequest { spec: spec("{limits: {output: 1Ki}}"), ..named("m") };
    let pushed = host.push_as(request, &calc(0)).await.unwrap();
    assert_eq!(pushed.record.version.to_string(), "0.1.3");
    host.push_as(versioned("m", "2.0.0"), &calc(5)).await.unwrap();
    assert_eq!(host.push("m", &calc(6)).await.unwrap().record.version.to_string(), "2.0.1");
}

#[tokio::test]
async fn pins_roll_back_and_guard_their_version() {
    let host = Host::new().await;
    let default = Namespace::default();
    let m = module("m");
    let version = |text: &str| text.parse().unwrap();
    host.push("m", &calc(0)).await.unwrap();
    host.push("m", &calc(1)).await.unwrap();
    assert_eq!(host.answers(None).unwrap(), "m@0.1.1");

    let error = host.registry.pin(&default, &m, Some(&version("9.0.0"))).await.unwrap_err();
    assert!(matches!(error, ChangeError::NoSuchVersion { .. }), "{error}");
    let error = host.registry.pin(&default, &module("other"), None).await.unwrap_err();
    assert!(matches!(error, ChangeError::NoSuchModule(_)), "{error}");

    let pinned = host.registry.pin(&default, &m, Some(&version("0.1.0"))).await.unwrap();
    assert_eq!(pinned.pinned, Some(version("0.1.0")));
    drop(pinned);
    assert_eq!(host.answers(None).unwrap(), "m@0.1.0");
    assert_eq!(host.call().await, 5);
    assert_eq!(host.answers(Some("m@0.1.1")).unwrap(), "m@0.1.1");
    // A newer version does not answer as long as the pin stands.
    host.push("m", &calc(2)).await.unwrap();
    assert_eq!(host.answers(None).unwrap(), "m@0.1.0");
    let error = host.registry.delete(&default, &m, Some(&version("0.1.0"))).await.unwrap_err();
    assert!(matches!(error, ChangeError::Pinned { .. }), "{error}");
    assert_eq!(host.call().await, 5);

    host.registry.pin(&default, &m, None).await.unwrap();
    assert_eq!(host.answers(None).unwrap(), "m@0.1.2");
    let host = host.restarted().await;
    assert_eq!(host.answers(None).unwrap(), "m@0.1.2");
}

#[tokio::test]
async fn deletion_takes_versions_and_their_bytes() {
    let host = Host::new().await;
    let default = Namespace::default();
    let empty = host.files();
    host.push("m", &calc(0)).await.unwrap();
    let one = host.files();
    host.push("m", &calc(1)).await.unwrap();
    let running = host.resolve(OPS, None).unwrap();

    let deleted =
        host.registry.delete(&default, &module("m"), Some(&"0.1.1".parse().unwrap())).await;
    assert_eq!(deleted.unwrap(), ["0.1.1".parse().unwrap()]);
    assert_eq!(host.answers(None).unwrap(), "m@0.1.0");
    // Whoever holds the deleted version can still call it, even if its code must be loaded first.
    assert_eq!(add(&running, 2, 3).await, 6);
    drop(running);
    host.settles_to(&one).await;
    assert_eq!(host.call().await, 5);

    let error = host
        .registry
        .delete(&default, &module("m"), Some(&"0.1.1".parse().unwrap()))
        .await
        .unwrap_err();
    assert!(matches!(error, ChangeError::NoSuchVersion { .. }), "{error}");
    host.registry.delete(&default, &module("m"), None).await.unwrap();
    let error = host.registry.delete(&default, &module("m"), None).await.unwrap_err();
    assert!(matches!(error, ChangeError::NoSuchModule(_)), "{error}");
    assert!(host.resolve(OPS, None).is_err());
    // The wire lock stays: names and numbers are given out for good.
    let mut locks = host.files();
    locks.retain(|path| path.parent().unwrap().ends_with("locks"));
    assert_eq!(locks.len(), 1);
    host.settles_to(&empty.union(&locks).cloned().collect()).await;
}

#[tokio::test]
async fn calls_that_run_finish_on_their_version() {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    let old = host.resolve(OPS, None).unwrap();
    host.push("m", &calc(1)).await.unwrap();
    let new = host.resolve(OPS, None).unwrap();
    assert_eq!((add(&old, 1, 1).await, add(&new, 1, 1).await), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_pushes_of_one_name_get_one_order_and_lose_nothing() {
    let host = Arc::new(Host::new().await);
    let push = |more: u32| {
        let host = Arc::clone(&host);
        tokio::spawn(async move { (more, host.push("m", &calc(more)).await.unwrap()) })
    };
    let tasks: Vec<_> = (0..12).map(push).collect();
    let mut by_version = BTreeMap::new();
    for task in tasks {
        let (more, pushed) = task.await.unwrap();
        assert!(pushed.created);
        assert!(by_version.insert(pushed.record.version.clone(), more).is_none());
    }
    let versions: Vec<_> = by_version.keys().map(ToString::to_string).collect();
    let mut expected: Vec<_> = (0..12).map(|patch| format!("0.1.{patch}")).collect();
    assert_eq!(versions, expected);
    for (version, more) in &by_version {
        let live = host.resolve(OPS, Some(&format!("m@{version}"))).unwrap();
        assert_eq!(add(&live, 2, 3).await, 5 + u64::from(*more));
    }
    let newest = *by_version.last_key_value().unwrap().1;
    assert_eq!(host.call().await, 5 + u64::from(newest));
    // The same, once more, with one explicit version that only one of them can have.
    let race = |more: u32| {
        let host = Arc::clone(&host);
        tokio::spawn(async move { host.push_as(versioned("m", "1.0.0"), &calc(more)).await })
    };
    let tasks: Vec<_> = (20..26).map(race).collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(pushed) => won += usize::from(pushed.created),
            Err(PushError::VersionExists { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won, 1);
    expected.push("1.0.0".to_owned());
    assert_eq!(host.versions("m"), expected);
}

#[tokio::test]
async fn breaking_pushes_are_refused_unless_forced() {
    let host = Host::new().await;
    host.push("m", &functions(&[("add", "u32", 0), ("sub", "u32", 0)])).await.unwrap();
    let files = host.files();
    let without_sub = functions(&[("add", "u32", 1)]);
    let error = host.push("m", &without_sub).await.unwrap_err();
    let PushError::Breaks(breaks) = error else { panic!("{error}") };
    assert_eq!(breaks.len(), 1);
    assert_eq!(breaks[0].subject, format!("{OPS}/Sub"));
    host.settles_to(&files).await;
    assert_eq!(host.versions("m"), ["0.1.0"]);

    let staged = host.stage(&without_sub).await.unwrap();
    let checked = host.registry.check(&Namespace::default(), named("m"), staged).await.unwrap();
    assert_eq!(checked.breaks, breaks);
    assert_eq!(checked.record.version.to_string(), "0.1.1");
    host.settles_to(&files).await;

    let forced = PushRequest { force: true, ..named("m") };
    let pushed = host.push_as(forced, &without_sub).await.unwrap();
    assert_eq!(pushed.record.forced, breaks);
    assert_eq!(host.call().await, 6);
    // More functions break nobody; nor does another module that has fewer.
    host.push("m", &functions(&[("add", "u32", 1), ("mul", "u32", 0)])).await.unwrap();
    host.push("other", &functions(&[("mul", "u32", 3)])).await.unwrap();
    // A version below all others takes nothing over.
    host.push_as(versioned("m", "0.0.9"), &functions(&[("mul", "u32", 0)])).await.unwrap();
    // What the former version of that track had counts, not the newest of all.
    host.push_as(versioned("m", "1.0.0"), &functions(&[("add", "u32", 0), ("mul", "u32", 0)]))
        .await
        .unwrap();
    let error = host.push_as(versioned("m", "0.1.9"), &functions(&[("add", "u32", 0)])).await;
    assert!(matches!(error, Err(PushError::Breaks(_))));
    let changed = host.push("other", &functions(&[("mul", "u64", 3)])).await;
    assert!(changed.is_err(), "u32 to u64 in an answer breaks");
}

#[tokio::test]
async fn a_core_module_with_types_is_made_a_component() {
    let host = Host::new().await;
    let core = core_module(4);
    let pushed = host.push("m", &core).await.unwrap();
    assert_eq!(pushed.record.digest, Digest::of(&core));
    assert_ne!(pushed.record.component, pushed.record.digest);
    assert_eq!(host.call().await, 9);
    assert!(!host.push("m", &core).await.unwrap().created);
    let host = host.restarted().await;
    assert_eq!(host.call().await, 9);
}

/// A core module of `add`, with the metadata that bindings leave in it.
fn core_module(more: u32) -> Vec<u8> {
    let text = "package demo:calc@0.1.0;
        interface ops { add: func(a: u32, b: u32) -> u32; }
        world calc { export ops; }";
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("calc.wit", text).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut core = wat::parse_str(format!(
        "(module (memory (export \"memory\") 1)
           (func (export \"demo:calc/ops@0.1.0#add\") (param i32 i32) (result i32)
             local.get 0 local.get 1 i32.add i32.const {more} i32.add))"
    ))
    .unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut core, &resolve, world, encoding).unwrap();
    core
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_pushes_into_one_package_share_one_lock() {
    let host = Arc::new(Host::new().await);
    let push = |index: usize| {
        let host = Arc::clone(&host);
        tokio::spawn(async move {
            let own = format!("own-{index}");
            let bytes = functions(&[("add", "u32", 0), (&own, "u32", 0)]);
            host.push(&format!("m{index}"), &bytes).await.unwrap()
        })
    };
    for task in (0..8).map(push).collect::<Vec<_>>() {
        assert!(task.await.unwrap().created);
    }
    let default = Namespace::default();
    let lock = host.registry.protos(&default, &module("m0"), None).unwrap().lock;
    for index in 0..8 {
        assert!(lock.contains(&format!("\"own-{index}\": \"Own{index}\"")), "{index}: {lock}");
        let protos = host.registry.protos(&default, &module(&format!("m{index}")), None).unwrap();
        assert_eq!(protos.lock, lock, "everyone gets the same lock");
    }
}

#[tokio::test]
async fn a_replaced_version_keeps_no_idle_instances() {
    let host = Host::new().await;
    let pooled = PushRequest { spec: spec("{instances: {policy: pooled}}"), ..named("m") };
    host.push_as(pooled.clone(), &calc(0)).await.unwrap();
    let old = host.resolve(OPS, None).unwrap();
    let idle = || old.module().unwrap().stats().idle_instances;
    assert_eq!(host.call().await, 5);
    assert_eq!(idle(), 1);
    host.push_as(pooled, &calc(1)).await.unwrap();
    assert_eq!(idle(), 0);
    assert_eq!(add(&old, 2, 3).await, 5, "who names the old version still gets it");
}
