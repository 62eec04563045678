//! The state machine on a clock of its own, by example and by property.

use proptest::prelude::*;

use super::*;

const CONFIG: BreakerConfig =
    BreakerConfig { traps: 4, window: Span::secs(10), pause: Span::secs(1) };

struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { machine: Machine::new(CONFIG, now), now }
    }

    fn call(&mut self, verdict: Verdict) -> Option<Change> {
        let phase = self.machine.enter(self.now).unwrap();
        self.machine.ended(phase, verdict, self.now)
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn open(&mut self) {
        while self.machine.state() == BreakerState::Closed {
            self.call(Verdict::Trapped);
        }
    }

    fn probe(&mut self, verdicts: &[Verdict]) {
        for verdict in verdicts {
            self.call(*verdict);
        }
    }
}

#[test]
fn so_many_traps_open_it_and_one_less_does_not() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        assert_eq!(bench.call(Verdict::Trapped), None);
    }
    bench.wait(9_000);
    let opened = Change::Opened { traps: 4, pause: Duration::from_secs(1) };
    assert_eq!(bench.call(Verdict::Trapped), Some(opened));
    assert_eq!(bench.machine.enter(bench.now), Err(Duration::from_secs(1)));

    let mut spread = Bench::new();
    for _ in 0..100 {
        assert_eq!(spread.call(Verdict::Trapped), None);
        spread.wait(3_400);
    }
}

#[test]
fn traps_beside_as_many_answers_cut_nobody_off() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.probe(&[Verdict::Answered, Verdict::Answered, Verdict::Trapped]);
    }
    assert_eq!(bench.machine.state(), BreakerState::Closed);
    for _ in 0..100 {
        bench.probe(&[Verdict::Other]);
    }
    assert_eq!(bench.machine.state(), BreakerState::Closed);
}

#[test]
fn probes_that_are_answered_close_it_and_one_that_traps_doubles_the_pause() {
    let mut bench = Bench::new();
    bench.open();
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(bench.machine.refuses(bench.now), Some(Duration::from_secs(pause)));
        bench.wait(pause * 1000);
        bench.probe(&[Verdict::Answered, Verdict::Trapped]);
    }
    bench.wait(60_000);
    bench.probe(&[Verdict::Other; 10]);
    assert_eq!(bench.machine.state(), BreakerState::HalfOpen);
    bench.probe(&[Verdict::Answered; 3]);
    assert_eq!(bench.machine.state(), BreakerState::Closed);
    bench.open();
    assert_eq!(bench.machine.refuses(bench.now), Some(LONGEST), "it was not mended");
    bench.wait(60_000);
    bench.probe(&[Verdict::Answered; 3]);
    bench.wait(10_000);
    bench.open();
    assert_eq!(bench.machine.refuses(bench.now), Some(Duration::from_secs(1)));
}

#[test]
fn few_probes_run_at_once_and_one_that_says_nothing_makes_room() {
    let mut bench = Bench::new();
    let old = bench.machine.enter(bench.now).unwrap();
    bench.open();
    bench.wait(1_000);
    let probes: Vec<u64> = (0..3).map(|_| bench.machine.enter(bench.now).unwrap()).collect();
    assert_eq!(bench.machine.enter(bench.now), Err(WHILE_PROBING));
    assert_eq!(bench.machine.ended(old, Verdict::Trapped, bench.now), None, "it began before");
    assert_eq!(bench.machine.ended(probes[0], Verdict::Other, bench.now), None);
    let again = bench.machine.enter(bench.now).unwrap();
    for probe in [probes[1], probes[2]] {
        assert_eq!(bench.machine.ended(probe, Verdict::Answered, bench.now), None);
    }
    assert_eq!(bench.machine.ended(again, Verdict::Answered, bench.now), Some(Change::Closed));
}

#[test]
fn off_means_off() {
    let breaker = Breaker::new(None);
    for _ in 0..1000 {
        assert_eq!(breaker.enter().ok().unwrap().ended(Verdict::Trapped), None);
    }
    assert!(breaker.refuses().is_none());
}

#[derive(Debug, Clone)]
enum Step {
    Enter,
    End(usize, Verdict),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let verdict =
        prop_oneof![Just(Verdict::Answered), Just(Verdict::Trapped), Just(Verdict::Other)];
    prop_oneof![
        4 => Just(Step::Enter),
        4 => (any::<usize>(), verdict).prop_map(|(call, verdict)| Step::End(call, verdict)),
        1 => (0_u64..20_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: it opens only after enough traps that are half of what was counted, no
    /// more than a few probes run at once, no pause is longer than the longest, and once its calls
    /// have ended and the pause is over, calls run again.
    #[test]
    fn it_keeps_its_promises(steps in prop::collection::vec(step(), 0..400)) {
        let mut bench = Bench::new();
        let (mut running, mut traps, mut others) = (Vec::new(), 0_u32, 0_u32);
        for step in steps {
            let before = bench.machine.state();
            match step {
                Step::Wait(millis) => bench.wait(millis),
                Step::Enter => match bench.machine.enter(bench.now) {
                    Ok(phase) => running.push(phase),
                    Err(pause) => {
                        prop_assert!(before != BreakerState::Closed);
                        prop_assert!(Duration::ZERO < pause && pause <= LONGEST);
                    }
                },
                Step::End(call, verdict) if !running.is_empty() => {
                    let phase = running.swap_remove(call % running.len());
                    if before == BreakerState::Closed && phase == bench.machine.phase {
                        traps += u32::from(verdict == Verdict::Trapped);
                        others += u32::from(verdict != Verdict::Trapped);
                    }
                    bench.machine.ended(phase, verdict, bench.now);
                }
                Step::End(..) => {}
            }
            let after = bench.machine.state();
            if before == BreakerState::Closed && after == BreakerState::Open {
                prop_assert!(CONFIG.traps <= traps, "{traps} traps, {others} others");
            }
            if after != before {
                (traps, others) = (0, 0);
            }
            if let Place::HalfOpen { running: probes, answered, .. } = bench.machine.place {
                prop_assert!(probes + answered <= PROBES && answered < PROBES);
                let phase = bench.machine.phase;
                let current = running.iter().filter(|begun| **begun == phase).count();
                // Those that take long are left out.
                prop_assert!(usize::try_from(probes).unwrap() <= current);
            }
        }
        for phase in running {
            bench.machine.ended(phase, Verdict::Other, bench.now);
        }
        bench.now += LONGEST;
        prop_assert!(bench.machine.enter(bench.now).is_ok());
    }

    /// The window against a list of all calls: it holds every call of the last nine tenths and
    /// none that is older than the window.
    #[test]
    fn the_window_holds_what_is_young(calls in prop::collection::vec((0_u64..3_000, any::<bool>()), 1..200)) {
        let start = Instant::now();
        let length = Duration::from_secs(10);
        let mut window = Window::new(length, start);
        let (mut now, mut seen) = (start, Vec::new());
        for (wait, trapped) in calls {
            now += Duration::from_millis(wait);
            seen.push((now, trapped));
            let counted = window.count(trapped, now);
            let younger = |age: Duration| {
                let young = seen.iter().filter(|(at, _)| now.duration_since(*at) <= age);
                let (mut calls, mut traps) = (0, 0);
                young.for_each(|(_, trapped)| { calls += 1; traps += u32::from(*trapped); });
                (calls, traps)
            };
            let (least, most) = (younger(length * 9 / 10), younger(length));
            prop_assert!(least.0 <= counted.calls && counted.calls <= most.0);
            prop_assert!(least.1 <= counted.traps && counted.traps <= most.1);
        }
    }
}

#[test]
fn probes_that_take_long_do_not_keep_others_from_trying() {
    let mut bench = Bench::new();
    bench.open();
    bench.wait(1_000);
    let slow: Vec<_> = (0..3).map(|_| bench.machine.enter(bench.now).unwrap()).collect();
    assert_eq!(bench.machine.enter(bench.now), Err(WHILE_PROBING));
    bench.wait(1_000);
    bench.probe(&[Verdict::Answered; 2]);
    assert_eq!(bench.machine.state(), BreakerState::HalfOpen);
    for phase in slow {
        bench.machine.ended(phase, Verdict::Answered, bench.now);
    }
    assert_eq!(bench.machine.state(), BreakerState::Closed);
}
