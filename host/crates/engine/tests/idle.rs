//! An idle host leaves the processor alone. In a test binary of its own: it looks at the threads
//! of the process.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

#[path = "engine/support.rs"]
mod support;

use std::{fs, time::Duration};

use support::{component, engine, prepare};

/// How often threads of the engine were given a core, together.
fn switches() -> u64 {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok())
        .filter(|status| status.starts_with("Name:\troadstead-"))
        .flat_map(|status| status.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.contains("voluntary_ctxt_switches:"))
        .map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
        .sum()
}

#[tokio::test]
async fn threads_of_an_idle_engine_sleep() {
    let engine = engine();
    let bytes = component(r#"(func (export "nothing"))"#, &[("nothing", "")]);
    let guest = prepare(&engine, "quiet", &bytes, "");
    for _ in 0..3 {
        assert!(guest.run("nothing").await.is_ok());
        // The tick goes on for a while, and stops.
        let mut before = switches();
        for round in 0.. {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = switches();
            if now == before {
                break;
            }
            assert!(round < 100, "{now} switches, {before} a moment ago");
            before = now;
        }
    }
    engine.shutdown().await;
    // The kernel lists a thread that has ended for a moment more.
    for round in 0.. {
        if switches() == 0 {
            break;
        }
        assert!(round < 100, "no thread is left but those that end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
