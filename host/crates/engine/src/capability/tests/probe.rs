//! What a Rust program sees through `std`: environment, output, clocks.

use super::harness::{probe, spec};

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_what_the_spec_says_and_nothing_else() {
    let ran =
        probe(spec("capabilities: {env: {MODE: strict, A: b}}"), &["env", "args", "stdin"]).await;
    assert_eq!(ran.lines, ["env A=b,MODE=strict", "args 0", "stdin 0"]);
    assert_eq!(ran.trap, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_granted_by_default() {
    let ran = probe(
        spec(""),
        &[
            "read /etc/hostname",
            "read etc/hostname",
            "list .",
            "write x y",
            "tcp 127.0.0.1:1 x",
            "listen 127.0.0.1:0",
            "udp 127.0.0.1:0",
            "lookup localhost:1",
            "lookup example.com:443",
        ],
    )
    .await;
    assert!(ran.lines.iter().all(|line| line.contains("failed")), "{:?}", ran.lines);
    assert_eq!(ran.lines.len(), 9);
    assert_eq!(ran.trap, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_clocks_stand_still_but_for_sleep() {
    let ran = probe(spec(""), &["clock", "sleep 20", "clock"]).await;
    assert_eq!(ran.lines, ["clock 1735689600 0", "sleep 20 20", "clock 1735689600 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_clocks_run() {
    let ran = probe(spec("capabilities: {clocks: real}"), &["clock", "sleep 1"]).await;
    let words: Vec<u64> =
        ran.lines[0].split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
    assert!(words[0] > 1_735_689_600 && words[1] > 0, "{words:?}");
    assert_eq!(ran.trap, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_trap_without_a_limit() {
    let ran = probe(spec(""), &["stderr hello", "panic"]).await;
    assert!(ran.trap.is_some());
    assert_eq!(ran.limit, None);
    assert_eq!(ran.lines[0], "hello");
    assert!(ran.lines.iter().any(|line| line.contains("asked to")), "{:?}", ran.lines);
}
