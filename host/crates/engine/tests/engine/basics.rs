//! A call there and back, and what it reports.

use roadstead_domain::InstanceOrigin;

use crate::support::{blob, component, engine, number, prepare, value};

const DOUBLE: &str = r#"(func (export "double") (param i32) (result i32)
    (i32.mul (local.get 0) (i32.const 2)))"#;

#[tokio::test]
async fn a_call_goes_there_and_back() {
    let engine = engine();
    let bytes = component(DOUBLE, &[("double", r#"(param "n" u32) (result u32)"#)]);
    let guest = prepare(&engine, "double", &bytes, "");
    let outcome = guest.call("double", number(1, 21)).await;
    assert_eq!(value(&outcome.result.unwrap()), 42);
    assert_eq!(outcome.usage.instance, Some(InstanceOrigin::Fresh));
    assert!(0 < outcome.usage.fuel && outcome.usage.fuel < 1000, "{:?}", outcome.usage);
    assert_eq!(outcome.usage.peak_memory, 64 << 10);
    let stats = guest.module.stats();
    assert_eq!((stats.calls, stats.queued), (1, 0));
    assert!(stats.loaded && stats.faults.is_empty());
    engine.shutdown().await;
}

#[tokio::test]
async fn text_comes_back_whole() {
    let engine = engine();
    let bytes = component(
        r#"(func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 16) (local.get 0))
            (i32.store (i32.const 20) (local.get 1))
            (i32.const 16))"#,
        &[("echo", r#"(param "text" string) (result string)"#)],
    );
    let guest = prepare(&engine, "echo", &bytes, "");
    let text = blob(1, "Grüße".as_bytes());
    assert_eq!(guest.call("echo", text.clone()).await.result.unwrap(), text);
}
