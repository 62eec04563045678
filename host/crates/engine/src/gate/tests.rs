//! Turns, bounds and leftovers, by example, against a model, and under threads.

use std::{future::Future as _, pin::pin, task::Poll, time::Duration};

use futures::task::noop_waker;
use proptest::prelude::*;

use super::*;

fn ask(count: u64) -> Ask {
    Ask { count, most: u64::MAX }
}

fn lane(gate: &Arc<Gate>) -> Lane {
    gate.lane(&gate.part(u64::MAX), u64::MAX)
}

fn join(lane: &Lane, count: u64) -> Waiting {
    lane.join(ask(count), u64::MAX).unwrap()
}

fn now(waiting: Waiting) -> Option<Taken> {
    let mut granted = pin!(waiting.granted());
    match granted.as_mut().poll(&mut std::task::Context::from_waker(&noop_waker())) {
        Poll::Ready(taken) => taken,
        Poll::Pending => None,
    }
}

#[test]
fn every_part_bounds_what_is_taken() {
    let gate = Gate::new(100);
    let namespace = gate.part(80);
    let (one, two) = (gate.lane(&namespace, 50), gate.lane(&namespace, 50));
    let elsewhere = lane(&gate);
    let mut first = one.try_take(ask(40)).unwrap();
    assert_eq!(one.try_take(ask(11)).unwrap_err(), Level::Module);
    assert_eq!(one.try_take(Ask { count: 1, most: 40 }).unwrap_err(), Level::Module);
    let _second = two.try_take(ask(40)).unwrap();
    assert_eq!(two.try_take(ask(1)).unwrap_err(), Level::Namespace);
    assert_eq!(first.grow_to(41, u64::MAX), Err(Level::Namespace));
    assert_eq!(elsewhere.try_take(ask(21)).unwrap_err(), Level::Whole);
    assert_eq!((gate.taken(), elsewhere.taken()), (80, 0), "what was refused is not kept");
    first.shrink_to(10);
    assert_eq!((gate.taken(), one.taken()), (50, 10));
    assert!(first.grow_to(40, u64::MAX).is_ok() && first.grow_to(5, 0).is_ok());
    drop(first);
    assert_eq!((gate.taken(), one.taken(), one.largest()), (40, 0, 50));
}

#[test]
fn the_module_that_has_least_for_its_weight_is_next() {
    let gate = Gate::new(8);
    let (flood, other, heavy) = (lane(&gate), lane(&gate), lane(&gate));
    heavy.set_weight(4);
    let mut held: Vec<Taken> = (0..8).map(|_| flood.try_take(ask(1)).unwrap()).collect();
    let mut flooding: Vec<Waiting> = (0..100).map(|_| join(&flood, 1)).collect();
    let mut others: Vec<Waiting> = (0..8).map(|_| join(&other, 1)).collect();
    let mut heavies: Vec<Waiting> = (0..8).map(|_| join(&heavy, 1)).collect();
    for _ in 0..40 {
        drop(held.remove(0));
        for waiting in [&mut flooding, &mut others, &mut heavies] {
            while waiting.first().is_some_and(|first| !first.pending()) {
                held.push(now(waiting.remove(0)).unwrap());
            }
        }
        assert_eq!(gate.taken(), 8);
        if others.is_empty() || heavies.is_empty() {
            break;
        }
    }
    assert!(flooding.len() > 60, "the flood did not go first: {}", flooding.len());
    assert!(heavies.is_empty() && !others.is_empty(), "weight counts");
}

#[test]
fn nobody_passes_one_that_waits_for_the_whole_and_everybody_one_that_waits_for_its_part() {
    let gate = Gate::new(10);
    let (large, small) = (lane(&gate), lane(&gate));
    let bounded = gate.lane(&gate.part(u64::MAX), 2);
    let _some = small.try_take(ask(2)).unwrap();
    let held = small.try_take(ask(4)).unwrap();
    let mine = bounded.try_take(ask(2)).unwrap();
    let own = join(&bounded, 1);
    drop(small.try_take(ask(1)).unwrap());
    let waiting = join(&large, 8);
    assert_eq!(small.try_take(ask(1)).unwrap_err(), Level::Whole);
    drop(waiting);
    assert!(small.try_take(ask(1)).is_ok() && gate.contended() && own.pending());
    let waiting = join(&large, 8);
    drop(held);
    assert!(waiting.pending(), "the last two are another's");
    drop(mine);
    assert!(now(own).is_some());
    assert!(now(waiting).is_some());
    assert_eq!(gate.taken(), 2);
    assert!(!gate.contended());
}

#[test]
fn who_gives_up_leaves_nothing_behind() {
    let gate = Gate::new(1);
    let one = lane(&gate);
    let held = one.try_take(ask(1)).unwrap();
    let (first, second) = (join(&one, 1), join(&one, 1));
    assert!(one.join(ask(1), 2).is_none(), "the queue is bounded");
    drop(first);
    drop(held);
    // It was granted and is given up before anybody looked.
    drop(second);
    assert_eq!((gate.taken(), one.waiting(), gate.contended()), (0, 0, false));
    assert!(now(join(&one, 1)).is_some());
}

#[test]
fn an_inner_lane_takes_of_the_modules_part_alone() {
    let gate = Gate::new(10);
    let namespace = gate.part(2);
    let (one, other) = (gate.lane(&namespace, 2), gate.lane(&namespace, 2));
    let inner = one.inner();
    let _all_of_the_namespace = other.try_take(ask(2)).unwrap();
    let outer = join(&one, 1);
    let within = inner.try_take(ask(2)).expect("nobody waits for what it takes");
    assert_eq!((gate.taken(), one.taken(), inner.taken()), (2, 2, 2));
    assert_eq!(inner.try_take(ask(1)).unwrap_err(), Level::Module);
    let further = join(&inner, 1);
    drop(within);
    assert!(outer.pending() && now(further).is_some());
    assert_eq!((gate.taken(), one.taken()), (2, 0));
}

#[test]
fn both_lanes_of_a_module_are_served_as_their_waiters_came() {
    let gate = Gate::new(10);
    let outer = gate.lane(&gate.part(10), 1);
    let inner = outer.inner();
    outer.set_weight(3);
    let held = inner.try_take(ask(1)).unwrap();
    assert_eq!(outer.try_take(ask(1)).unwrap_err(), Level::Module);
    let (first, second, third) = (join(&outer, 1), join(&inner, 1), join(&outer, 1));
    drop(held);
    assert!(!first.pending() && second.pending());
    drop(now(first));
    assert!(!second.pending() && third.pending());
    drop(now(second));
    drop(now(third).unwrap());
    assert_eq!((gate.taken(), outer.taken()), (0, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Join { lane: usize, count: u64 },
    Try { lane: usize, count: u64 },
    Collect(usize),
    GiveUp(usize),
    Grow { taken: usize, to: u64 },
    GiveBack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let any = any::<usize>;
    prop_oneof![
        4 => (any(), 0_u64..6).prop_map(|(lane, count)| Step::Join { lane, count }),
        2 => (any(), 0_u64..6).prop_map(|(lane, count)| Step::Try { lane, count }),
        4 => any().prop_map(Step::Collect),
        1 => any().prop_map(Step::GiveUp),
        1 => (any(), 0_u64..12).prop_map(|(taken, to)| Step::Grow { taken, to }),
        4 => any().prop_map(Step::GiveBack),
    ]
}

fn pick<T>(list: &mut Vec<T>, index: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(index % list.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, no part is over its bound, each holds the sum of what is held, nobody
    /// waits who could be served, and in the end nothing is left.
    #[test]
    fn parts_add_up_and_nobody_is_forgotten(steps in prop::collection::vec(step(), 0..300)) {
        let gate = Gate::new(12);
        let (near, far) = (gate.part(9), gate.part(u64::MAX));
        let lanes = [gate.lane(&near, 6), gate.lane(&near, 6), gate.lane(&far, 10)];
        let (mut waiting, mut held): (Vec<Waiting>, Vec<Taken>) = Default::default();
        for step in steps {
            match step {
                Step::Join { lane, count } => waiting.push(join(&lanes[lane % 3], count)),
                Step::Try { lane, count } => held.extend(lanes[lane % 3].try_take(ask(count))),
                Step::Collect(at) => {
                    if let Some(one) = pick(&mut waiting, at) {
                        if one.pending() { waiting.push(one) } else { held.extend(now(one)) }
                    }
                }
                Step::GiveUp(at) => drop(pick(&mut waiting, at)),
                Step::Grow { taken, to } => {
                    if let Some(mut one) = pick(&mut held, taken) {
                        one.grow_to(to, u64::MAX).ok();
                        held.push(one);
                    }
                }
                Step::GiveBack(at) => drop(pick(&mut held, at)),
            }
            prop_assert!(gate.taken() <= 12 && near.taken.load(Ordering::Relaxed) <= 9);
            prop_assert_eq!(gate.taken(), lanes.iter().map(Lane::taken).sum::<u64>());
            for lane in &lanes {
                prop_assert!(lane.taken() <= lane.queue.part.most);
            }
            let turn = next_in_turn(&gate.waiting.lock());
            prop_assert!(turn.is_none_or(|queue| queue.held_up_by() == Some(Level::Whole)));
        }
        drop((waiting, held));
        prop_assert_eq!((gate.taken(), gate.contended()), (0, false));
    }
}

/// Tasks that take three resources in one order, give up at any moment, and grow: all of them end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_that_wait_for_several_resources_all_get_through() {
    let gates = [4, 6, 40].map(Gate::new);
    let lanes: Vec<[Lane; 3]> = (0..5)
        .map(|_| gates.each_ref().map(|gate| gate.lane(&gate.part(u64::MAX), gate.most() / 2)))
        .collect();
    let run = |lanes: [Lane; 3], seed: u64| async move {
        for round in 0..100 {
            let dice = (seed * 31 + round * 17) % 97;
            let counts = [1, 1 + dice % 3, 1 + dice % 20];
            let mut held = Vec::new();
            for (lane, count) in lanes.iter().zip(counts) {
                let waiting = lane.join(ask(count), u64::MAX).unwrap().granted();
                if dice.is_multiple_of(5) {
                    // Whoever is impatient goes away with what it has.
                    let Ok(taken) = tokio::time::timeout(Duration::ZERO, waiting).await else {
                        break;
                    };
                    held.extend(taken);
                } else {
                    held.extend(waiting.await);
                }
                tokio::task::yield_now().await;
            }
            if let Some(last) = held.last_mut() {
                last.grow_to(1 + dice % 20, u64::MAX).ok();
            }
        }
    };
    let tasks: Vec<_> = (0..200_u64)
        .map(|seed| {
            let lanes = lanes[usize::try_from(seed).unwrap() % lanes.len()].clone();
            tokio::spawn(run(lanes, seed))
        })
        .collect();
    let all = async {
        for task in tasks {
            task.await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("somebody waits for ever");
    for gate in gates {
        assert_eq!((gate.taken(), gate.contended()), (0, false));
    }
}
