//! What callers get while 64 guests spin: answers by their deadlines, and fair shares.
//!
//! In a test binary of its own, so that no other test takes the processor from it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is how a test reports"
)]

#[path = "spinners/quota.rs"]
mod quota;
#[path = "engine/support.rs"]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use roadstead_domain::Fault;
use roadstead_engine::{Engine, EngineConfig};
use support::{Guest, component, number, prepare, settings, value};
use tokio::task::JoinHandle;

const SPINNERS: usize = 64;

/// One test at a time: each wants the whole machine.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The promise: the caller is answered so long after its deadline at the latest.
const LATENESS: Duration = Duration::from_millis(20);

fn crowded() -> Arc<Engine> {
    Engine::new(EngineConfig { slots: 256, ..settings() }).unwrap()
}

fn spinner(engine: &Arc<Engine>, name: &str) -> Guest {
    let core = r#"(func (export "spin") (loop (br 0))) (func (export "nothing"))"#;
    let bytes = component(core, &[("spin", ""), ("nothing", "")]);
    let spec =
        "limits: {fuel_per_call: 1_000_000_000_000, deadline: 60s}\nquota: {concurrency: 100}";
    prepare(engine, name, &bytes, spec)
}

/// Spins in the background until the handles are aborted.
fn spin(guest: &Guest) -> Vec<JoinHandle<()>> {
    (0..SPINNERS)
        .map(|_| {
            let guest = guest.clone();
            tokio::spawn(async move { drop(guest.run("spin").await) })
        })
        .collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} never came true");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_answered_by_their_deadline_and_spinners_leave() {
    let _machine = MACHINE.lock().await;
    let engine = crowded();
    hold_deadlines(&spinner(&engine, "spinning")).await;
    // A module may start its calls on the callers' threads while they are short.
    let turning = spinner(&engine, "turning");
    for _ in 0..200 {
        assert!(turning.run("nothing").await.is_ok());
    }
    hold_deadlines(&turning).await;
    engine.shutdown().await;
}

async fn hold_deadlines(spinning: &Guest) {
    let background = spin(spinning);
    until("64 spin", || spinning.module.stats().running == 64).await;

    let deadline = Duration::from_millis(50);
    let mut late = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        let outcome = spinning.run_for("spin", deadline).await;
        late.push(start.elapsed().saturating_sub(deadline));
        assert_eq!(outcome.result, Err(Fault::Deadline(deadline)));
    }
    late.sort();
    println!("late by {:?} in the middle, {:?} at the most", late[10], late[19]);
    assert!(late[10] < LATENESS, "late by {late:?}");
    // Other programs on the machine may take a core for a while.
    assert!(late[19] < LATENESS * 5, "late by {late:?}");

    // Nobody waits any more: the guests go at their next tick and use nothing after it.
    let start = Instant::now();
    background.iter().for_each(JoinHandle::abort);
    until("all are gone", || spinning.module.stats().running == 0).await;
    println!("64 were gone after {:?}", start.elapsed());
    let used = spinning.module.stats().cpu;
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The last slices may have been put down only now; 64 that spin would have used 100 ms.
    assert!(spinning.module.stats().cpu - used < Duration::from_millis(10));
    let stats = spinning.module.stats();
    assert_eq!((stats.faults["DEADLINE"], stats.faults["CANCELLED"]), (20, 64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_spins_takes_no_more_than_its_share() {
    let _machine = MACHINE.lock().await;
    let engine = crowded();
    let spinning = spinner(&engine, "spinning");
    let other = spinner(&engine, "other");
    let bytes = component(
        r#"(func (export "double") (param i32) (result i32)
            (i32.mul (local.get 0) (i32.const 2)))"#,
        &[("double", r#"(param "n" u32) (result u32)"#)],
    );
    let quick = prepare(&engine, "quick", &bytes, "");
    let mut background = spin(&spinning);
    until("64 spin", || spinning.module.stats().running == 64).await;

    // A short call waits for a tick, not for its turn among 64.
    let mut took = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        let outcome = quick.call("double", number(1, 4)).await;
        took.push(start.elapsed());
        assert_eq!(value(&outcome.result.unwrap()), 8);
    }
    took.sort();
    println!("a short call took {:?} in the middle, {:?} at the most", took[25], took[49]);
    assert!(took[25] < Duration::from_millis(20), "{took:?}");

    // Two spinners of another module get as much as the 64.
    background.extend(spin(&other).drain(..2));
    until("the others spin", || 2 <= other.module.stats().running).await;
    let (before, others_before) = (spinning.module.stats().cpu, other.module.stats().cpu);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let took = spinning.module.stats().cpu - before;
    let others_took = other.module.stats().cpu - others_before;
    println!("64 spinners took {took:?}, the others {others_took:?}");
    assert!(took < others_took * 3 / 2 && others_took < took * 3 / 2);
    background.iter().for_each(JoinHandle::abort);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_ends_spinners_and_sleepers() {
    let _machine = MACHINE.lock().await;
    let engine = crowded();
    let spinning = spinner(&engine, "spinning");
    let guest = spinning.clone();
    let call = tokio::spawn(async move { guest.run("spin").await });
    until("it spins", || spinning.module.stats().running == 1).await;
    engine.shutdown().await;
    assert_eq!(call.await.unwrap(), Err(Fault::Draining));
    assert_eq!(spinning.run("spin").await, Err(Fault::Draining));
}
