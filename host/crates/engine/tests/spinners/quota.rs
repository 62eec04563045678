//! Processor time as a quota, with real threads: what is promised, what is forbidden, what is shared.
//!
//! Other programs may take the processors for a while: then guarantees are what the guest threads
//! got together at the least, and ceilings hold all the same.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use roadstead_domain::Fault;
use roadstead_engine::{Engine, EngineConfig};
use tokio::task::JoinHandle;

use super::{Guest, MACHINE, component, number, prepare, settings, until};

const WHILE: Duration = Duration::from_secs(4);

fn two_threads() -> Arc<Engine> {
    Engine::new(EngineConfig { slots: 512, guest_threads: 2, ..settings() }).unwrap()
}

/// A module of `spin`, which never ends, with `quota`.
fn module(engine: &Arc<Engine>, name: &str, quota: &str) -> Guest {
    let bytes = component(r#"(func (export "spin") (loop (br 0)))"#, &[("spin", "")]);
    let spec = format!(
        "limits: {{fuel_per_call: 1_000_000_000_000, deadline: 60s}}\nquota: {{concurrency: 100, {quota}}}"
    );
    prepare(engine, name, &bytes, &spec)
}

/// Spins until the handles are dropped.
fn spin(guest: &Guest, calls: usize) -> Vec<Spinning> {
    let one = || {
        let guest = guest.clone();
        Spinning(tokio::spawn(async move { drop(guest.run("spin").await) }))
    };
    (0..calls).map(|_| one()).collect()
}

struct Spinning(JoinHandle<()>);

impl Drop for Spinning {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Processors that each module used from now on, and all of them together.
async fn measure(modules: &[&Guest]) -> (Vec<f64>, f64) {
    let used = || modules.iter().map(|guest| guest.module.stats().cpu).collect::<Vec<_>>();
    let (before, start) = (used(), Instant::now());
    tokio::time::sleep(WHILE).await;
    let (after, wall) = (used(), start.elapsed().as_secs_f64());
    let each: Vec<_> = after
        .iter()
        .zip(before)
        .map(|(after, before)| (*after - before).as_secs_f64() / wall)
        .collect();
    let all = each.iter().sum();
    println!("{each:.3?} of {all:.3}");
    (each, all)
}

/// Within a tenth of `wanted`, or of all that the machine gave where that is less.
fn near(got: f64, wanted: f64, all: f64) {
    assert!(got <= wanted * 1.1, "{got} of {all} instead of {wanted}");
    assert!(wanted.min(all) * 0.9 <= got, "{got} of {all} instead of {wanted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ceiling_is_got_and_not_exceeded_beside_hostile_modules() {
    let _machine = MACHINE.lock().await;
    let engine = two_threads();
    let hostile = [module(&engine, "one", ""), module(&engine, "two", "weight: 1000")];
    let capped = module(&engine, "capped", "cpu: 500m, borrow: false");
    let _spinning: Vec<_> =
        hostile.iter().chain([&capped]).flat_map(|guest| spin(guest, 32)).collect();
    until("all spin", || capped.module.stats().running == 32).await;
    let (each, all) = measure(&[&capped, &hostile[0], &hostile[1]]).await;
    near(each[0], 0.5, all);
    // The rest is theirs by weight.
    assert!(3.0 * each[1] < each[2] && 0.0 < each[1], "{each:?}");
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarantee_holds_beside_64_spinners() {
    let _machine = MACHINE.lock().await;
    let engine = two_threads();
    let others: Vec<_> =
        ["one", "two"].iter().map(|name| module(&engine, name, "weight: 1000")).collect();
    let promised = module(&engine, "promised", "cpu: 1500m, weight: 1");
    let mut spinning: Vec<_> = others.iter().flat_map(|guest| spin(guest, 32)).collect();
    spinning.extend(spin(&promised, 8));
    until("all spin", || promised.module.stats().running == 8).await;
    let (each, all) = measure(&[&promised, &others[0], &others[1]]).await;
    near(each[0], 1.5, all);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_time_is_borrowed_unless_the_spec_forbids_it() {
    let _machine = MACHINE.lock().await;
    let engine = two_threads();
    let borrows = module(&engine, "borrows", "cpu: 100m");
    let spinning = spin(&borrows, 4);
    until("it spins", || borrows.module.stats().running == 4).await;
    let (each, _) = measure(&[&borrows]).await;
    assert!(0.4 < each[0], "{each:?}");
    drop(spinning);

    let capped = module(&engine, "capped", "cpu: 100m, borrow: false");
    // Another version is the same module: what it uses comes from the same quota.
    let again = module(&engine, "capped", "cpu: 100m, borrow: false");
    let _spinning = [spin(&capped, 4), spin(&again, 4)];
    until("they spin", || again.module.stats().running == 4).await;
    let (each, all) = measure(&[&capped]).await;
    near(each[0], 0.1, all);
    assert!(Duration::from_secs(1) < capped.module.cpu().throttled);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_start_at_the_caller_do_not_evade_the_ceiling() {
    let _machine = MACHINE.lock().await;
    let engine = two_threads();
    let bytes = component(
        r#"(func (export "double") (param i32) (result i32)
            (i32.mul (local.get 0) (i32.const 2)))"#,
        &[("double", r#"(param "n" u32) (result u32)"#)],
    );
    for (quota, most) in [("cpu: 20m, borrow: false", 0.03), ("cpu: 20m", 2.0)] {
        let name = format!("quick-{}", quota.len());
        let quick = prepare(&engine, &name, &bytes, &format!("quota: {{{quota}}}"));
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(2) {
            quick.call("double", number(1, 4)).await.result.unwrap();
            calls += 1;
        }
        let used = quick.module.stats().cpu.as_secs_f64() / start.elapsed().as_secs_f64();
        println!("{quota}: {calls} calls, {used:.3} processors");
        assert!(used < most, "{used}");
        assert!(0.03 < most || 0.012 < used, "it gets what it is granted: {used}");
        assert!(most < 0.05 || 0.03 < used, "it borrows: {used}");
    }
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_module_costs_nothing_and_its_callers_are_answered() {
    let _machine = MACHINE.lock().await;
    let engine = two_threads();
    let capped = module(&engine, "capped", "cpu: 1m, borrow: false");
    let deadline = Duration::from_millis(200);
    assert_eq!(capped.run_for("spin", deadline).await.result, Err(Fault::Deadline(deadline)));
    // By now it owes seconds.
    let waiting = spin(&capped, 20);
    until("they wait", || capped.module.stats().running == 20).await;
    let start = Instant::now();
    let outcome = capped.run_for("spin", deadline).await;
    assert_eq!(outcome.result, Err(Fault::Deadline(deadline)));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop(waiting);
    until("all are gone", || capped.module.stats().running == 0).await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(Duration::from_millis(100) < capped.module.cpu().throttled);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_stopped_reports_the_fuel_it_took() {
    let _machine = MACHINE.lock().await;
    let engine = two_threads();
    let spinning = module(&engine, "spinning", "");
    let mut fuel = Vec::new();
    for ms in [100, 1000] {
        let before = spinning.module.stats().cpu;
        let outcome = spinning.run_for("spin", Duration::from_millis(ms)).await;
        let took = spinning.module.stats().cpu - before;
        println!("{} fuel in {took:?}", outcome.usage.fuel);
        assert!(10_000_000 < outcome.usage.fuel, "{outcome:?}");
        fuel.push(outcome.usage.fuel as f64 / took.as_secs_f64());
        until("it is gone", || spinning.module.stats().running == 0).await;
    }
    // What is reported grows with what was used.
    assert!(fuel[0] < fuel[1] * 2.0 && fuel[1] < fuel[0] * 2.0, "{fuel:?}");
    engine.shutdown().await;
}
