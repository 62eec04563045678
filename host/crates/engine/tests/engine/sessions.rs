//! Resources as sessions: handles, leases, limits, and guests and callers that misuse them.

mod ends;
mod guest;
mod limits;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use roadstead_domain::{Fault, InstanceOrigin};
use roadstead_engine::{Engine, EngineConfig, SessionKey};

use self::guest::{counters, handle, ids};
use crate::support::{engine, number, settings, value};

/// Waits for what must come, however slow the machine is.
pub(super) async fn until(what: &str, mut come: impl FnMut() -> bool) {
    let began = Instant::now();
    while !come() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a guest that spins has had the processor.
async fn spins(counters: &guest::Counters) {
    let before = counters.guest.module.stats().cpu;
    until("the guest runs", || {
        before + Duration::from_millis(5) < counters.guest.module.stats().cpu
    })
    .await;
}

#[tokio::test]
async fn an_instance_lives_on_between_calls() {
    let counters = counters(&engine(), "");
    let created = counters.outcome("[constructor]counter", number(1, 40)).await;
    assert_eq!(created.usage.instance, Some(InstanceOrigin::Session));
    let id = ids(&created.result.unwrap()).remove(0);
    assert_eq!(counters.add(&id, 2).await, Ok(42));
    let added =
        counters.outcome("[method]counter.add", [handle(1, &id), number(2, 1)].concat()).await;
    assert_eq!(added.usage.instance, Some(InstanceOrigin::Session));
    assert!(0 < added.usage.fuel && added.usage.fuel < 1000, "fuel is of one call");
    assert_eq!(value(&added.result.unwrap()), 43);
    assert_eq!(counters.sessions(), 1);
    let another = counters.create(0).await;
    assert_eq!(counters.add(&another, 1).await, Ok(1));
    assert_eq!(counters.sessions(), 2);
}

#[tokio::test]
async fn drop_frees_one_handle_and_the_last_one_ends_the_session() {
    let engine = engine();
    let counters = counters(&engine, "");
    let id = counters.create(1).await;
    let twin = counters.twin(&id).await.unwrap();
    assert_eq!(counters.sessions(), 1);
    counters.drop(&id).await.unwrap();
    assert_eq!(counters.add(&id, 1).await, Err(Fault::NoSuchHandle));
    assert_eq!(counters.drop(&id).await, Err(Fault::NoSuchHandle));
    let dropped = counters.call("dropped", handle(1, &twin)).await.unwrap();
    assert_eq!(value(&dropped), 1, "the destructor ran");
    assert_eq!(counters.add(&twin, 1).await, Ok(2));
    counters.drop(&twin).await.unwrap();
    assert_eq!(counters.add(&twin, 1).await, Err(Fault::NoSuchHandle));
    let held = || (counters.sessions(), engine.slots_taken(), engine.memory_taken());
    until("all is given back", || held() == (0, 0, 0)).await;
}

#[tokio::test]
async fn handles_stand_anywhere_and_owned_ones_are_given_away() {
    let counters = counters(&engine(), "");
    let into = counters.create(1).await;
    let many = [handle(1, &into), number(2, 3)].concat();
    let made = ids(&counters.call("many", many).await.unwrap());
    assert_eq!(made.len(), 3);
    let sum = |a: &[u8], b: &[u8]| [handle(1, a), handle(2, b)].concat();
    let both = counters.call("[static]counter.sum", sum(&made[2], &into)).await.unwrap();
    assert_eq!(value(&both), 3);
    let same = counters.call("[static]counter.sum", sum(&into, &into)).await.unwrap();
    assert_eq!(value(&same), 2, "a borrowed handle may stand twice");
    let absorb = |ids: &[&guest::Id]| {
        let all: Vec<u8> = ids.iter().flat_map(|id| handle(2, id)).collect();
        [handle(1, &into), all].concat()
    };
    for twice in [[&made[0], &made[0]], [&made[0], &into]] {
        let refused = counters.call("absorb", absorb(&twice)).await;
        assert!(matches!(refused, Err(Fault::BadInput(_))), "{refused:?}");
    }
    let absorbed = counters.call("absorb", absorb(&[&made[1], &made[2]])).await.unwrap();
    assert_eq!(value(&absorbed), 4);
    assert_eq!(counters.add(&made[1], 0).await, Err(Fault::NoSuchHandle));
    assert_eq!(counters.add(&made[0], 0).await, Ok(0), "what was refused gave nothing away");
    assert_eq!(counters.sessions(), 1);
}

#[tokio::test]
async fn what_holds_no_handle_leaves_no_session() {
    let engine = engine();
    let counters = counters(&engine, "");
    let version = counters.outcome("[static]counter.version", Vec::new()).await;
    assert_eq!(version.usage.instance, Some(InstanceOrigin::Fresh));
    let none = counters.outcome("maybe", Vec::new()).await;
    assert_eq!(none.usage.instance, Some(InstanceOrigin::Fresh));
    assert!(none.result.unwrap().is_empty());
    assert_eq!(value(&counters.call("look", Vec::new()).await.unwrap()), 0);
    until("all is given back", || (counters.sessions(), engine.slots_taken()) == (0, 0)).await;
    let some = ids(&counters.call("maybe", number(1, 1)).await.unwrap());
    assert_eq!(counters.add(&some[0], 1).await, Ok(6));
    let looked = counters.outcome("look", handle(1, &some[0])).await;
    assert_eq!(looked.usage.instance, Some(InstanceOrigin::Session));
    assert_eq!(counters.sessions(), 1);
}

#[tokio::test]
async fn a_handle_is_its_owners_and_of_its_resource() {
    let counters = counters(&engine(), "");
    let (alice, bob) = (counters.of("alice"), counters.of("bob"));
    let id = alice.create(1).await;
    assert_eq!(alice.add(&id, 1).await, Ok(2));
    assert_eq!(bob.add(&id, 1).await, Err(Fault::NoSuchHandle));
    assert_eq!(counters.add(&id, 1).await, Err(Fault::NoSuchHandle));
    assert_eq!(bob.drop(&id).await, Err(Fault::NoSuchHandle));
    let other = alice.call("[method]other.poke", handle(1, &id)).await;
    assert_eq!(other, Err(Fault::NoSuchHandle), "a counter is no other");
    let nobodys = counters.create(1).await;
    assert_eq!(bob.add(&nobodys, 1).await, Err(Fault::NoSuchHandle));
    assert_eq!(alice.add(&id, 1).await, Ok(3), "nothing happened to it");
}

#[tokio::test]
async fn forged_handles_lead_nowhere() {
    let counters = counters(&engine(), "");
    let id = counters.create(1).await;
    for bit in 0..id.len() * 8 {
        let mut forged = id.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(counters.add(&forged, 1).await, Err(Fault::NoSuchHandle), "{bit}");
    }
    for wrong in [Vec::new(), vec![0; 64], vec![1; 100_000], id[1..].to_vec()] {
        assert_eq!(counters.add(&wrong, 1).await, Err(Fault::NoSuchHandle));
    }
    let missing = counters.call("[method]counter.add", number(2, 1)).await;
    assert!(matches!(&missing, Err(Fault::BadInput(found)) if found[0].field == "self"));
    assert_eq!(counters.add(&id, 1).await, Ok(2));
}

#[tokio::test]
async fn handles_of_two_sessions_do_not_mix() {
    let counters = counters(&engine(), "");
    let (one, other) = (counters.create(1).await, counters.create(2).await);
    let sum = [handle(1, &one), handle(2, &other)].concat();
    assert_eq!(counters.call("[static]counter.sum", sum).await, Err(Fault::MixedSessions));
    counters.drop(&other).await.unwrap();
    let gone = [handle(1, &one), handle(2, &other)].concat();
    assert_eq!(counters.call("[static]counter.sum", gone).await, Err(Fault::NoSuchHandle));
    assert_eq!(counters.add(&one, 1).await, Ok(2));
}

#[tokio::test]
async fn a_host_that_was_started_anew_says_that_the_session_is_lost() {
    let key = |host: &str| SessionKey::new([7; 32], host.parse().unwrap());
    let named = |host| Engine::new(EngineConfig { session_key: key(host), ..settings() }).unwrap();
    let start = || named("one");
    let before = counters(&start(), "");
    let id = before.create(1).await;
    let after = counters(&start(), "");
    assert!(
        matches!(after.add(&id, 1).await, Err(Fault::SessionLost(why)) if why.contains("anew"))
    );
    let other = counters(&named("two"), "");
    let lost = other.add(&id, 1).await;
    assert!(matches!(lost, Err(Fault::SessionLost(why)) if why.contains("another host")));
    let own = other.create(1).await;
    let mixed = [handle(1, &own), handle(2, &id)].concat();
    assert_eq!(other.call("[static]counter.sum", mixed).await, Err(Fault::MixedSessions));
    let stranger = counters(&engine(), "");
    assert_eq!(stranger.add(&id, 1).await, Err(Fault::NoSuchHandle), "another host's key");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_one_session_run_one_after_the_other() {
    let counters = counters(&engine(), "quota: {concurrency: 8}");
    let id = Arc::new(counters.create(0).await);
    let other = counters.create(0).await;
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (counters, id) = (counters.clone(), Arc::clone(&id));
            tokio::spawn(async move { counters.add(&id, 1).await.unwrap() })
        })
        .collect();
    let mut seen = Vec::new();
    for call in calls {
        seen.push(call.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=100).collect::<Vec<_>>());
    assert_eq!(counters.add(&other, 1).await, Ok(1));
}
