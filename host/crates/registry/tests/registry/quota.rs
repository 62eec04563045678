//! Promises of processor time: kept, refused, freed, and served all the same where they are too many.

use std::sync::{Arc, Barrier};

use roadstead_domain::{ByteSize, ModuleSpec, Namespace, SpecFormat};
use roadstead_registry::{
    NamespaceQuota, Phase, Progress, PushError, PushRequest, Pushed, RegistryConfig,
};

use crate::harness::{Host, OPS, add, calc, module, named, versioned};

async fn push(host: &Host, name: &str, version: &str, cpu: &str) -> Result<Pushed, PushError> {
    let spec = ModuleSpec::parse(&format!("quota: {{cpu: {cpu}}}"), SpecFormat::Yaml).unwrap();
    // Other content for each, so that none is a push of what is published.
    let more = u32::try_from(cpu.len() + version.len()).unwrap();
    host.push_as(PushRequest { spec, ..versioned(name, version) }, &calc(more)).await
}

fn promised(result: Result<Pushed, PushError>) -> (u64, u64, u64) {
    match result.unwrap_err() {
        PushError::CpuPromised { wanted, free, whole } => (wanted.0, free.0, whole.0),
        error => panic!("{error:?}"),
    }
}

// The engine of these tests has two guest threads.

#[tokio::test]
async fn a_guarantee_that_cannot_be_kept_is_refused() {
    let host = Host::new().await;
    let never = push(&host, "a", "0.1.0", "2001m").await.unwrap_err();
    assert!(matches!(never, PushError::NeverFits(_)), "{never:?}");
    push(&host, "a", "0.1.0", "1200m").await.unwrap();
    let error = push(&host, "b", "0.1.0", "801m").await;
    let text = error.as_ref().unwrap_err().to_string();
    assert!(text.contains("801m") && text.contains("800m"), "{text}");
    assert_eq!(promised(error), (801, 800, 2000));
    assert!(host.versions("b").is_empty());
    push(&host, "b", "0.1.0", "800m").await.unwrap();
    assert_eq!(promised(push(&host, "c", "0.1.0", "1m").await), (1, 0, 2000));
    // Modules that are promised nothing are as welcome as before.
    host.push("c", &calc(0)).await.unwrap();
}

#[tokio::test]
async fn replaced_and_deleted_versions_free_what_they_were_promised() {
    let host = Host::new().await;
    push(&host, "a", "0.1.0", "1500m").await.unwrap();
    assert_eq!(promised(push(&host, "b", "0.1.0", "1").await), (1000, 500, 2000));
    // A module's own guarantee is no obstacle to its next version.
    push(&host, "a", "0.2.0", "1").await.unwrap();
    push(&host, "b", "0.1.0", "1").await.unwrap();
    assert_eq!(promised(push(&host, "a", "0.3.0", "1001m").await), (1001, 1000, 2000));
    // A version that does not answer for its module is promised nothing.
    push(&host, "a", "0.1.1", "2").await.unwrap();
    push(&host, "a", "0.3.0-rc.1", "2").await.unwrap();
    host.registry.delete(&Namespace::default(), &module("b"), None).await.unwrap();
    push(&host, "a", "0.3.0", "2").await.unwrap();
}

#[tokio::test]
async fn a_rollback_is_never_refused_and_all_serve_after_a_restart() {
    let host = Host::new().await;
    push(&host, "a", "0.1.0", "2").await.unwrap();
    push(&host, "a", "0.2.0", "500m").await.unwrap();
    push(&host, "b", "0.1.0", "1500m").await.unwrap();
    let pinned = "0.1.0".parse().unwrap();
    host.registry.pin(&Namespace::default(), &module("a"), Some(&pinned)).await.unwrap();
    let host = host.restarted().await;
    for name in ["a", "b"] {
        let live = host.resolve(OPS, Some(name)).unwrap();
        assert!(5 <= add(&live, 2, 3).await);
    }
    // Nothing is left to promise, and a pinned module's next version is promised nothing.
    assert_eq!(promised(push(&host, "c", "0.1.0", "1m").await), (1, 0, 2000));
    push(&host, "a", "0.4.0", "2").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guarantees_of_two_namespaces_that_do_not_fit_together_are_not_both_given() {
    let host = Arc::new(Host::new().await);
    // Both are planned before either is published.
    let planned = Arc::new(Barrier::new(2));
    let push = |namespace: &str, cpu: &str, more: u32| {
        let (host, planned) = (Arc::clone(&host), Arc::clone(&planned));
        let namespace: Namespace = namespace.parse().unwrap();
        let spec = ModuleSpec::parse(&format!("quota: {{cpu: {cpu}}}"), SpecFormat::Yaml).unwrap();
        tokio::spawn(async move {
            let staged = host.stage(&calc(more)).await.unwrap();
            let meet = move |progress: Progress| {
                if progress.phase == Phase::Publishing {
                    planned.wait();
                }
            };
            let request = PushRequest { spec, ..named("m") };
            host.registry.push(&namespace, request, staged, &meet).await
        })
    };
    let (one, two) = (push("one", "1200m", 1), push("two", "1300m", 2));
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    match (one, two) {
        (Ok(_), refused) => assert_eq!(promised(refused), (1300, 800, 2000)),
        (refused, Ok(_)) => assert_eq!(promised(refused), (1200, 700, 2000)),
        (one, two) => panic!("{one:?} {two:?}"),
    }
    assert_eq!(host.registry.routes().all_modules().count(), 1);
}

#[tokio::test]
async fn what_is_stored_beside_components_counts_too() {
    let host = Host::new().await;
    let calc = calc(0);
    let plain = host.push("a", &calc).await.unwrap().record;
    let text = "package demo:calc@0.1.0;
        interface ops {
            /// Adds two numbers.
            add: func(a: u32, b: u32) -> u32;
        }
        world calc { export ops; }";
    let wit = vec![("calc.wit".to_owned(), text.to_owned())];
    let commented = PushRequest { wit, ..named("b") };
    let commented = host.push_as(commented, &calc).await.unwrap().record;
    let more = commented.stored_beside - plain.stored_beside;
    assert!(u64::try_from(text.len()).unwrap() < more, "{more}");

    let bytes = plain.size + 2 * plain.stored_beside;
    let namespace = NamespaceQuota { stored: Some(ByteSize(bytes)), ..NamespaceQuota::default() };
    let data = tempfile::tempdir().unwrap();
    let host =
        Host::with(data.path(), RegistryConfig { namespace, ..RegistryConfig::default() }).await;
    host.push("a", &calc).await.unwrap();
    host.push("b", &calc).await.unwrap();
    let would_be = bytes + plain.stored_beside;
    assert_eq!(full(host.push("c", &calc).await), ("stored", bytes, would_be));
    host.registry.delete(&Namespace::default(), &module("a"), None).await.unwrap();
    host.push("c", &calc).await.unwrap();
}

#[tokio::test]
async fn a_full_namespace_takes_nothing_more() {
    let (small, large) = (calc(0), calc(1000));
    let namespace =
        NamespaceQuota { modules: Some(2), versions: Some(3), ..NamespaceQuota::default() };
    let data = tempfile::tempdir().unwrap();
    let host =
        Host::with(data.path(), RegistryConfig { namespace, ..RegistryConfig::default() }).await;
    host.push("a", &small).await.unwrap();
    // The same bytes count once.
    host.push("b", &small).await.unwrap();
    assert_eq!(full(host.push("c", &small).await), ("modules", 2, 3));
    // A push of what is published changes nothing, so it is always welcome.
    host.push("a", &small).await.unwrap();
    host.push("a", &large).await.unwrap();
    assert_eq!(full(host.push("b", &large).await), ("versions", 3, 4));
    let other: Namespace = "other".parse().unwrap();
    let staged = host.stage(&large).await.unwrap();
    host.registry.push(&other, named("c"), staged, &|_| {}).await.unwrap();
    host.registry.delete(&Namespace::default(), &module("a"), None).await.unwrap();
    host.push("c", &large).await.unwrap();
}

fn full(result: Result<Pushed, PushError>) -> (&'static str, u64, u64) {
    match result.unwrap_err() {
        PushError::NamespaceFull { setting, allowed, would_be } => (setting, allowed, would_be),
        error => panic!("{error:?}"),
    }
}
