//! Components whose methods the compiled codec serves: compiled with it, found again with it.

use std::{fs, path::PathBuf, sync::Arc};

use bytes::Bytes;
use roadstead_domain::{CallId, Fault, ModuleSpec, Namespace, SpecFormat};
use roadstead_engine::Call;
use roadstead_registry::{LiveVersion, PushRequest};

use crate::harness::{Host, module, named};

const TEXTS: &str = "demo.texts.ops.v0_1.Ops";

/// Three functions of texts, one of them with a map; `more` makes it another component.
fn texts(more: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
  (core module $m
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 1024))
    (global i32 (i32.const {more}))
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16))
    (func (export "count") (param i32 i32) (result i32) local.get 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.and (i32.const -8)
        (i32.add (i32.const 7) (i32.add (global.get $next) (local.get 3)))))))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (func $echo (param "text" string) (result string) (canon lift (core func $i "echo")
    (memory $memory) (realloc (core func $i "realloc"))))
  (func $count (param "texts" (map string u32)) (result u32) (canon lift (core func $i "count")
    (memory $memory) (realloc (core func $i "realloc"))))
  (instance $ops (export "echo" (func $echo)) (export "count" (func $count)))
  (export "demo:texts/ops@0.1.0" (instance $ops)))"#
    );
    wat::parse_str(text).unwrap()
}

async fn echo(live: &LiveVersion, text: &[u8]) -> Result<Bytes, Fault> {
    let request = [&[0x0a, u8::try_from(text.len()).unwrap()], text].concat();
    let method = Arc::clone(&live.method(TEXTS, "Echo")?.plan);
    live.module()?.call(Call::new(CallId(1), method, request.into())).await.result
}

fn code(host: &Host) -> Vec<PathBuf> {
    let files = host.files().into_iter();
    files.filter(|path| path.extension().is_some_and(|e| e == "code")).collect()
}

#[tokio::test]
async fn each_method_has_its_path_and_code_is_made_again_with_the_codec() {
    let host = Host::new().await;
    let pushed = host.push("texts", &texts(1)).await.unwrap();
    let methods = &pushed.record.services[0].methods;
    let reason = |name: &str| {
        let method = methods.iter().find(|method| method.name == name).unwrap();
        method.dynamic.clone()
    };
    assert_eq!(reason("Echo"), None);
    assert_eq!(reason("Count").as_deref(), Some("it has a map"));
    let live = host.resolve(TEXTS, None).unwrap();
    assert!(live.method(TEXTS, "Echo").unwrap().compiled);
    assert!(!live.method(TEXTS, "Count").unwrap().compiled);
    assert_eq!(&*echo(&live, b"hello").await.unwrap(), b"\x0a\x05hello");
    let bad = echo(&live, b"\xff").await.unwrap_err();
    let Fault::BadInput(violations) = bad else { panic!("{bad:?}") };
    assert_eq!(violations[0].field, "text");

    // The same component with another spec is compiled already.
    let before = code(&host);
    let spec = "limits: {input: 1Ki}";
    let spec = ModuleSpec::parse(spec, SpecFormat::Yaml).unwrap();
    host.push_as(PushRequest { spec, ..named("texts") }, &texts(1)).await.unwrap();
    assert_eq!(code(&host), before);

    drop(live);
    let host = host.restarted().await;
    assert_eq!(code(&host), before);
    for path in &before {
        fs::remove_file(path).unwrap();
    }
    let live = host.resolve(TEXTS, None).unwrap();
    assert_eq!(&*echo(&live, b"again").await.unwrap(), b"\x0a\x05again");
    assert_eq!(code(&host), before, "under the same name");
}

#[tokio::test]
async fn code_with_the_codec_goes_with_its_last_version() {
    let host = Host::new().await;
    host.push("texts", &texts(1)).await.unwrap();
    host.push("other", &texts(2)).await.unwrap();
    assert_eq!(code(&host).len(), 2);
    host.registry.delete(&Namespace::default(), &module("texts"), None).await.unwrap();
    // The sweep is told, and comes when it comes: one at the start does the same.
    let host = host.restarted().await;
    assert_eq!(code(&host).len(), 1);
    let live = host.resolve(TEXTS, None).unwrap();
    assert_eq!(&*echo(&live, b"hello").await.unwrap(), b"\x0a\x05hello");
}
