//! Single interfaces in both versions of WASI, by core modules that import them directly.

use roadstead_domain::{CallId, Grantee, LimitKind};
use wasmtime::component::Component;

use super::harness::{Guest, Instance, cached, raw, spec};
use crate::{
    OfferedSecret, Offers,
    capability::{CallContext, HasCapabilities as _, grant_of},
};

/// A world with one export and these imports; `asynchronous` lets `run` wait for 0.3's functions.
fn world(imports: &str, asynchronous: bool, packages: &str) -> String {
    let run = if asynchronous { "async func() -> u32" } else { "func() -> u32" };
    format!("package test:guest; world guest {{ {imports} export run: {run}; }}\n{packages}")
}

const RANDOM_P2: &str = "package wasi:random@0.2.0 { interface random {
    get-random-bytes: func(len: u64) -> list<u8>; get-random-u64: func() -> u64; } }";

const RANDOM_P3: &str = "package wasi:random@0.3.0 { interface random {
    get-random-bytes: func(max-len: u64) -> list<u8>; get-random-u64: func() -> u64; } }";

/// A memory of one page whose allocator hands out ever new addresses.
const REALLOC: &str = r#"
    (memory (export "memory") 64)
    (global $next (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (local.get $at))"#;

/// Draws 64 bytes eight times; answers with some of the last.
fn drawing(version: &str) -> String {
    format!(
        r#"(module
            (import "wasi:random/random@{version}" "get-random-bytes" (func $bytes (param i64 i32)))
            {REALLOC}
            (func (export "run") (result i32)
                (local $i i32)
                (loop $again
                    (call $bytes (i64.const 64) (i32.const 16))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $i) (i32.const 8))))
                (i32.load (i32.load (i32.const 16)))))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_are_limited_in_both_versions() {
    let p2 = cached(
        "random-p2",
        &world("import wasi:random/random@0.2.0;", false, RANDOM_P2),
        &drawing("0.2.0"),
    );
    let p3 = cached(
        "random-p3",
        &world("import wasi:random/random@0.3.0;", false, RANDOM_P3),
        &drawing("0.3.0"),
    );
    for component in [&p2, &p3] {
        let enough = Guest::new(&spec("limits: {random: 512}")).run(component).await;
        assert_eq!((enough.trap, enough.exceeded), (None, None));
        let short = Guest::new(&spec("limits: {random: 511}")).run(component).await;
        let limit = short.limit.unwrap();
        assert_eq!((limit.limit, limit.allowed, limit.used), (LimitKind::Random, 511, Some(512)));
        assert_eq!(short.exceeded, Some(limit));
    }
    let seeded = Guest::new(&spec(""));
    let first = seeded.run(&p2).await.answer;
    assert_eq!(first, seeded.run(&p2).await.answer);
    assert_eq!(first, seeded.run(&p3).await.answer);
    let real = Guest::new(&spec("capabilities: {random: real}"));
    assert_ne!(real.run(&p2).await.answer, real.run(&p2).await.answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn preview1_modules_are_adapted() {
    let component = cached(
        "preview1",
        &world("", false, ""),
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
                (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 8) "\10\00\00\00\0e\00\00\00hello\n\1b[31mred\n")
            (func (export "run") (result i32)
                (drop (call $random (i32.const 64) (i32.const 32)))
                (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32))))"#,
    );
    let ran = Guest::new(&spec("limits: {random: 64}")).run(&component).await;
    assert_eq!(ran.lines, ["hello", "\\u{1b}[31mred"]);
    assert_eq!((ran.answer, ran.trap), (0, None));
}

/// Makes pollables and keeps them.
const POLLABLES: &str = r#"(module
    (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration"
        (func $subscribe (param i64) (result i32)))
    (func (export "run") (result i32)
        (local $i i32)
        (loop $again
            (drop (call $subscribe (i64.const 1000000000)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 20))))
        (local.get $i)))"#;

#[tokio::test(flavor = "multi_thread")]
async fn handles_are_limited() {
    let packages = "package wasi:io@0.2.6 { interface poll { resource pollable; } }
        package wasi:clocks@0.2.6 { interface monotonic-clock {
            use wasi:io/poll@0.2.6.{pollable};
            type duration = u64;
            subscribe-duration: func(when: duration) -> pollable; } }";
    let component = cached(
        "pollables",
        &world("import wasi:clocks/monotonic-clock@0.2.6;", false, packages),
        POLLABLES,
    );
    let enough = Guest::new(&spec("limits: {handles: 100}")).run(&component).await;
    assert_eq!((enough.answer, enough.trap), (20, None));
    let few = Guest::new(&spec("limits: {handles: 30}")).run(&component).await;
    let limit = few.limit.unwrap();
    assert_eq!((limit.limit, limit.allowed), (LimitKind::Handles, 30));
}

/// Makes resources of the guest's own and keeps them.
#[tokio::test(flavor = "multi_thread")]
async fn handles_of_the_guests_own_are_limited() {
    let component = cached(
        "own-resources",
        "package test:guest; interface things { resource thing; }
        world guest { export things; export run: func() -> u32; }",
        r#"(module
            (import "[export]test:guest/things" "[resource-new]thing"
                (func $new (param i32) (result i32)))
            (func (export "run") (result i32)
                (local $i i32)
                (loop $again
                    (drop (call $new (i32.const 7)))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $i) (i32.const 20))))
                (local.get $i)))"#,
    );
    let enough = Guest::new(&spec("limits: {handles: 30}")).run(&component).await;
    assert_eq!((enough.answer, enough.trap), (20, None));
    let few = Guest::new(&spec("limits: {handles: 10}")).run(&component).await;
    assert_eq!(few.limit.unwrap().limit, LimitKind::Handles);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_and_logging_are_served() {
    let packages = "package wasi:config@0.2.0-rc.1 { interface store {
            variant error { upstream(string), io(string) }
            get: func(key: string) -> result<option<string>, error>;
            get-all: func() -> result<list<tuple<string, string>>, error>; } }
        package wasi:logging@0.1.0-draft { interface logging {
            enum level { trace, debug, info, warn, error, critical }
            log: func(level: level, context: string, message: string); } }";
    let imports = "import wasi:config/store@0.2.0-rc.1; import wasi:logging/logging@0.1.0-draft;";
    let module = format!(
        r#"(module
            (import "wasi:config/store@0.2.0-rc.1" "get" (func $get (param i32 i32 i32)))
            (import "wasi:logging/logging@0.1.0-draft" "log"
                (func $log (param i32 i32 i32 i32 i32)))
            {REALLOC}
            (data (i32.const 0) "moodnonectx")
            ;; Logs the value of `mood`; answers with the tag of what `none` has.
            (func (export "run") (result i32)
                (call $get (i32.const 0) (i32.const 4) (i32.const 32))
                (call $log (i32.const 3) (i32.const 8) (i32.const 3)
                    (i32.load (i32.const 40)) (i32.load (i32.const 44)))
                (call $get (i32.const 4) (i32.const 4) (i32.const 64))
                (i32.load8_u (i32.const 68))))"#
    );
    let component = cached("config-logging", &world(imports, false, packages), &module);
    let ran = Guest::new(&spec("capabilities: {config: {mood: calm}}")).run(&component).await;
    assert_eq!(ran.lines, ["ctx: calm"]);
    assert_eq!((ran.answer, ran.trap), (0, None));
    // A secret of that name is served too, and is not what the log shows.
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "hunter2-hunter2\n").unwrap();
    let offered = OfferedSecret { file: file.clone(), to: vec![Grantee::Everyone] };
    let secrets = [("mood".to_owned(), offered)].into();
    let offers = Offers { secrets, ..Offers::default() };
    let asking = spec("capabilities: {secrets: [mood]}");
    let guest = Guest::offered(&asking, &offers).unwrap();
    let ran = guest.run(&component).await;
    assert_eq!((ran.lines, ran.answer), (vec!["ctx: [secret mood]".to_owned()], 0));
    // A reused instance sees what the file holds by then, and nothing once it is gone.
    let mut instance = guest.instance(&component).await;
    let line = async |instance: &mut Instance| {
        instance.begin_call();
        instance.call().await.unwrap();
        guest.lines().pop().unwrap()
    };
    std::fs::write(&file, "short").unwrap();
    assert_eq!(line(&mut instance).await, "ctx: short");
    std::fs::remove_file(&file).unwrap();
    let before = guest.lines().len();
    let ran = guest.run(&component).await;
    assert_eq!((ran.lines.len(), ran.trap), (before, None));
    assert!(Guest::offered(&asking, &offers).is_err());
    assert!(Guest::offered(&asking, &Offers::default()).is_err());
}

/// Calls an intrinsic of asynchronous components again and again and keeps what it makes.
fn hoarder_of(intrinsic: &str, result: &str) -> Component {
    raw(&format!(
        r#"(component
            (type $stream (stream u8))
            (type $future (future u8))
            (core func $new (canon {intrinsic}))
            (core module $module
                (import "" "new" (func $new (result {result})))
                (func (export "run") (result i32)
                    (local $i i32)
                    (loop $again
                        (drop (call $new))
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (br_if $again (i32.lt_u (local.get $i) (i32.const 20000))))
                    (local.get $i)))
            (core instance $instance (instantiate $module
                (with "" (instance (export "new" (func $new))))))
            (func (export "run") (result u32)
                (canon lift (core func $instance "run"))))"#
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_futures_and_sets_of_the_guests_own_are_limited() {
    for (intrinsic, result) in
        [("stream.new $stream", "i64"), ("future.new $future", "i64"), ("waitable-set.new", "i32")]
    {
        let guest = Guest::new(&spec("limits: {handles: 500}"));
        let ran = guest.run(&hoarder_of(intrinsic, result)).await;
        assert_eq!(ran.limit.map(|reached| reached.limit), Some(LimitKind::Handles), "{intrinsic}");
    }
}

/// Sleeps without waiting for it, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_nobody_waits_for_are_limited() {
    let component = raw(r#"(component
            (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
                (export "wait-for" (func async (param "how-long" u64)))))
            (alias export $clock "wait-for" (func $wait))
            (core func $start (canon lower (func $wait) async))
            (core module $module
                (import "" "start" (func $start (param i64) (result i32)))
                (func (export "run") (result i32)
                    (local $i i32)
                    (loop $again
                        (drop (call $start (i64.const 3600000000000)))
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (br_if $again (i32.lt_u (local.get $i) (i32.const 20000))))
                    (local.get $i)))
            (core instance $instance (instantiate $module
                (with "" (instance (export "start" (func $start))))))
            (func (export "run") (result u32)
                (canon lift (core func $instance "run"))))"#);
    let ran = Guest::new(&spec("limits: {handles: 500}")).run(&component).await;
    assert_eq!(ran.limit.map(|reached| reached.limit), Some(LimitKind::Handles));
}

/// Polls one thing so many times in one list.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_to_poll_has_as_many_things_as_there_can_be() {
    let packages = "package wasi:io@0.2.6 { interface poll { resource pollable;
            poll: func(in: list<borrow<pollable>>) -> list<u32>; } }
        package wasi:clocks@0.2.6 { interface monotonic-clock {
            use wasi:io/poll@0.2.6.{pollable};
            type duration = u64;
            subscribe-duration: func(when: duration) -> pollable; } }";
    let imports = "import wasi:clocks/monotonic-clock@0.2.6; import wasi:io/poll@0.2.6;";
    for (name, count) in [("poll-100", 100_u32), ("poll-300", 300)] {
        let module = format!(
            r#"(module
                (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration"
                    (func $subscribe (param i64) (result i32)))
                (import "wasi:io/poll@0.2.6" "poll" (func $poll (param i32 i32 i32)))
                {REALLOC}
                (func (export "run") (result i32)
                    (local $i i32) (local $one i32)
                    (local.set $one (call $subscribe (i64.const 1)))
                    (loop $again
                        (i32.store (i32.add (i32.const 8192) (i32.shl (local.get $i) (i32.const 2)))
                            (local.get $one))
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (br_if $again (i32.lt_u (local.get $i) (i32.const {count}))))
                    (call $poll (i32.const 8192) (i32.const {count}) (i32.const 16))
                    (i32.load (i32.const 20))))"#
        );
        let component = cached(name, &world(imports, false, packages), &module);
        let ran = Guest::new(&spec("limits: {handles: 200}")).run(&component).await;
        if count == 100 {
            assert_eq!((ran.answer, ran.trap), (100, None));
        } else {
            assert_eq!(ran.limit.map(|reached| reached.limit), Some(LimitKind::Handles));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sleep_of_0_3_moves_a_fixed_clock() {
    let packages = include_str!("interfaces/wasi-0.3.wit");
    let component = cached(
        "clock-p3",
        &world("import wasi:clocks/monotonic-clock@0.3.0;", true, packages),
        r#"(module
            (import "wasi:clocks/monotonic-clock@0.3.0" "now" (func $now (result i64)))
            (import "wasi:clocks/monotonic-clock@0.3.0" "wait-for" (func $wait (param i64)))
            (func (export "run") (result i32)
                (call $wait (i64.const 1234567))
                (i32.wrap_i64 (call $now))))"#,
    );
    let guest = Guest::new(&spec(""));
    let ran = guest.run(&component).await;
    assert_eq!((ran.answer, ran.trap), (1_234_567, None));
    let mut calls = guest.instance(&component).await;
    for id in 1..=2 {
        let capabilities = calls.store.data_mut().capabilities();
        capabilities.begin_call(&CallContext { id: CallId(id), deadline: None, caller: None });
        assert_eq!(calls.call().await.unwrap(), 1_234_567, "the clock starts anew");
    }
}

/// Every function of 0.3 that is replaced has the type that guests expect.
#[tokio::test(flavor = "multi_thread")]
async fn replaced_functions_of_0_3_have_their_types() {
    let packages = include_str!("interfaces/wasi-0.3.wit");
    let imports = "import wasi:filesystem/types@0.3.0; import wasi:sockets/types@0.3.0;
        import wasi:sockets/ip-name-lookup@0.3.0;";
    let module = format!(
        r#"(module
            (import "wasi:filesystem/types@0.3.0" "[method]descriptor.open-at"
                (func (param i32 i32 i32 i32 i32 i32 i32)))
            (import "wasi:sockets/types@0.3.0" "[static]tcp-socket.create"
                (func $create (param i32 i32)))
            (import "wasi:sockets/types@0.3.0" "[method]tcp-socket.send"
                (func (param i32 i32) (result i32)))
            (import "wasi:sockets/types@0.3.0" "[method]tcp-socket.receive"
                (func (param i32 i32)))
            (import "wasi:sockets/ip-name-lookup@0.3.0" "resolve-addresses"
                (func $resolve (param i32 i32 i32)))
            {REALLOC}
            (data (i32.const 0) "example.com")
            ;; Ten times the result's tag of a new socket, and that of a lookup.
            (func (export "run") (result i32)
                (call $create (i32.const 0) (i32.const 32))
                (call $resolve (i32.const 0) (i32.const 11) (i32.const 64))
                (i32.add
                    (i32.mul (i32.const 10) (i32.load8_u (i32.const 32)))
                    (i32.load8_u (i32.const 64)))))"#
    );
    let component = cached("replaced-p3", &world(imports, true, packages), &module);
    let ran = Guest::new(&spec("")).run(&component).await;
    assert_eq!((ran.answer, ran.trap), (11, None), "both denied");
    let allowed = spec("capabilities: {network: {tcp: ['127.0.0.1:1']}}");
    let ran = Guest::new(&allowed).run(&component).await;
    assert_eq!((ran.answer, ran.trap), (1, None), "a socket, and no such name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_instance_starts_its_counters_anew() {
    let component = cached(
        "random-p2",
        &world("import wasi:random/random@0.2.0;", false, RANDOM_P2),
        &drawing("0.2.0"),
    );
    let guest = Guest::new(&spec("limits: {random: 512}"));
    let mut calls = guest.instance(&component).await;
    let first = calls.call().await.unwrap();
    for id in 1..=3 {
        let capabilities = calls.store.data_mut().capabilities();
        capabilities.begin_call(&CallContext { id: CallId(id), deadline: None, caller: None });
        assert_eq!(calls.call().await.unwrap(), first, "seeded anew");
    }
    assert!(calls.call().await.is_err(), "two calls' worth in one");
}

#[test]
fn imports_are_described_or_refused_with_a_hint() {
    let granted = spec(
        "capabilities:
          env: {A: b}
          clocks: real
          network: {http: ['api.example.com:443'], tcp: ['db.example.com:5432']}
          files: [{host: data, guest: /data}, {host: out, guest: /out, mode: rw}]",
    );
    for (import, plain, allowed) in [
        ("wasi:cli/environment@0.2.0", "empty: nothing in capabilities.env", "variables A"),
        ("wasi:clocks/wall-clock@0.2.12", "fixed", "real"),
        ("wasi:clocks/system-clock@0.3.0", "fixed", "real"),
        ("wasi:random/random@0.2.3", "seeded, at most 1Mi a call", "seeded, at most 1Mi a call"),
        (
            "wasi:http/outgoing-handler@0.2.0",
            "denied: nothing in capabilities.network.http",
            "allowed: api.example.com:443",
        ),
        (
            "wasi:http/client@0.3.0",
            "denied: nothing in capabilities.network.http",
            "allowed: api.example.com:443",
        ),
        (
            "wasi:sockets/tcp@0.2.0",
            "denied: nothing in capabilities.network.tcp",
            "allowed: db.example.com:5432",
        ),
        (
            "wasi:filesystem/preopens@0.2.0",
            "denied: no directories in capabilities.files",
            "ro /data, rw /out",
        ),
    ] {
        assert_eq!(grant_of(import, &spec("")).unwrap(), plain, "{import}");
        assert_eq!(grant_of(import, &granted).unwrap(), allowed, "{import}");
    }
    for (import, hint) in [
        ("wasi:nn/graph@0.2.0", "does not serve `wasi:nn`"),
        ("wasi:cli/environment@0.1.0", "0.2.x and 0.3.0"),
        ("wasi:cli/environment", "no version"),
        ("wasi:cli/environment@0.3.0-rc-2026-01-06", "0.2.x and 0.3.0"),
        ("wasi:cli/nothing@0.2.0", "no interface `nothing`"),
        ("wasi:config/runtime@0.2.0-draft", "0.2.0-rc.1"),
        ("acme:rl/learner@0.1.0", "compose"),
        ("function", "interfaces"),
    ] {
        let refused = grant_of(import, &spec("")).unwrap_err();
        assert!(refused.contains(hint), "{import}: {refused}");
    }
}
