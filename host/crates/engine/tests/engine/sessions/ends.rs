//! How sessions end, and what later calls are told.

use std::time::Duration;

use roadstead_domain::{Fault, LimitKind};
use roadstead_engine::Call;

use super::{
    guest::{DROP_AGAIN, GROW, SPIN, TRAP, TRAPS_WHEN_DROPPED, counters, handle},
    spins, until,
};
use crate::support::{engine, limit, number, trap, value};

/// Why a session was lost.
fn lost<T: std::fmt::Debug>(result: Result<T, Fault>) -> &'static str {
    match result {
        Err(Fault::SessionLost(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_that_does_not_end_in_an_answer_ends_its_session() {
    let engine = engine();
    let counters = counters(&engine, "limits: {memory: 64Mi, fuel_per_call: 10_000_000}");
    let id = counters.create(1).await;
    trap(counters.act(&id, TRAP).await);
    assert!(lost(counters.add(&id, 1).await).contains("trapped"));
    assert!(lost(counters.drop(&id).await).contains("trapped"));
    let id = counters.create(1).await;
    assert_eq!(limit(counters.act(&id, GROW).await), Some(LimitKind::Memory));
    assert!(lost(counters.add(&id, 1).await).contains("limit"));
    let id = counters.create(1).await;
    assert_eq!(
        limit(counters.act(&id, SPIN).await),
        Some(LimitKind::Fuel),
        "each call has its own"
    );
    assert!(lost(counters.add(&id, 1).await).contains("limit"));
    let id = counters.create(TRAPS_WHEN_DROPPED).await;
    let twin = counters.twin(&id).await.unwrap();
    trap(counters.drop(&id).await);
    assert!(lost(counters.add(&twin, 1).await).contains("trapped"));
    let held = || (counters.sessions(), engine.slots_taken(), engine.memory_taken());
    until("all is given back", || held() == (0, 0, 0)).await;
}

#[tokio::test]
async fn guests_that_misuse_handles_trap_and_hurt_nobody() {
    let counters = counters(&engine(), "");
    let safe = counters.create(1).await;
    for function in ["steal", "confuse"] {
        let id = counters.create(1).await;
        let (message, _) = trap(counters.call(function, handle(1, &id)).await);
        assert!(!message.is_empty());
        lost(counters.add(&id, 1).await);
    }
    let id = counters.create(1).await;
    trap(counters.act(&id, DROP_AGAIN).await);
    lost(counters.add(&id, 1).await);
    assert_eq!(counters.add(&safe, 1).await, Ok(2));
}

#[tokio::test]
async fn a_deadline_ends_the_session_whose_guest_ran() {
    let engine = engine();
    let counters = counters(&engine, "limits: {fuel_per_call: 1_000_000_000_000}");
    let id = counters.create(1).await;
    let request = [handle(1, &id), number(2, SPIN)].concat();
    let call = counters.request("[method]counter.act", request);
    let call = Call { timeout: Some(Duration::from_secs(1)), ..call };
    let outcome = counters.guest.module.call(call).await;
    assert!(matches!(outcome.result, Err(Fault::Deadline(_))));
    assert!(lost(counters.add(&id, 1).await).contains("given up"));
    counters.settle(0).await;
    until("the guest is gone", || engine.slots_taken() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_ends_the_session_if_its_guest_ran_and_not_if_it_waited() {
    let counters = counters(&engine(), "limits: {fuel_per_call: 1_000_000_000_000}");
    let id = counters.create(1).await;
    let spinning = {
        let (counters, id) = (counters.clone(), id.clone());
        tokio::spawn(async move { counters.act(&id, SPIN).await })
    };
    spins(&counters).await;
    // One whose deadline passes while it waits is told so and touches nothing.
    let request = [handle(1, &id), number(2, 1)].concat();
    let call = counters.request("[method]counter.add", request);
    let call = Call { timeout: Some(Duration::from_millis(50)), ..call };
    let outcome = counters.guest.module.call(call).await;
    assert!(matches!(outcome.result, Err(Fault::Deadline(_))));
    assert_eq!(counters.sessions(), 1);
    spinning.abort();
    assert!(lost(counters.add(&id, 1).await).contains("given up"));
    counters.settle(0).await;
}

#[tokio::test]
async fn bad_input_leaves_the_session_as_it_was() {
    let counters = counters(&engine(), "limits: {input: 1Ki}");
    let id = counters.create(1).await;
    let garbage = [handle(1, &id), vec![0xff; 3]].concat();
    let refused = counters.call("[method]counter.add", garbage).await;
    assert!(matches!(refused, Err(Fault::BadInput(_))), "{refused:?}");
    let long = [handle(1, &id), vec![0; 2000]].concat();
    let refused = counters.call("[method]counter.add", long).await;
    assert_eq!(limit(refused), Some(LimitKind::Input));
    assert_eq!(counters.add(&id, 1).await, Ok(2));
}

#[tokio::test]
async fn a_session_that_lies_idle_ends_and_one_that_is_used_does_not() {
    let engine = engine();
    let counters = counters(&engine, "limits: {session_idle: 300ms}");
    let (idle, used) = (counters.create(1).await, counters.create(1).await);
    let patient = super::guest::counters(&engine, "limits: {session_idle: 1h}");
    let kept = patient.create(1).await;
    assert_eq!(counters.sessions(), 2);
    let mut number = 1;
    while counters.sessions() == 2 {
        number += 1;
        assert_eq!(counters.add(&used, 1).await, Ok(number));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(counters.add(&idle, 1).await, Err(Fault::NoSuchHandle));
    assert_eq!(counters.add(&used, 1).await, Ok(number + 1));
    counters.settle(0).await;
    assert_eq!(counters.add(&used, 1).await, Err(Fault::NoSuchHandle));
    assert_eq!(engine.slots_taken(), 1);
    assert_eq!(patient.add(&kept, 1).await, Ok(2));
}

#[tokio::test]
async fn a_version_that_is_retired_ends_its_sessions_and_opens_no_more() {
    let counters = counters(&engine(), "");
    let id = counters.create(1).await;
    counters.guest.module.retire();
    assert!(lost(counters.add(&id, 1).await).contains("deleted"));
    assert_eq!(counters.sessions(), 0);
    let late = counters.create(1).await;
    assert_eq!(counters.add(&late, 1).await, Err(Fault::NoSuchHandle));
    assert_eq!(counters.sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_host_ends_sessions_and_their_calls() {
    let engine = engine();
    let counters = counters(&engine, "limits: {fuel_per_call: 1_000_000_000_000, deadline: 60s}");
    let (id, busy) = (counters.create(1).await, counters.create(1).await);
    let spinning = {
        let counters = counters.clone();
        tokio::spawn(async move { counters.act(&busy, SPIN).await })
    };
    spins(&counters).await;
    engine.shutdown().await;
    assert_eq!(spinning.await.unwrap(), Err(Fault::Draining));
    assert_eq!(counters.add(&id, 1).await, Err(Fault::Draining));
    until("all is given back", || (counters.sessions(), engine.slots_taken()) == (0, 0)).await;
}

#[tokio::test]
async fn destructors_count_as_calls() {
    let counters = counters(&engine(), "");
    let id = counters.create(1).await;
    let twin = counters.twin(&id).await.unwrap();
    let outcome = counters.outcome("[resource-drop]counter", handle(1, &id)).await;
    assert!(outcome.result.unwrap().is_empty());
    assert!(0 < outcome.usage.fuel);
    let dropped = counters.call("dropped", handle(1, &twin)).await.unwrap();
    assert_eq!(value(&dropped), 1);
}
