//! How guests break off, and what is said about it.

use crate::support::{component, engine, prepare, trap, wat};

#[tokio::test]
async fn each_trap_has_words_and_a_backtrace() {
    let engine = engine();
    let core = r#"(table 2 funcref) (type $t (func))
        (func $inner unreachable)
        (func $outer (export "abort") (call $inner))
        (func (export "divide") (drop (i32.div_u (i32.const 1) (i32.const 0))))
        (func (export "reach") (drop (i32.load (i32.const -1))))
        (func (export "absent") (call_indirect (type $t) (i32.const 0)))
        (func (export "beyond") (call_indirect (type $t) (i32.const 9)))
        (func $recurse (export "recurse") (call $recurse))"#;
    let functions =
        ["abort", "divide", "reach", "absent", "beyond", "recurse"].map(|name| (name, ""));
    let guest = prepare(&engine, "traps", &component(core, &functions), "");
    for (function, words) in [
        ("abort", "it aborted (reached `unreachable`)"),
        ("divide", "it divided by zero"),
        ("reach", "it reached outside its memory"),
        ("absent", "it called a function that is not there"),
        ("beyond", "it reached outside a table"),
        ("recurse", "the stack overflowed"),
    ] {
        let (message, backtrace) = trap(guest.run(function).await);
        assert_eq!(message, words);
        assert!(!backtrace.is_empty() && backtrace.len() <= 20, "{function}: {backtrace:?}");
    }
    let (_, backtrace) = trap(guest.run("abort").await);
    assert!(backtrace[0].ends_with("inner") && backtrace[1].ends_with("outer"), "{backtrace:?}");
    assert_eq!(guest.module.stats().faults["GUEST_TRAP"], 7);
}

#[tokio::test]
async fn rust_names_are_demangled_and_guest_names_made_plain() {
    let engine = engine();
    let core = r#"(func $_ZN6module6broken17h0123456789abcdefE unreachable)
        (func (export "rust") (call $_ZN6module6broken17h0123456789abcdefE))
        (func $"evil\1b[31m\0aname" unreachable)
        (func (export "evil") (call $"evil\1b[31m\0aname"))"#;
    let guest = prepare(&engine, "names", &component(core, &[("rust", ""), ("evil", "")]), "");
    assert!(trap(guest.run("rust").await).1[0].ends_with("module::broken"));
    let evil = trap(guest.run("evil").await).1.remove(0);
    assert!(!evil.contains(['\u{1b}', '\n']), "{evil:?}");
}

#[tokio::test]
async fn breaking_the_component_model_is_the_guests_fault() {
    let engine = engine();
    let core = r#"(func (export "far") (result i32)
            (i32.store (i32.const 16) (i32.const -8))
            (i32.store (i32.const 20) (i32.const 100))
            (i32.const 16))
        (func (export "bad-text") (result i32)
            (i32.store (i32.const 16) (i32.const 64))
            (i32.store (i32.const 20) (i32.const 1))
            (i32.store8 (i32.const 64) (i32.const 255))
            (i32.const 16))
        (func (export "bad-char") (result i32) (i32.const -1))
        (func (export "astray") (result i32) (i32.const -4))"#;
    let functions = [
        ("far", "(result string)"),
        ("bad-text", "(result string)"),
        ("bad-char", "(result char)"),
        ("astray", "(result string)"),
    ];
    let guest = prepare(&engine, "abi", &component(core, &functions), "");
    for (function, _) in functions {
        let (message, _) = trap(guest.run(function).await);
        assert!(message.contains("rules"), "{function}: {message}");
    }
}

#[tokio::test]
async fn exiting_is_no_answer() {
    let engine = engine();
    let bytes = wat(r#"(component
            (import "wasi:cli/exit@0.2.0" (instance $exit
                (export "exit" (func (param "status" (result))))))
            (core func $exit (canon lower (func $exit "exit")))
            (core module $m
                (import "" "exit" (func $exit (param i32)))
                (func (export "leave") (call $exit (i32.const 1))))
            (core instance $i (instantiate $m
                (with "" (instance (export "exit" (func $exit))))))
            (func (export "leave") (canon lift (core func $i "leave"))))"#);
    let guest = prepare(&engine, "exit", &bytes, "");
    let (message, _) = trap(guest.run("leave").await);
    assert_eq!(message, "it exited with status 1 instead of answering");
}
