//! What sessions may take of the host, and of each other.

use std::time::Duration;

use futures::future::join_all;
use roadstead_domain::{Fault, LimitKind};
use roadstead_engine::{Call, Engine, EngineConfig, NamespaceShare};

use super::{
    guest::{SPIN, counters, handle, ids},
    spins,
};
use crate::support::{engine, limit, number, prepare, settings};

fn overloaded<T: std::fmt::Debug>(result: Result<T, Fault>) -> &'static str {
    match result {
        Err(Fault::Overloaded { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_module_has_as_many_sessions_as_its_spec_says() {
    let counters = counters(&engine(), "instances: {sessions: 3}");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(counters.create(1).await);
    }
    assert!(overloaded(counters.try_create(1).await).contains("instances.sessions"));
    assert_eq!(counters.sessions(), 3);
    for id in &open {
        assert_eq!(counters.add(id, 1).await, Ok(2), "nobody was put out for another");
    }
    counters.drop(&open[0]).await.unwrap();
    counters.create(1).await;
}

#[tokio::test]
async fn sessions_leave_slots_to_other_calls() {
    let engine = Engine::new(EngineConfig { slots: 16, ..settings() }).unwrap();
    let modules = ["a", "b", "c"].map(|name| {
        let guest =
            prepare(&engine, name, &super::guest::component(), "instances: {sessions: 100}");
        (guest, name)
    });
    let mut open = 0;
    let mut refused = Vec::new();
    for (guest, _) in &modules {
        loop {
            match guest.run("[constructor]counter").await {
                Ok(_) => open += 1,
                other => {
                    refused.push(overloaded(other));
                    break;
                }
            }
        }
    }
    // Slots that an instance takes differ; half of the host's are free all the same.
    assert!(0 < open && engine.slots_taken() <= 8, "{open} {}", engine.slots_taken());
    assert!(refused[0].contains("module's") && refused[2].contains("host's"), "{refused:?}");
    for (guest, name) in &modules {
        assert!(guest.run("[static]counter.version").await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn a_namespace_has_its_part_of_the_sessions() {
    let namespace = NamespaceShare { slots: Some(4), ..NamespaceShare::default() };
    let engine = Engine::new(EngineConfig { namespace, ..settings() }).unwrap();
    let counters = counters(&engine, "");
    let mut open = Vec::new();
    let why = loop {
        match counters.try_create(1).await {
            Ok(id) => open.push(id),
            other => break overloaded(other),
        }
    };
    assert!(why.contains("namespace's") && engine.slots_taken() <= 2, "{why}");
}

#[tokio::test]
async fn sessions_hold_memory_while_they_live() {
    let counters = counters(&engine(), "quota: {memory: 260Mi}");
    let before = counters.guest.module.stats().memory;
    let id = counters.create(1).await;
    let held = counters.guest.module.stats().memory;
    assert!(before + (1 << 20) < held, "{before} {held}");
    counters.drop(&id).await.unwrap();
    assert_eq!(counters.guest.module.stats().memory, before);
}

#[tokio::test]
async fn a_session_has_as_many_handles_as_its_spec_says() {
    let counters = counters(&engine(), "limits: {handles: 20}");
    let first = counters.create(0).await;
    let many = |n: u64| [handle(1, &first), number(2, n)].concat();
    let made = ids(&counters.call("many", many(8)).await.unwrap());
    assert_eq!(made.len(), 8);
    let all = made.iter().flat_map(|id| handle(1, id)).collect();
    counters.call("look-at-all", all).await.unwrap();
    let full = counters.twin(&first).await;
    assert!(matches!(full, Err(Fault::Limit(reached)) if reached.limit == LimitKind::Handles));
    assert_eq!(counters.add(&first, 1).await, Ok(1), "it was refused before the guest ran");
    counters.drop(&made[0]).await.unwrap();
    counters.twin(&first).await.unwrap();
    counters.drop(&made[1]).await.unwrap();
    assert_eq!(limit(counters.call("many", many(2)).await), Some(LimitKind::Handles));
    assert!(matches!(counters.add(&first, 1).await, Err(Fault::SessionLost(_))));
}

#[tokio::test]
async fn a_session_that_is_full_lends_all_its_handles() {
    for (handles, most) in [(3, 1), (4, 1), (20, 9), (21, 10)] {
        let counters = counters(&engine(), &format!("limits: {{handles: {handles}}}"));
        let mut all = vec![counters.create(1).await];
        if 1 < most {
            let rest = [handle(1, &all[0]), number(2, most - 1)].concat();
            all.extend(ids(&counters.call("many", rest).await.unwrap()));
        }
        let full = counters.twin(&all[0]).await;
        assert!(matches!(full, Err(Fault::Limit(reached)) if reached.allowed == most), "{full:?}");
        let lent = all.iter().flat_map(|id| handle(1, id)).collect();
        assert!(counters.call("look-at-all", lent).await.is_ok(), "{handles}");
        assert_eq!(counters.add(&all[0], 1).await, Ok(2), "{handles}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_calls_wait_for_a_session_as_its_queue_holds() {
    let spec = "{limits: {deadline: 1m, fuel_per_call: 1_000_000_000_000}, quota: {concurrency: 2, queue: 3}}";
    let counters = counters(&engine(), spec);
    let (busy, free) = (counters.create(1).await, counters.create(1).await);
    let spinning = {
        let (counters, busy) = (counters.clone(), busy.clone());
        tokio::spawn(async move { counters.act(&busy, SPIN).await })
    };
    spins(&counters).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (counters, busy) = (counters.clone(), busy.clone());
            tokio::spawn(async move {
                loop {
                    let request = [handle(1, &busy), number(2, 1)].concat();
                    match counters.call("[method]counter.add", request).await {
                        // Those that try below may have come first.
                        Err(Fault::Overloaded { .. }) => tokio::task::yield_now().await,
                        other => break other,
                    }
                }
            })
        })
        .collect();
    // The fourth is refused once three wait, whenever that is.
    let refused = loop {
        let request = [handle(1, &busy), number(2, 1)].concat();
        let call = counters.request("[method]counter.add", request);
        let call = Call { timeout: Some(Duration::from_millis(20)), ..call };
        match counters.guest.module.call(call).await.result {
            Err(Fault::Deadline(_)) => {}
            other => break overloaded(other),
        }
    };
    assert_eq!(refused, "session's queue");
    // Who waits for a session takes no place of the module: others go on.
    assert_eq!(counters.add(&free, 1).await, Ok(2));
    spinning.abort();
    for result in join_all(waiting).await {
        assert!(result.unwrap().is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_sessions_ends_where_it_began() {
    let engine = engine();
    let counters = counters(&engine, "instances: {sessions: 4}");
    for _ in 0..5 {
        let created = join_all((0..40).map(|_| counters.try_create(1))).await;
        let open: Vec<_> = created.into_iter().filter_map(Result::ok).collect();
        assert!(!open.is_empty() && open.len() <= 40);
        for id in open {
            counters.drop(&id).await.unwrap();
        }
    }
    let held = || (counters.sessions(), engine.slots_taken(), engine.memory_taken());
    super::until("all is given back", || held() == (0, 0, 0)).await;
}
