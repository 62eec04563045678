//! Code is mapped on the first call, once, and dropped by least use.

use std::sync::{Arc, atomic::Ordering};

use roadstead_domain::{ByteSize, Fault};
use roadstead_engine::{CodeError, CodeSource, Engine, EngineConfig, VerifiedCode};

use crate::support::{compiler, component, engine, id, prepare, settings, spec, try_prepare};

fn tiny() -> Vec<u8> {
    component(r#"(func (export "nothing"))"#, &[("nothing", "")])
}

#[tokio::test]
async fn code_is_opened_once_for_all_who_wait() {
    let engine = engine();
    let (guest, code) = try_prepare(&engine, "lazy", &tiny(), "").unwrap();
    assert!(!guest.module.stats().loaded);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let guest = guest.clone();
            tokio::spawn(async move { guest.run("nothing").await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(code.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_least_used_code_goes_and_comes_back() {
    let engine = Engine::new(EngineConfig { code_budget: ByteSize(1), ..settings() }).unwrap();
    let spec = "instances: {policy: pooled}";
    let (first, code) = try_prepare(&engine, "first", &tiny(), spec).unwrap();
    let second = prepare(&engine, "second", &tiny(), spec);
    assert!(first.run("nothing").await.is_ok());
    assert_eq!(first.module.stats().idle_instances, 1);
    assert!(second.run("nothing").await.is_ok());
    let stats = first.module.stats();
    assert!(!stats.loaded && second.module.stats().loaded);
    assert_eq!(stats.idle_instances, 0, "idle instances keep no dropped code");
    assert!(first.run("nothing").await.is_ok());
    assert!(first.module.stats().loaded && !second.module.stats().loaded);
    assert_eq!(code.opened.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn calls_run_on_while_their_code_is_dropped() {
    let engine = Engine::new(EngineConfig { code_budget: ByteSize(1), ..settings() }).unwrap();
    let bytes = component(
        r#"(func (export "count") (local $n i32) (local.set $n (i32.const 100000000))
            (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))"#,
        &[("count", "")],
    );
    let long = prepare(&engine, "long", &bytes, "");
    let running = long.clone();
    let running = tokio::spawn(async move { running.run("count").await });
    while long.module.stats().running == 0 {
        tokio::task::yield_now().await;
    }
    let other = prepare(&engine, "other", &tiny(), "");
    assert!(other.run("nothing").await.is_ok());
    assert!(!long.module.stats().loaded);
    assert!(running.await.unwrap().is_ok());
}

struct Broken;

impl CodeSource for Broken {
    fn open(&self) -> Result<VerifiedCode, CodeError> {
        Err(CodeError::Other("a secret path".into()))
    }
}

struct Panicking;

impl CodeSource for Panicking {
    fn open(&self) -> Result<VerifiedCode, CodeError> {
        panic!("a code source that panics")
    }
}

#[tokio::test]
async fn code_that_cannot_be_had_is_the_hosts_fault_and_stays_within() {
    let engine = engine();
    let guest = prepare(&engine, "good", &tiny(), "");
    for source in [Arc::new(Broken) as Arc<dyn CodeSource>, Arc::new(Panicking)] {
        let module = engine.prepare(id("broken"), Arc::new(spec("")), source).unwrap();
        for _ in 0..2 {
            let fault = module.call(guest.request("nothing", Vec::new())).await.result.unwrap_err();
            assert!(matches!(fault, Fault::Host { .. }), "{fault:?}");
            assert!(!fault.to_string().contains("secret"));
        }
    }
    assert!(guest.run("nothing").await.is_ok());
}

struct Lost;

impl CodeSource for Lost {
    fn open(&self) -> Result<VerifiedCode, CodeError> {
        Err(CodeError::Lost("a secret path".into()))
    }
}

#[tokio::test]
async fn a_module_whose_code_is_lost_is_not_ready() {
    let engine = engine();
    let guest = prepare(&engine, "good", &tiny(), "");
    let module = engine.prepare(id("lost"), Arc::new(spec("")), Arc::new(Lost)).unwrap();
    let fault = module.call(guest.request("nothing", Vec::new())).await.result.unwrap_err();
    assert!(matches!(fault, Fault::NotReady(_)), "{fault:?}");
    assert!(!fault.to_string().contains("secret"));
}

#[tokio::test]
async fn files_are_mapped_even_when_their_name_is_gone() {
    let engine = engine();
    let compiled = compiler().compile(&tiny()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("code");
    std::fs::write(&path, &compiled).unwrap();
    struct Mapped(std::fs::File);
    impl CodeSource for Mapped {
        fn open(&self) -> Result<VerifiedCode, CodeError> {
            Ok(VerifiedCode::File(self.0.try_clone()?))
        }
    }
    let source = Arc::new(Mapped(std::fs::File::open(&path).unwrap()));
    std::fs::remove_file(&path).unwrap();
    let module = engine.prepare(id("mapped"), Arc::new(spec("")), source).unwrap();
    let guest = prepare(&engine, "good", &tiny(), "");
    let outcome = module.call(guest.request("nothing", Vec::new())).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
}

#[tokio::test]
async fn garbage_does_not_compile_and_unknown_imports_are_named() {
    let engine = engine();
    assert!(compiler().compile(b"garbage").is_err());
    assert!(compiler().compile(b"\0asm\x01\0\0\0").is_err());
    let tiny = tiny();
    assert!(compiler().compile(&tiny[..tiny.len() - 3]).is_err());
    assert!(engine.inspect(b"garbage", &spec("")).is_err());
    assert!(engine.inspect(b"\0asm\x01\0\0\0", &spec("")).is_err());
    assert_eq!(engine.inspect(&tiny, &spec("")).unwrap(), []);
    for exported in [r#"(export "f" (func))"#, r#"(export "r" (type (sub resource)))"#] {
        let importing = crate::support::wat(&format!(
            r#"(component (import "acme:x/y@1.0.0" (instance {exported})))"#
        ));
        let refused = engine.inspect(&importing, &spec("")).unwrap_err().to_string();
        assert!(refused.contains("acme:x/y@1.0.0"), "{refused}");
    }
}

#[tokio::test]
async fn an_import_that_only_names_types_needs_nobody_to_serve_it() {
    let engine = engine();
    let component = crate::support::wat(
        r#"(component (import "acme:x/shapes@1.0.0" (instance
            (type $point (record (field "x" u32)))
            (export "point" (type (eq $point))))))"#,
    );
    assert_eq!(engine.inspect(&component, &spec("")).unwrap(), []);
    assert!(compiler().compile(&component).is_ok());
}
