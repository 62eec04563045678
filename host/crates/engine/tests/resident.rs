//! What the kernel says that instances take, against what the engine counts.
//!
//! In a test binary of its own, so that no other test's memory counts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

#[path = "engine/support.rs"]
mod support;

use std::time::Duration;

use roadstead_domain::{ByteSize, Fault};
use roadstead_engine::{Engine, EngineConfig};
use support::{component, prepare, settings};

const BUDGET: u64 = 192 << 20;

/// What the process has resident.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// 200 calls that want 4 MiB and a deep stack each are 1 GiB and more; no more is ever resident
/// than what is counted, and that is no more than the budget.
#[tokio::test(flavor = "multi_thread")]
async fn the_budget_bounds_what_is_resident() {
    let engine =
        Engine::new(EngineConfig { slots: 256, memory_budget: ByteSize(BUDGET), ..settings() })
            .unwrap();
    let core = r#"
        (func $deep (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0))
                (then (i32.const 0))
                (else (i32.add (local.get 0) (call $deep (i32.sub (local.get 0) (i32.const 1)))))))
        (func (export "fill")
            (if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable))
            (memory.fill (i32.const 65536) (i32.const 7) (i32.const 4194304))
            (drop (call $deep (i32.const 8000)))
            (loop (br 0)))"#;
    let bytes = component(core, &[("fill", "")]);
    let spec = "limits: {memory: 8Mi, fuel_per_call: 1_000_000_000_000, deadline: 60s}\n\
        quota: {concurrency: 100}";
    let guests = ["a", "b"].map(|name| prepare(&engine, name, &bytes, spec));
    for guest in &guests {
        let warm = guest.run_for("fill", Duration::from_millis(100)).await;
        assert!(matches!(warm.result, Err(Fault::Deadline(_))), "{warm:?}");
    }
    let before = resident();
    let calls: Vec<_> = (0..200)
        .map(|n: usize| {
            let guest = guests[n % 2].clone();
            tokio::spawn(async move { guest.run_for("fill", Duration::from_secs(8)).await })
        })
        .collect();
    let (mut most, mut counted) = (0, 0);
    while !calls.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(resident().saturating_sub(before));
        counted = counted.max(engine.memory_taken());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for call in calls {
        call.await.unwrap().result.unwrap_err();
    }
    assert!(counted <= BUDGET && BUDGET / 2 < counted, "{counted}");
    // Slots that were used keep 256 KiB each.
    let slack = (256 << 18) + (16 << 20);
    assert!(most <= counted + slack, "{most} bytes more are resident, {counted} were counted");
    assert!(BUDGET / 3 < most, "the test would notice: {most}");
}
