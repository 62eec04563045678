//! Which module answers, what reflection shows, and who is told of changes.

use roadstead_domain::{Fault, Namespace};
use roadstead_registry::PushError;

use crate::harness::{Host, OPS, add, calc, exported, functions, module, named, versioned};

const OTHER: &str = "demo.calc.other.v1.Other";

#[tokio::test]
async fn the_only_module_answers_else_one_must_be_named() {
    let host = Host::new().await;
    assert_eq!(host.answers(None), Err(Fault::NoSuchService(OPS.to_owned())));
    host.push("one", &calc(1)).await.unwrap();
    assert_eq!(host.answers(None).unwrap(), "one@0.1.0");
    host.push("two", &calc(2)).await.unwrap();
    let ambiguous = Fault::Ambiguous {
        service: OPS.to_owned(),
        candidates: vec![module("one"), module("two")],
    };
    assert_eq!(host.answers(None), Err(ambiguous));
    assert_eq!(host.answers(Some("two")).unwrap(), "two@0.1.0");
    assert_eq!(host.answers(Some("one@0.1.0")).unwrap(), "one@0.1.0");
    let missing = Fault::NoSuchVersion("one@0.2.0".parse().unwrap());
    assert_eq!(host.answers(Some("one@0.2.0")), Err(missing));
    assert_eq!(host.answers(Some("three")), Err(Fault::NoSuchModule(module("three"))));
    let none = Fault::NoSuchService(OTHER.to_owned());
    assert_eq!(host.resolve(OTHER, Some("one")).err(), Some(none.clone()));
    assert_eq!(host.resolve(OTHER, Some("one@0.1.0")).err(), Some(none));
    let live = host.resolve(OPS, Some("one")).unwrap();
    let no_method = Fault::NoSuchMethod { service: OPS.to_owned(), method: "Subtract".to_owned() };
    assert_eq!(live.method(OPS, "Subtract").err(), Some(no_method));

    host.registry.delete(&Namespace::default(), &module("one"), None).await.unwrap();
    assert_eq!(host.answers(None).unwrap(), "two@0.1.0");
}

#[tokio::test]
async fn each_service_is_served_by_the_newest_version_that_exports_it() {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    // The next version exports something else: the old one goes on serving what it has.
    let other = exported("demo:calc/other@1.0.0", &[("add", "u32", 7)]);
    host.push("m", &other).await.unwrap();
    assert_eq!(host.answers(None).unwrap(), "m@0.1.0");
    assert_eq!(host.resolve(OTHER, None).unwrap().label().as_ref(), "m@0.1.1");
    // A pre-release answers when it is named, not before a release.
    host.push_as(versioned("m", "0.2.0-rc.1"), &calc(9)).await.unwrap();
    assert_eq!(host.answers(None).unwrap(), "m@0.1.0");
    assert_eq!(host.answers(Some("m@0.2.0-rc.1")).unwrap(), "m@0.2.0-rc.1");
    host.push("m", &calc(3)).await.unwrap();
    assert_eq!(host.answers(None).unwrap(), "m@0.2.0");
    // A pin to a version that does not export a service takes the module out for it.
    let version = "0.1.1".parse().unwrap();
    host.registry.pin(&Namespace::default(), &module("m"), Some(&version)).await.unwrap();
    assert_eq!(host.answers(None), Err(Fault::NoSuchService(OPS.to_owned())));
    assert_eq!(host.resolve(OTHER, None).unwrap().label().as_ref(), "m@0.1.1");
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let host = Host::new().await;
    let other: Namespace = "other".parse().unwrap();
    host.push("m", &calc(0)).await.unwrap();
    let staged = host.stage(&calc(4)).await.unwrap();
    host.registry.push(&other, named("m"), staged, &|_| {}).await.unwrap();
    let routes = host.registry.routes();
    let here = routes.resolve(&Namespace::default(), (OPS, "Add"), None).unwrap();
    let there = routes.resolve(&other, (OPS, "Add"), None).unwrap();
    assert_eq!((add(here, 2, 3).await, add(there, 2, 3).await), (5, 9));
    let nowhere: Namespace = "nowhere".parse().unwrap();
    assert!(routes.resolve(&nowhere, (OPS, "Add"), None).is_err());
    assert!(routes.files(&nowhere).is_empty() && routes.services(&nowhere).is_empty());
    assert!(!routes.serves(&nowhere, OPS) && routes.serves(&other, OPS));
    host.registry.delete(&other, &module("m"), None).await.unwrap();
    assert_eq!(host.call().await, 5);
    assert!(!host.registry.routes().serves(&other, OPS));
}

#[tokio::test]
async fn reflection_shows_the_union_and_it_links() {
    let host = Host::new().await;
    host.push("one", &functions(&[("add", "u32", 0), ("sub", "u32", 0)])).await.unwrap();
    host.push("two", &functions(&[("add", "u32", 0), ("mul", "u32", 0)])).await.unwrap();
    let routes = host.registry.routes();
    let files = routes.files(&Namespace::default());
    assert_eq!(files.len(), 1);
    let methods: Vec<_> = files[0].service[0].method.iter().map(|method| method.name()).collect();
    assert_eq!(methods, ["Add", "Sub", "Mul"]);
    prost_reflect::DescriptorPool::global()
        .add_file_descriptor_protos(files.iter().cloned())
        .unwrap();
    assert_eq!(routes.services(&Namespace::default()), [OPS]);
    assert!(host.resolve(OPS, Some("two")).unwrap().schema().unwrap().pool().is_some());
}

#[tokio::test]
async fn protos_carry_the_lock_of_the_whole_package() {
    let host = Host::new().await;
    host.push("one", &functions(&[("sub", "u32", 0)])).await.unwrap();
    host.push("two", &functions(&[("add", "u32", 0)])).await.unwrap();
    let default = Namespace::default();
    let protos = host.registry.protos(&default, &module("two"), None).unwrap();
    assert_eq!(protos.files.len(), 1);
    assert_eq!(protos.files[0].0, "demo/calc/ops/v0_1/ops.proto");
    assert!(protos.files[0].1.contains("rpc Add(AddRequest)"), "{}", protos.files[0].1);
    assert!(!protos.files[0].1.contains("Sub"));
    assert!(protos.lock.contains("\"sub\": \"Sub\""), "{}", protos.lock);
    let named = host.registry.protos(&default, &module("two"), Some(&"0.1.0".parse().unwrap()));
    assert_eq!(named.unwrap(), protos);
    assert!(
        host.registry.protos(&default, &module("two"), Some(&"1.0.0".parse().unwrap())).is_err()
    );

    // The lock begins a package elsewhere; one that does not read is the pusher's error.
    let elsewhere = Host::new().await;
    let mut request = named_with_lock("two", &protos.lock);
    elsewhere.push_as(request.clone(), &functions(&[("add", "u32", 0)])).await.unwrap();
    let there = elsewhere.registry.protos(&default, &module("two"), None).unwrap();
    assert_eq!(there.lock, protos.lock);
    request.lock = Some("{\"format\": 7}".to_owned());
    let error = elsewhere.push_as(request, &calc(9)).await.unwrap_err();
    assert!(matches!(error, PushError::Lock(_)), "{error}");
}

fn named_with_lock(name: &str, lock: &str) -> roadstead_registry::PushRequest {
    roadstead_registry::PushRequest { lock: Some(lock.to_owned()), ..named(name) }
}

#[tokio::test]
async fn every_change_is_told_after_it_serves() {
    let host = Host::new().await;
    let mut watch = host.registry.watch();
    watch.mark_unchanged();
    let default = Namespace::default();
    let mut last = host.registry.routes().revision();
    host.push("m", &calc(0)).await.unwrap();
    let mut told = async || {
        watch.changed().await.unwrap();
        let revision = *watch.borrow_and_update();
        let routes = host.registry.routes();
        assert!(revision > last && routes.revision() >= revision);
        assert_eq!(routes.edition(&Namespace::default()).revision, revision);
        last = revision;
    };
    told().await;
    host.registry.pin(&default, &module("m"), Some(&"0.1.0".parse().unwrap())).await.unwrap();
    told().await;
    host.registry.delete(&default, &module("m"), None).await.unwrap();
    told().await;
    let before = host.registry.routes().edition(&default);
    let staged = host.stage(&calc(0)).await.unwrap();
    host.registry.push(&"other".parse().unwrap(), named("m"), staged, &|_| {}).await.unwrap();
    assert_eq!(host.registry.routes().edition(&default), before);
}
