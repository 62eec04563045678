//! The run queue on a virtual clock: threads that take slices of a millisecond, modules that want
//! more than there is.

use std::{collections::BinaryHeap, sync::Arc};

use proptest::prelude::*;
use roadstead_domain::Quota;

use super::{
    account::{Account, Claim},
    queue::RunQueue,
    share::Share,
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

/// A module whose tasks always want another slice.
#[derive(Debug, Clone)]
struct Spinner {
    cpu: Option<u64>,
    borrow: bool,
    weight: u64,
    tasks: usize,
}

/// Who uses what, until the end.
struct Simulation {
    queue: RunQueue<usize>,
    modules: Vec<(Arc<Account<usize>>, Spinner)>,
    used: Vec<u64>,
    now: u64,
    /// How much of a slice's wall time a thread gets, in hundredths: the rest is stolen.
    supply: u64,
    /// Slices under way: by when they end, with what takes them.
    running: BinaryHeap<std::cmp::Reverse<(u64, u64, usize)>>,
    claims: Vec<Option<Claim>>,
    idle: u64,
}

fn spinner(cpu: u64, borrow: bool, weight: u64, tasks: usize) -> Spinner {
    Spinner { cpu: (0 < cpu).then_some(cpu), borrow, weight, tasks }
}

impl Spinner {
    fn share(&self) -> Share {
        let cpu = self.cpu.map(roadstead_domain::Millicores);
        Share::from(&Quota { cpu, borrow: self.borrow, weight: self.weight, ..Quota::default() })
    }

    fn capped(&self) -> bool {
        self.cpu.is_some() && !self.borrow
    }
}

impl Simulation {
    fn new(threads: usize, modules: &[Spinner]) -> Self {
        let mut this = Self {
            queue: RunQueue::default(),
            modules: Vec::new(),
            used: Vec::new(),
            now: 5 * SECOND,
            supply: 100,
            running: BinaryHeap::new(),
            claims: vec![None; threads],
            idle: 0,
        };
        modules.iter().for_each(|module| this.add(module));
        this
    }

    fn add(&mut self, module: &Spinner) {
        let account = Arc::new(Account::new(module.share()));
        for _ in 0..module.tasks {
            self.queue.push(&account, self.modules.len(), self.now);
        }
        self.modules.push((account, module.clone()));
        self.used.push(0);
    }

    fn remove(&mut self, module: usize) {
        let (account, spinner) = &mut self.modules[module];
        spinner.tasks = 0;
        while self.queue.withdraw(account, self.now, |_| true) {}
    }

    /// Runs the threads for `time`; says what each module got, in nanoseconds.
    fn run(&mut self, time: u64) -> Vec<u64> {
        let before = self.used.clone();
        let end = self.now + time;
        while self.now < end {
            self.start_slices();
            let ends = self.running.peek().map(|next| next.0.0);
            let due = self.queue.next_due().filter(|_| self.running.len() < self.claims.len());
            let next = ends.into_iter().chain(due).min().unwrap_or(end).min(end).max(self.now);
            let free = (self.claims.len() - self.running.len()) as u64;
            self.idle += free * (next - self.now);
            self.now = next;
            self.end_slices();
        }
        self.used.iter().zip(before).map(|(used, before)| used - before).collect()
    }

    fn start_slices(&mut self) {
        while let Some(thread) = self.claims.iter().position(Option::is_none) {
            let Some(pick) = self.queue.pop(self.now) else { return };
            if self.modules[pick.task].1.tasks == 0 {
                continue;
            }
            // Ticks do not come with the slices: they are between half and a whole one.
            let slice = MS / 2 + (self.now / 7 + 31 * pick.task as u64) % (MS / 2);
            let wall = slice * 100 / self.supply;
            self.claims[thread] = Some(pick.claim);
            let place = pick.task * self.claims.len() + thread;
            self.running.push(std::cmp::Reverse((self.now + wall, slice, place)));
        }
    }

    fn end_slices(&mut self) {
        while let Some(std::cmp::Reverse((end, slice, place))) = self.running.peek().copied() {
            if self.now < end {
                return;
            }
            self.running.pop();
            let (module, thread) = (place / self.claims.len(), place % self.claims.len());
            let claim = self.claims[thread].take().unwrap();
            let account = &self.modules[module].0;
            self.queue.charge(account, claim, slice, self.now);
            self.used[module] += slice;
            self.queue.push(account, module, self.now);
        }
    }
}

/// Shares of one processor in thousandths.
fn millicores(used: &[u64], time: u64) -> Vec<u64> {
    used.iter().map(|used| used * 1000 / time).collect()
}

fn near(what: &[u64], wanted: &[u64], off: u64) {
    let fits = what.iter().zip(wanted).all(|(got, wanted)| got.abs_diff(*wanted) <= off);
    assert!(fits && what.len() == wanted.len(), "{what:?} instead of {wanted:?}");
}

#[test]
fn guarantees_hold_and_the_rest_is_shared_by_weight() {
    for (modules, shares) in [
        (vec![spinner(500, false, 100, 8), spinner(0, true, 100, 8)], vec![500, 1500]),
        (vec![spinner(1500, true, 100, 8), spinner(0, true, 100, 64)], vec![1500, 500]),
        // A guarantee is a floor under what the weight gives, nothing on top.
        (vec![spinner(500, true, 100, 8), spinner(0, true, 100, 64)], vec![1000, 1000]),
        (vec![spinner(0, true, 300, 8), spinner(0, true, 100, 8)], vec![1500, 500]),
        (vec![spinner(100, true, 300, 3), spinner(200, false, 1, 9)], vec![1800, 200]),
        // All is promised.
        (
            vec![spinner(1200, false, 1, 8), spinner(800, true, 1, 8), spinner(0, true, 1000, 64)],
            vec![1200, 800, 0],
        ),
        (
            vec![
                spinner(500, true, 100, 8),
                spinner(300, false, 100, 8),
                spinner(0, true, 200, 8),
                spinner(0, true, 100, 8),
            ],
            vec![500, 300, 800, 400],
        ),
    ] {
        let mut simulation = Simulation::new(2, &modules);
        near(&millicores(&simulation.run(10 * SECOND), 10 * SECOND), &shares, 25);
    }
}

#[test]
fn a_ceiling_holds_in_short_and_is_no_burden_while_it_waits() {
    let mut simulation = Simulation::new(2, &[spinner(100, false, 100, 4)]);
    let first = simulation.run(SECOND / 10);
    // The burst, and a slice too many on each thread.
    assert!(first[0] <= 20 * MS + 2 * MS, "{first:?}");
    for _ in 0..20 {
        let used = simulation.run(SECOND / 10);
        assert!(used[0].abs_diff(10 * MS) <= 2 * MS, "{used:?}");
    }
    let usage = simulation.modules[0].0.usage(simulation.now);
    assert!(1800 < usage.throttled.as_millis(), "{usage:?}");
    near(&[usage.millicores_2s], &[100], 10);
}

#[test]
fn who_used_its_time_alone_is_not_punished_for_it_nor_its_guarantee() {
    // Borrowed for a minute; then others come.
    let mut simulation = Simulation::new(2, &[spinner(1500, true, 100, 8)]);
    near(&millicores(&simulation.run(60 * SECOND), 60 * SECOND), &[2000], 1);
    simulation.add(&spinner(0, true, 100, 64));
    near(&millicores(&simulation.run(SECOND), SECOND), &[1500, 500], 25);
    // Long over its part by its guarantee; when that would be its part anyway, it has it at once.
    let mut simulation = Simulation::new(2, &[spinner(1500, true, 1000, 8)]);
    (0..100).for_each(|_| simulation.add(&spinner(0, true, 100, 2)));
    simulation.run(60 * SECOND);
    (2..simulation.modules.len()).for_each(|module| simulation.remove(module));
    let used = simulation.run(SECOND);
    near(&millicores(&used[..2], SECOND), &[1818, 181], 60);
}

#[test]
fn time_at_the_callers_costs_no_place_in_the_queue() {
    let mut simulation = Simulation::new(1, &[spinner(0, true, 100, 4)]);
    let quick = Arc::new(Account::<usize>::new(Share::default()));
    for _ in 0..1000 {
        simulation.queue.charge(&quick, Claim::Spare, MS, simulation.now);
    }
    simulation.run(SECOND);
    simulation.queue.push(&quick, 99, simulation.now);
    let waited = (0..100).position(|_| {
        simulation.now += MS;
        let pick = simulation.queue.pop(simulation.now).unwrap();
        simulation.queue.charge(&pick.account, pick.claim, MS, simulation.now);
        simulation.queue.push(&pick.account, pick.task, simulation.now);
        pick.task == 99
    });
    assert!(waited.is_some_and(|slices| slices <= 11), "{waited:?}");
}

#[test]
fn who_is_next_in_turn_may_run_at_the_callers_and_pays_for_it() {
    let mut simulation = Simulation::new(1, &[spinner(0, true, 100, 4)]);
    let quick = Arc::new(Account::<usize>::new(Share::default()));
    simulation.run(SECOND);
    let mut had = 0;
    for _ in 0..SECOND / MS {
        while let Some(claim) = simulation.queue.claim_now(&quick, true, simulation.now) {
            assert_eq!(claim, Claim::Shared);
            simulation.queue.charge(&quick, claim, MS / 10, simulation.now);
            had += MS / 10;
        }
        simulation.run(MS);
    }
    near(&millicores(&[had], SECOND), &[1000], 50);
    // Where nobody waits, nobody is in its way.
    assert_eq!(simulation.queue.claim_now(&quick, false, simulation.now), Some(Claim::Spare));
}

#[test]
fn a_guarantee_that_is_due_goes_before_who_is_next_in_turn() {
    let mut queue = RunQueue::default();
    let promised = Arc::new(Account::new(spinner(500, true, 100, 1).share()));
    let quick = Arc::new(Account::new(Share::default()));
    queue.push(&promised, 1, SECOND);
    assert_eq!(queue.claim_now(&quick, true, SECOND), None);
    assert_eq!(queue.pop(SECOND).unwrap().task, 1);
    assert_eq!(queue.claim_now(&quick, true, SECOND), Some(Claim::Shared));
}

#[test]
fn a_modules_own_tasks_do_not_keep_it_from_its_turn() {
    let mut queue = RunQueue::default();
    let account = Arc::new(Account::new(Share::default()));
    (0..3).for_each(|task| queue.push(&account, task, SECOND));
    for _ in 0..3 {
        let claim = queue.claim_now(&account, true, SECOND).unwrap();
        queue.charge(&account, claim, MS, SECOND);
    }
    let other = Arc::new(Account::new(Share::default()));
    queue.push(&other, 9, SECOND);
    assert_eq!(queue.claim_now(&account, true, SECOND), None, "the other had less");
    assert_eq!(queue.pop(SECOND).unwrap().task, 9);
}

#[test]
fn what_cannot_be_kept_is_cut_for_all_alike_and_owed_to_nobody() {
    let promised = [spinner(1500, true, 100, 8), spinner(500, true, 100, 8)];
    let mut simulation = Simulation::new(2, &promised);
    simulation.add(&spinner(0, true, 100, 8));
    simulation.supply = 60;
    near(&millicores(&simulation.run(20 * SECOND), 20 * SECOND), &[900, 300, 0], 25);
    // More promised than there is.
    let promised = [spinner(3000, true, 100, 8), spinner(1000, false, 100, 8)];
    let mut simulation = Simulation::new(2, &promised);
    near(&millicores(&simulation.run(20 * SECOND), 20 * SECOND), &[1500, 500], 25);
    // The machine has its processors back: nobody catches up on what was stolen.
    let promised = [spinner(1000, true, 100, 8), spinner(0, true, 100, 8)];
    let mut simulation = Simulation::new(2, &promised);
    simulation.supply = 40;
    simulation.run(20 * SECOND);
    simulation.supply = 100;
    near(&millicores(&simulation.run(SECOND), SECOND), &[1000, 1000], 250);
}

#[test]
fn a_module_with_one_task_cannot_slow_the_clock_of_guarantees() {
    let modules =
        [spinner(1500, true, 1, 1), spinner(500, false, 100, 8), spinner(0, true, 100, 64)];
    let mut simulation = Simulation::new(2, &modules);
    near(&millicores(&simulation.run(10 * SECOND), 10 * SECOND), &[1000, 500, 500], 25);
}

#[test]
fn a_task_that_nobody_waits_for_goes_first_though_its_module_is_throttled() {
    let mut queue = RunQueue::default();
    let account = Arc::new(Account::new(spinner(1, false, 1, 0).share()));
    (0..3).for_each(|task| queue.push(&account, task, SECOND));
    assert_eq!(queue.pop(SECOND).unwrap().task, 0);
    queue.charge(&account, Claim::Guaranteed, SECOND, SECOND);
    assert!(
        queue.pop(2 * SECOND).is_none() && queue.claim_now(&account, false, 2 * SECOND).is_none()
    );
    let due = queue.next_due().unwrap();
    assert!(900 * SECOND < due, "{due}");
    assert!(queue.withdraw(&account, 2 * SECOND, |task| *task == 2));
    assert!(!queue.withdraw(&account, 2 * SECOND, |task| *task == 2));
    assert_eq!(queue.pop(2 * SECOND).unwrap().task, 2);
    assert_eq!(queue.pop(due).unwrap().task, 1);
    assert!(queue.pop(due).is_none() && queue.next_due().is_none());
    // A new share counts at once.
    queue.charge(&account, Claim::Guaranteed, SECOND, due);
    queue.push(&account, 3, due);
    assert!(queue.pop(due).is_none());
    queue.set_share(&account, Share::default(), due);
    assert_eq!(queue.pop(due).unwrap().task, 3);
    queue.push(&account, 4, due);
    queue.set_share(&account, spinner(1, false, 1, 0).share(), due);
    assert_eq!(queue.take_all(), [4]);
}

fn any_spinner() -> impl Strategy<Value = Spinner> {
    let cpu = prop_oneof![Just(0), 20..600_u64];
    (cpu, any::<bool>(), 1..=1000_u64, 1..20_usize)
        .prop_map(|(cpu, borrow, weight, tasks)| spinner(cpu, borrow || cpu == 0, weight, tasks))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whoever else there is: ceilings and guarantees hold, and no thread idles beside a module
    /// that may run.
    #[test]
    fn every_mix_gets_what_it_is_promised(
        threads in 2..5_usize,
        mut modules in prop::collection::vec(any_spinner(), 1..8),
    ) {
        let all: u64 = modules.iter().filter_map(|module| module.cpu).sum();
        if (threads as u64) * 1000 < all {
            modules.truncate(3);
        }
        let time = 8 * SECOND;
        let mut simulation = Simulation::new(threads, &modules);
        let used = simulation.run(time);
        for (used, module) in used.iter().zip(&modules) {
            let granted = module.cpu.unwrap_or(0) * (time / 1000);
            let slack = 100 * MS + granted / 50;
            prop_assert!(granted <= used + slack, "{module:?} got {used} of {granted}");
            if module.capped() {
                prop_assert!(*used <= granted + slack, "{module:?} got {used}, over {granted}");
            }
        }
        let hungry: usize =
            modules.iter().filter(|module| !module.capped()).map(|module| module.tasks).sum();
        if threads <= hungry {
            prop_assert_eq!(simulation.idle, 0);
        }
    }
}
