//! Uploads that come to nothing, and what they leave: nothing.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use roadstead_domain::{ByteSize, ModuleSpec, Namespace, Span, SpecFormat};
use roadstead_engine::{CodeError, LoadError};
use roadstead_registry::{CompileConfig, Phase, Progress, PushError, PushRequest, RegistryConfig};

use crate::harness::{Host, OPS, calc, exported, named};

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

/// Takes long enough to compile that it has not ended when it is looked at.
fn large() -> Vec<u8> {
    let names: Vec<String> =
        ["add".to_owned()].into_iter().chain((0..2000).map(|at| format!("add{at}"))).collect();
    let large: Vec<_> = names.iter().map(|name| (name.as_str(), "u32", 1)).collect();
    exported("demo:large/ops@0.1.0", &large)
}

fn compiled_within(compile: CompileConfig) -> RegistryConfig {
    RegistryConfig { compile, ..RegistryConfig::default() }
}

/// How many workers compile with this many seconds to do so.
fn compiling(seconds: u64) -> usize {
    let (task, seconds) = ("\"task\":\"Compile", format!("\"seconds\":{seconds},"));
    let processes = std::fs::read_dir("/proc").unwrap();
    let lines = processes.map(|entry| entry.unwrap().path().join("cmdline"));
    let lines = lines.filter_map(|path| std::fs::read_to_string(path).ok());
    lines.filter(|line| line.contains(task) && line.contains(&seconds)).count()
}

#[tokio::test]
async fn a_push_that_is_given_up_ends_its_worker_before_the_next_has_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    let machine = CompileConfig::for_machine();
    let compile = CompileConfig { workers: 1, time: Span::secs(1163), ..machine };
    let host = Host::with(directory.path(), compiled_within(compile)).await;
    let staged = host.stage(&large()).await.unwrap();
    let next = host.stage(&calc(0)).await.unwrap();
    let default = Namespace::default();
    let mut given_up = Box::pin(host.registry.push(&default, named("large"), staged, &|_| {}));
    while compiling(1163) == 0 {
        assert!(futures::poll!(given_up.as_mut()).is_pending());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(given_up);
    let others = AtomicUsize::new(usize::MAX);
    let note = |progress: Progress| {
        if progress.phase == Phase::Validating {
            others.store(compiling(1163), Ordering::Relaxed);
        }
    };
    host.registry.push(&default, named("m"), next, &note).await.unwrap();
    assert_eq!(others.into_inner(), 0, "the other still compiled");
    assert_eq!(host.call().await, 5);
}

#[tokio::test]
async fn what_costs_too_much_to_compile_is_refused_by_the_limits_name() {
    let directory = tempfile::tempdir().unwrap();
    let compile = CompileConfig { code: ByteSize::kib(256), ..CompileConfig::for_machine() };
    let host = Host::with(directory.path(), compiled_within(compile)).await;
    host.push("m", &calc(0)).await.unwrap();
    let files = host.files();
    let error = host.push("large", &large()).await.unwrap_err();
    let PushError::CompileLimit(limit) = &error else { panic!("{error:?}") };
    assert_eq!((limit.setting, &*limit.allowed), ("compile.code", "256Ki"));
    host.settles_to(&files).await;
    assert_eq!(host.call().await, 5, "the old version serves on");
    host.push("m", &calc(1)).await.unwrap();
    assert_eq!(host.call().await, 6);
}

#[tokio::test]
async fn what_does_not_compile_again_is_not_tried_at_every_call() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path()).await;
    host.push("large", &large()).await.unwrap();
    let code = host.files().into_iter().find(|path| path.extension() == Some("code".as_ref()));
    std::fs::remove_file(code.unwrap()).unwrap();
    drop(host.closed().await);
    let compile = CompileConfig { code: ByteSize::kib(256), ..CompileConfig::for_machine() };
    let host = Host::with(directory.path(), compiled_within(compile)).await;
    for _ in 0..3 {
        let live = host.resolve("demo.large.ops.v0_1.Ops", None).unwrap();
        let error = live.module().unwrap().load().unwrap_err();
        let LoadError::Code(CodeError::Uncompilable(why)) = &*error else { panic!("{error:?}") };
        assert!(why.contains("compile.code"), "{why}");
    }
    assert_eq!(host.registry.compile_counts().limits, 1, "one worker found out");
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
            tokio::time::sleep(Duration::from_millis(1)).await;
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
