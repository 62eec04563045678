//! Calls through the compiled codec: the same answers, limits and errors, without values between.

use std::time::Duration;

use roadstead_domain::{Fault, InstanceOrigin, LimitKind};

use crate::support::{
    Guest, POLICIES, blob, component, engine, limit, number, prepare, prepare_compiled, trap,
    varint,
};

const MIB: usize = 1 << 20;

/// `echo` gives bytes back, `give` so many of its memory, `count` how many numbers it got, `text`
/// text that is none.
const CORE: &str = r#"(memory (export "memory") 1500)
    (func $pair (param i32 i32) (result i32)
        (i32.store (i32.const 16) (local.get 0))
        (i32.store (i32.const 20) (local.get 1))
        (i32.const 16))
    (func (export "echo") (param i32 i32) (result i32)
        (call $pair (local.get 0) (local.get 1)))
    (func (export "give") (param i32) (result i32)
        (call $pair (i32.const 4096) (local.get 0)))
    (func (export "count") (param i32 i32) (result i32) (local.get 1))
    (func (export "texts") (param i32 i32) (result i32) (local.get 1))
    (func (export "records") (param i32 i32) (result i32) (local.get 1))
    (func (export "text") (result i32)
        (i32.store8 (i32.const 4096) (i32.const 255))
        (call $pair (i32.const 4096) (i32.const 1)))
    (func (export "small") (param i32) (result i32) (local.get 0))"#;

const FUNCTIONS: [(&str, &str); 7] = [
    ("echo", r#"(param "data" (list u8)) (result (list u8))"#),
    ("give", r#"(param "n" u32) (result (list u8))"#),
    ("count", r#"(param "n" (list u32)) (result u32)"#),
    ("texts", r#"(param "t" (list string)) (result u32)"#),
    ("records", r#"(param "r" (list (tuple u8 string))) (result u32)"#),
    ("text", "(result string)"),
    ("small", r#"(param "n" u8) (result u8)"#),
];

fn compiled(spec: &str) -> Guest {
    prepare_compiled(&engine(), "codec", &component(CORE, &FUNCTIONS), spec)
}

#[tokio::test]
async fn large_messages_go_there_and_back() {
    let spec = "limits: {input: 32Mi, output: 32Mi}";
    for size in [0, 1, 100, MIB, 16 * MIB] {
        let guest = compiled(spec);
        let request = blob(1, &vec![7; size]);
        let answer = guest.call("echo", request.clone()).await.result.unwrap();
        let empty = size == 0 && answer.is_empty();
        assert!(empty || answer == request, "{size}");
    }
    // As values they would be more than `host_copy` allows.
    let dynamic = prepare(&engine(), "dynamic", &component(CORE, &FUNCTIONS), spec);
    let fault = dynamic.call("echo", blob(1, &vec![7; 16 * MIB])).await.result;
    assert_eq!(limit(fault), Some(LimitKind::HostCopy));
}

#[tokio::test]
async fn the_codecs_own_instance_is_none_of_the_components() {
    for policy in POLICIES {
        let guest = compiled(&format!("limits: {{instances: 1}}\n{policy}"));
        let answer = guest.call("small", number(1, 7)).await.result;
        assert_eq!(answer.unwrap(), number(1, 7), "{policy}");
    }
}

#[tokio::test]
async fn input_and_output_are_bounded() {
    for policy in POLICIES {
        let guest = compiled(&format!("limits: {{input: 1Ki, output: 1Ki}}\n{policy}"));
        let most = blob(1, &[7; 1021]);
        assert_eq!(guest.call("echo", most.clone()).await.result.unwrap(), most);
        let fault = guest.call("echo", blob(1, &[7; 1022])).await.result;
        assert_eq!(limit(fault), Some(LimitKind::Input), "{policy}");
        assert_eq!(limit(guest.call("give", number(1, 1021)).await.result), None);
        let Err(Fault::Limit(reached)) = guest.call("give", number(1, 1022)).await.result else {
            panic!("{policy}");
        };
        assert_eq!((reached.limit, reached.used), (LimitKind::Output, Some(1025)));
        // Far over it the response takes no memory either.
        let Err(Fault::Limit(reached)) = guest.call("give", number(1, 90 << 20)).await.result
        else {
            panic!("{policy}");
        };
        assert_eq!((reached.limit, reached.used), (LimitKind::Output, Some((90 << 20) + 5)));
    }
}

#[tokio::test]
async fn what_is_copied_is_bounded() {
    let guest = compiled("limits: {input: 4Mi, output: 4Mi, host_copy: 3Mi}");
    let less = guest.call("echo", blob(1, &vec![7; MIB])).await.result;
    assert_eq!(limit(less), None);
    let more = guest.call("echo", blob(1, &vec![7; 2 * MIB])).await.result;
    assert_eq!(limit(more), Some(LimitKind::HostCopy));
}

#[tokio::test]
async fn reading_and_writing_take_the_guests_memory_and_fuel() {
    let request = blob(1, &vec![7; MIB]);
    for policy in POLICIES {
        let guest = compiled(&format!("limits: {{memory: 94Mi}}\n{policy}"));
        // The guest has 1500 pages, and the test's allocator never asks for more.
        assert_eq!(limit(guest.call("echo", request.clone()).await.result), None);
        let core = CORE.replace("1500", "17");
        let small = prepare_compiled(&engine(), "small", &component(&core, &FUNCTIONS), policy);
        let fault = small.call("echo", request.clone()).await.result;
        assert!(matches!(fault, Err(Fault::GuestTrap { .. })), "{fault:?}");

        let guest = compiled(&format!("limits: {{fuel_per_call: 500_000}}\n{policy}"));
        let fault = guest.call("echo", request.clone()).await.result;
        assert_eq!(limit(fault), Some(LimitKind::Fuel), "{policy}");
        assert_eq!(limit(guest.call("echo", blob(1, &[7; 1000])).await.result), None);
    }
}

#[tokio::test]
async fn a_long_conversion_ends_with_its_deadline() {
    let guest = compiled("limits: {input: 32Mi, fuel_per_call: 100_000_000_000, deadline: 10m}");
    // Numbers of five bytes, which are read one by one, twice.
    let numbers: Vec<u8> = varint(u64::from(u32::MAX)).repeat(5 << 20);
    let call = |timeout| roadstead_engine::Call {
        timeout: Some(timeout),
        ..guest.request("count", blob(1, &numbers))
    };
    let outcome = guest.module.call(call(Duration::from_millis(5))).await;
    assert!(matches!(outcome.result, Err(Fault::Deadline(_))), "{:?}", outcome.result);
    let outcome = guest.module.call(call(Duration::from_secs(600))).await;
    assert_eq!(outcome.result.unwrap(), number(1, 5 << 20));
}

#[tokio::test]
async fn what_the_codec_declines_is_judged_by_the_dynamic_one() {
    let (spec, bytes) = (POLICIES[1], component(CORE, &FUNCTIONS));
    let engine = engine();
    let dynamic = prepare(&engine, "dynamic", &bytes, spec);
    let guest = prepare_compiled(&engine, "codec", &bytes, spec);
    let twice = [number(1, 3), number(1, 4)].concat();
    for (request, good) in [
        (number(1, 255), true),
        (number(1, 256), false),
        (twice, true),
        (blob(1, b"a"), true),
        (vec![0x08], false),
        (number(2, 1), true),
        (number(1, 7), true),
    ] {
        let outcome = guest.call("small", request.clone()).await;
        assert_eq!(outcome.result, dynamic.call("small", request).await.result);
        assert_eq!(outcome.result.is_ok(), good, "{outcome:?}");
    }
    // The instance that declined them all serves on.
    let outcome = guest.call("small", number(1, 9)).await;
    assert_eq!(outcome.usage.instance, Some(InstanceOrigin::Warm));
    assert_eq!(outcome.result.unwrap(), number(1, 9));
}

/// As values each of these requests would be far more than `host_copy` allows.
#[tokio::test]
async fn what_is_wrong_with_a_large_request_is_said() {
    let guest = compiled(&format!("limits: {{input: 32Mi, host_copy: 12Mi}}\n{}", POLICIES[1]));
    let bytes = blob(1, &vec![7; 2 * MIB]);
    let texts = blob(1, b"x").repeat(MIB);
    let record = |n| blob(1, &[number(1, n), blob(2, b"x")].concat());
    let records = record(255).repeat(MIB / 4);
    for (function, good, wrong, path) in [
        ("echo", &bytes, vec![0x0a], ""),
        ("texts", &texts, blob(1, &[0xff]), "t[1048576]"),
        ("records", &records, record(256), "r[262144].f0"),
    ] {
        let answered = guest.call(function, good.clone()).await;
        assert!(answered.result.is_ok(), "{function}: {:?}", answered.result);
        let outcome = guest.call(function, [good.clone(), wrong].concat()).await;
        let Err(Fault::BadInput(violations)) = outcome.result else {
            panic!("{function}: {:?}", outcome.result);
        };
        assert_eq!(violations[0].field, path);
        assert_eq!(outcome.usage.instance, Some(InstanceOrigin::Warm), "{function}");
    }
    // Nothing is wrong with this one, but it is not read without values.
    let twice = [bytes.clone(), bytes.clone()].concat();
    assert_eq!(limit(guest.call("echo", twice).await.result), Some(LimitKind::HostCopy));
    assert_eq!(guest.call("echo", bytes.clone()).await.result.unwrap(), bytes);
}

#[tokio::test]
async fn results_that_are_no_values_trap() {
    let guest = compiled("");
    trap(guest.run("text").await);
    // Beyond its memory.
    trap(guest.call("give", number(1, u64::from(u32::MAX))).await.result);
}
