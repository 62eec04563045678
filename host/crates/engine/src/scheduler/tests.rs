//! Tasks of plain futures: order, wakers, panics, deadlines and closing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    time::{Duration, Instant},
};

use super::*;

fn scheduler(threads: usize) -> Scheduler {
    // Without an engine there are no ticks: a slice may last.
    ticking(threads, &wasmtime::Engine::default())
}

fn ticking(threads: usize, engine: &wasmtime::Engine) -> Scheduler {
    let config = EngineConfig { guest_threads: threads, ..EngineConfig::for_machine() };
    Scheduler::new(&config, engine).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Spins for `time`, giving the thread back after each millisecond.
async fn spin(time: Duration) {
    let mut left = time.as_millis();
    std::future::poll_fn(|context| {
        let end = thread_time() + Duration::from_millis(1);
        while thread_time() < end {}
        left = left.saturating_sub(1);
        if left == 0 {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_panic_ends_its_task_alone() {
    let scheduler = scheduler(1);
    let account = Arc::<Account>::default();
    let (sent, received) = mpsc::channel();
    let before = crate::panics_caught();
    struct Last(mpsc::Sender<&'static str>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.send("dropped").ok();
        }
    }
    let last = Last(sent.clone());
    let work = async move {
        let _last = last;
        panic!("a host function with a mistake");
    };
    let task = scheduler.spawn(&account, soon(), Box::pin(work));
    assert_eq!(received.recv().unwrap(), "dropped");
    assert_eq!(task.ended(), Ended::Panicked);
    let work = async move {
        sent.send("answered").ok();
    };
    let _task = scheduler.spawn(&account, soon(), Box::pin(work));
    assert_eq!(received.recv().unwrap(), "answered");
    assert!(before < crate::panics_caught());
    scheduler.join();
}

#[test]
fn who_begins_on_another_s_thread_is_charged_for_it() {
    let scheduler = Arc::new(scheduler(1));
    let (outer, inner) = (Arc::<Account>::default(), Arc::<Account>::default());
    let (sent, received) = mpsc::channel();
    let busy = |millis| {
        let end = thread_time() + Duration::from_millis(millis);
        while thread_time() < end {}
    };
    let (calls, other) = (Arc::clone(&scheduler), Arc::clone(&inner));
    let work = async move {
        let claim = calls.claim_here(&other).unwrap();
        let (task, _) = calls.start_here(&other, claim, soon(), Box::pin(async move { busy(50) }));
        busy(5);
        sent.send(task.done() && calls.claim_here(&other).is_none()).ok();
    };
    let _task = scheduler.spawn(&outer, soon(), Box::pin(work));
    assert!(received.recv().unwrap());
    scheduler.join();
    let total = |account| scheduler.usage(account).total;
    assert!(Duration::from_millis(50) <= total(&inner), "{:?}", total(&inner));
    let own = total(&outer);
    assert!(Duration::from_millis(5) <= own && own < Duration::from_millis(50), "{own:?}");
}

#[test]
fn a_thread_that_hangs_is_left_behind() {
    let scheduler = scheduler(1);
    let (entered, hangs) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let work = async move {
        entered.send(()).ok();
        // As a host function that never comes back: it does not yield.
        released.recv().ok();
    };
    let _task = scheduler.spawn(&Arc::default(), soon(), Box::pin(work));
    hangs.recv().unwrap();
    let start = Instant::now();
    scheduler.join();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    drop(release);
}

#[test]
fn timers_work_on_guest_threads_and_wake_their_task() {
    let scheduler = scheduler(2);
    let account = Arc::<Account>::default();
    let (sent, received) = mpsc::channel();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let sent = sent.clone();
            let work = async move {
                for _ in 0..3 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                sent.send(()).ok();
            };
            scheduler.spawn(&account, soon(), Box::pin(work))
        })
        .collect();
    for _ in &tasks {
        received.recv_timeout(Duration::from_secs(10)).unwrap();
    }
    drop(tasks);
    scheduler.join();
    assert_eq!(Arc::strong_count(&account), 1, "nothing of them is left");
}

#[test]
fn dropped_expired_and_closed_tasks_are_let_go() {
    let scheduler = scheduler(1);
    let account = Arc::<Account>::default();
    let (sent, received) = mpsc::channel();
    let parked = |sent: mpsc::Sender<()>| {
        Box::pin(async move {
            std::future::pending::<()>().await;
            sent.send(()).ok();
        })
    };
    let let_go = |received: &mpsc::Receiver<()>| {
        assert_eq!(
            received.recv_timeout(Duration::from_secs(10)),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    };
    let task = scheduler.spawn(&account, soon(), parked(sent));
    drop(task);
    let_go(&received);

    let (sent, received) = mpsc::channel();
    let task = scheduler.spawn(&account, Instant::now(), parked(sent));
    let_go(&received);
    assert_eq!(task.ended(), Ended::Expired);

    let (sent, received) = mpsc::channel();
    let task = scheduler.spawn(&account, soon(), parked(sent));
    scheduler.join();
    let_go(&received);
    assert_eq!(task.ended(), Ended::Closed);

    // No thread is left to see this one.
    let (sent, received) = mpsc::channel();
    let task = scheduler.spawn(&account, soon(), parked(sent));
    let_go(&received);
    assert_eq!(task.ended(), Ended::Closed);
}

#[test]
fn accounts_get_equal_time_whatever_their_number_of_tasks() {
    let scheduler = scheduler(1);
    let (many, one, late) = <(Arc<Account>, Arc<Account>, Arc<Account>)>::default();
    let running = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for account in std::iter::repeat_n(&many, 20).chain([&one]) {
        let running = Arc::clone(&running);
        let work = async move {
            running.fetch_add(1, Ordering::SeqCst);
            spin(Duration::from_secs(60)).await;
        };
        tasks.push(scheduler.spawn(account, soon(), Box::pin(work)));
    }
    while many.total() + one.total() < Duration::from_millis(200) {
        std::thread::yield_now();
    }
    let (a, b) = (many.total().as_millis(), one.total().as_millis());
    assert!(a.abs_diff(b) <= 20, "{a} ms and {b} ms");

    // Who comes late gets a third from then on, and nothing for the time before.
    let work = spin(Duration::from_secs(60));
    tasks.push(scheduler.spawn(&late, soon(), Box::pin(work)));
    while many.total() + one.total() + late.total() < Duration::from_millis(500) {
        std::thread::yield_now();
    }
    let (before, after) = (late.total().as_millis(), many.total().as_millis() - a);
    assert!(before.abs_diff(after) <= 30, "{before} ms and {after} ms");
    drop(tasks);
    scheduler.join();
}

#[test]
fn others_go_on_while_slices_overstay_and_their_threads_end_with_them() {
    let engine = wasmtime::Engine::default();
    let scheduler = ticking(1, &engine);
    let account = Arc::<Account>::default();
    let (answer, answered) = mpsc::channel();
    let mut held = Vec::new();
    for _ in 0..OVERSTAYING {
        let (release, released) = mpsc::channel::<()>();
        let answer = answer.clone();
        let work = async move {
            released.recv().unwrap();
            answer.send("held up").unwrap();
        };
        held.push((scheduler.spawn(&account, soon(), Box::pin(work)), release));
    }
    let other = answer.clone();
    let work = async move { other.send("other").unwrap() };
    let _other = scheduler.spawn(&Arc::default(), soon(), Box::pin(work));
    let patience = Duration::from_secs(10);
    assert_eq!(answered.recv_timeout(patience), Ok("other"));
    for (_, release) in &held {
        release.send(()).unwrap();
    }
    for _ in &held {
        assert_eq!(answered.recv_timeout(patience), Ok("held up"));
    }
    let begun = Instant::now();
    while 0 < scheduler.shared.seats.overstaying() {
        assert!(begun.elapsed() < patience, "a thread without a seat does not end");
        std::thread::yield_now();
    }
}
