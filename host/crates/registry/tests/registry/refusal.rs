//! Uploads that come to nothing, and what they leave: nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use roadstead_domain::{ByteSize, ModuleSpec, Namespace, SpecFormat};
use roadstead_registry::{Phase, Progress, PushError, PushRequest, RegistryConfig};

use crate::harness::{Host, OPS, calc, functions, named};

/// Pushes bytes that must be refused while an old version serves.
async fn refused(bytes: &[u8], request: PushRequest) -> PushError {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    let files = host.files();
    let error = host.push_as(request.clone(), bytes).await.unwrap_err();
    assert_eq!(host.files(), files, "nothing is left behind");
    assert_eq!(host.versions("m"), ["0.1.0"]);
    assert_eq!(host.call().await, 5, "the old version serves on");
    let staged = host.stage(bytes).await.unwrap();
    let checked = host.registry.check(&Namespace::default(), request, staged).await;
    assert_eq!(checked.unwrap_err().to_string(), error.to_string());
    error
}

fn invalid(error: &PushError) -> &str {
    match error {
        PushError::Invalid(problem) => problem,
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn garbage_is_refused() {
    let garbage: Vec<u8> =
        (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&b""[..], b"not wasm at all", &garbage] {
        let error = refused(bytes, named("m")).await;
        assert!(invalid(&error).contains("not WebAssembly"), "{error}");
    }
}

#[tokio::test]
async fn a_truncated_component_is_refused_wherever_it_ends() {
    let whole = calc(1);
    for length in [9, whole.len() / 4, whole.len() / 2, whole.len() - 1] {
        let error = refused(&whole[..length], named("m")).await;
        invalid(&error);
    }
}

#[tokio::test]
async fn a_core_module_without_types_is_refused() {
    let core = wat::parse_str("(module (func (export \"add\")))").unwrap();
    let error = refused(&core, named("m")).await;
    assert!(invalid(&error).contains("without WIT metadata"), "{error}");
}

#[tokio::test]
async fn unknown_imports_are_named() {
    let component = wat::parse_str(
        "(component
           (import \"acme:rl/learner@0.1.0\" (instance (export \"learn\" (func))))
           (import \"acme:rl/critic\" (instance (export \"judge\" (func)))))",
    )
    .unwrap();
    let PushError::UnknownImports(imports) = refused(&component, named("m")).await else {
        panic!("refused for another reason");
    };
    let names: Vec<_> = imports.iter().map(|import| import.name.as_str()).collect();
    assert_eq!(names, ["acme:rl/learner@0.1.0", "acme:rl/critic"]);
}

#[tokio::test]
async fn an_import_of_another_type_than_the_hosts_is_refused() {
    let component = wat::parse_str(
        "(component
           (import \"wasi:clocks/monotonic-clock@0.2.0\"
             (instance (export \"now\" (func (result string))))))",
    )
    .unwrap();
    let error = refused_push(&component).await;
    assert!(invalid(&error).contains("monotonic-clock"), "{error}");
}

/// As [`refused`], for what only linking finds out.
async fn refused_push(bytes: &[u8]) -> PushError {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    let files = host.files();
    let error = host.push("m", bytes).await.unwrap_err();
    host.settles_to(&files).await;
    assert_eq!(host.versions("m"), ["0.1.0"]);
    error
}

#[tokio::test]
async fn what_never_fits_is_refused() {
    let spec = ModuleSpec::parse("{limits: {memory: 1Ti}}", SpecFormat::Yaml).unwrap();
    let error = refused(&calc(1), PushRequest { spec, ..named("m") }).await;
    assert!(matches!(error, PushError::NeverFits(_)), "{error:?}");
    let spec = "{capabilities: {files: [{host: not-offered, guest: /data}]}}";
    let spec = ModuleSpec::parse(spec, SpecFormat::Yaml).unwrap();
    let error = refused(&calc(1), PushRequest { spec, ..named("m") }).await;
    assert!(matches!(error, PushError::NotOffered(_)), "{error:?}");
}

#[tokio::test]
async fn an_upload_over_the_limit_ends_at_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let limit = ByteSize::kib(64);
    let config = RegistryConfig { upload_limit: limit, ..RegistryConfig::default() };
    let host = Host::with(directory.path(), config).await;
    host.push("m", &calc(0)).await.unwrap();
    let files = host.files();
    let announced = host.registry.upload(Some(10 * limit.0)).await.err().unwrap();
    assert!(matches!(announced, PushError::TooLarge(found) if found == limit));
    let mut upload = host.registry.upload(None).await.unwrap();
    let mut sent = 0;
    let error = loop {
        let chunk = Bytes::from(vec![0; 1 << 14]);
        match upload.write(chunk).await {
            Ok(next) => upload = next,
            Err(error) => break PushError::from(error),
        }
        sent += 1 << 14;
    };
    assert_eq!(sent, limit.0);
    assert!(matches!(error, PushError::TooLarge(found) if found == limit), "{error}");
    assert_eq!(host.files(), files);
    assert_eq!(host.call().await, 5);
}

#[tokio::test]
async fn pushes_beyond_the_bound_are_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = RegistryConfig { pushes: 1, ..RegistryConfig::default() };
    let host = Host::with(directory.path(), config).await;
    let staged = host.stage(&calc(0)).await.unwrap();
    let second = host.stage(&calc(1)).await.unwrap();
    let default = Namespace::default();
    let push = host.registry.push(&default, named("m"), staged, &|_| {});
    let mut push = std::pin::pin!(push);
    assert!(futures::poll!(push.as_mut()).is_pending());
    let error = host.registry.push(&default, named("m"), second, &|_| {}).await.unwrap_err();
    assert!(matches!(error, PushError::Overloaded { .. }), "{error}");
    push.await.unwrap();
    host.push("m", &calc(1)).await.unwrap();
}

#[tokio::test]
async fn a_push_that_is_given_up_keeps_its_turn_while_it_compiles() {
    let directory = tempfile::tempdir().unwrap();
    let config = RegistryConfig { compilations: 1, ..RegistryConfig::default() };
    let host = Host::with(directory.path(), config).await;
    // Takes long enough to compile that it has not ended when it is looked at.
    let names: Vec<String> = (0..500).map(|at| format!("add{at}")).collect();
    let large: Vec<_> = names.iter().map(|name| (name.as_str(), "u32", 1)).collect();
    let staged = host.stage(&functions(&large)).await.unwrap();
    let next = host.stage(&calc(0)).await.unwrap();
    let default = Namespace::default();
    let compiling = AtomicBool::new(false);
    let note = |progress: Progress| {
        compiling.fetch_or(progress.phase == Phase::Compiling, Ordering::Relaxed);
    };
    let mut given_up = Box::pin(host.registry.push(&default, named("large"), staged, &note));
    while !compiling.load(Ordering::Relaxed) {
        assert!(futures::poll!(given_up.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    drop(given_up);
    let begun = AtomicBool::new(false);
    let note = |_: Progress| begun.store(true, Ordering::Relaxed);
    let mut push = Box::pin(host.registry.push(&default, named("m"), next, &note));
    assert!(futures::poll!(push.as_mut()).is_pending());
    assert!(!begun.load(Ordering::Relaxed), "the other still compiles");
    push.await.unwrap();
    assert_eq!(host.call().await, 5);
}

#[tokio::test]
async fn components_that_are_nested_without_end_are_refused() {
    let nested = (0..70).fold("(component)".to_owned(), |inner, _| format!("(component {inner})"));
    let error = refused(&wat::parse_str(nested).unwrap(), named("m")).await;
    assert!(invalid(&error).contains("this host takes 64 at most"), "{error}");
}

#[tokio::test]
async fn a_push_that_is_given_up_leaves_nothing() {
    let host = Host::new().await;
    host.push("m", &calc(0)).await.unwrap();
    let files = host.files();
    for polls in 1..60 {
        let staged = host.stage(&calc(1)).await.unwrap();
        let default = Namespace::default();
        let publishing = AtomicBool::new(false);
        let note = |progress: Progress| {
            if progress.phase == Phase::Publishing {
                publishing.store(true, Ordering::Relaxed);
            }
        };
        let mut push = Box::pin(host.registry.push(&default, named("m"), staged, &note));
        let mut done = false;
        for _ in 0..polls {
            if futures::poll!(push.as_mut()).is_ready() {
                done = true;
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        drop(push);
        if done || publishing.into_inner() {
            return;
        }
        host.settles_to(&files).await;
        assert_eq!(host.answers(None).unwrap(), "m@0.1.0");
        assert!(host.resolve(OPS, Some("m@0.1.1")).is_err());
    }
}
