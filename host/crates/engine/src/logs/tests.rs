//! Tests of what the log keeps, drops and shows.

use roadstead_domain::ByteRate;

use super::*;

fn ids(module: &str) -> (Namespace, ModuleName) {
    (Namespace::default(), module.parse().unwrap())
}

fn version_log(store: &LogStore, module: &str, rate: u64) -> VersionLog {
    let (namespace, name) = ids(module);
    VersionLog::new(store.module(&namespace, &name), Version::first(), ByteRate(rate))
}

fn guest(store: &LogStore, module: &str, rate: u64) -> GuestLog {
    version_log(store, module, rate).guest(CallId(7))
}

fn write(log: &GuestLog, source: Source, bytes: &[u8]) {
    use wasmtime_wasi::p2::OutputStream as _;
    log.output(source).write(bytes::Bytes::copy_from_slice(bytes)).unwrap();
}

fn texts(store: &LogStore, module: &str) -> Vec<String> {
    let (namespace, name) = ids(module);
    store.tail(&namespace, &name, usize::MAX).iter().map(|line| line.text.clone()).collect()
}

const PLENTY: u64 = 1 << 30;

#[test]
fn lines_are_put_together_per_stream_and_carry_the_call() {
    let store = LogStore::new(ByteSize::mib(1));
    let log = guest(&store, "m", PLENTY);
    write(&log, Source::Stdout, b"one\r\ntw");
    write(&log, Source::Stderr, b"oops\n");
    log.begin_call(CallId(8));
    write(&log, Source::Stdout, b"o\n\nthree");
    log.end_call();
    let (namespace, name) = ids("m");
    let lines = store.tail(&namespace, &name, 10);
    let seen: Vec<_> =
        lines.iter().map(|line| (line.call.0, line.source.as_str(), line.text.as_str())).collect();
    assert_eq!(
        seen,
        [
            (7, "stdout", "one"),
            (7, "stderr", "oops"),
            (8, "stdout", "two"),
            (8, "stdout", ""),
            (8, "stdout", "three"),
        ]
    );
    assert_eq!(store.tail(&namespace, &name, 2).len(), 2);
}

#[test]
fn a_line_without_an_end_is_cut() {
    let store = LogStore::new(ByteSize::mib(1));
    let log = guest(&store, "m", PLENTY);
    for _ in 0..10 {
        write(&log, Source::Stdout, &vec![b'x'; 1000]);
    }
    write(&log, Source::Stdout, b"\n");
    let lengths: Vec<usize> = texts(&store, "m").iter().map(String::len).collect();
    assert_eq!(lengths, [line::LONGEST, line::LONGEST, 10_000 - 2 * line::LONGEST]);
}

#[test]
fn a_flood_is_dropped_and_counted() {
    let store = LogStore::new(ByteSize::mib(1));
    let log = guest(&store, "m", 100);
    for _ in 0..1000 {
        write(&log, Source::Stdout, b"123456789\n");
    }
    log.end_call();
    let texts = texts(&store, "m");
    let remarks = texts.iter().filter(|text| text.contains("dropped")).count();
    assert!(remarks >= 1, "{texts:?}");
    assert!(texts.len() < 500, "{}", texts.len());
}

#[test]
fn messages_have_a_level_and_one_line_per_line() {
    let store = LogStore::new(ByteSize::mib(1));
    let log = guest(&store, "m", PLENTY);
    log.message(Source::Warn, "db", "slow\nvery \x1b[1mslow");
    assert_eq!(texts(&store, "m"), ["db: slow", "db: very \\u{1b}[1mslow"]);
}

#[test]
fn a_message_costs_what_it_may_hold_and_no_more() {
    let store = LogStore::new(ByteSize::mib(8));
    let log = guest(&store, "m", PLENTY);
    let (context, ends) = ("c".repeat(1 << 20), "\n".repeat(1 << 20));
    log.message(Source::Info, &context, &ends);
    log.message(Source::Info, "", &"x".repeat(1 << 20));
    log.end_call();
    let texts = texts(&store, "m");
    let (lines, rest) = texts.split_at(256);
    assert!(lines.iter().all(|line| line.len() == 258), "{:?}", lines[0]);
    let lengths: Vec<usize> = rest.iter().take(3).map(String::len).collect();
    assert_eq!(lengths[1..], [line::LONGEST, line::LONGEST]);
    let remarks = rest.iter().filter(|line| line.contains("dropped")).count();
    assert_eq!((rest.len(), remarks), (3, 1), "{rest:?}");
}

#[test]
fn a_flood_of_messages_takes_no_time() {
    let store = LogStore::new(ByteSize::mib(8));
    let log = guest(&store, "m", 64 << 10);
    let (context, ends) = ("c".repeat(1 << 20), "\n".repeat(1 << 20));
    let start = std::time::Instant::now();
    for _ in 0..100 {
        log.message(Source::Info, &context, &ends);
    }
    // A line for each line end, of a megabyte each, would be 100 TB.
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn all_modules_together_stay_within_the_budget() {
    let store = LogStore::new(ByteSize::kib(64));
    let loud = guest(&store, "loud", PLENTY);
    let quiet = guest(&store, "quiet", PLENTY);
    write(&quiet, Source::Stdout, b"still here\n");
    for _ in 0..2000 {
        write(&loud, Source::Stdout, &[b"x".repeat(100), b"\n".to_vec()].concat());
    }
    assert!(store.0.used.load(Ordering::Relaxed) <= 64 << 10);
    assert_eq!(texts(&store, "quiet"), ["still here"]);
    assert!(!texts(&store, "loud").is_empty());
    let (namespace, name) = ids("loud");
    store.forget(&namespace, &name);
    store.forget(&namespace, &ids("quiet").1);
    assert_eq!(store.0.used.load(Ordering::Relaxed), 0);
}

#[test]
fn names_that_nothing_was_written_under_are_forgotten() {
    let store = LogStore::new(ByteSize::mib(1));
    let kept = guest(&store, "kept", PLENTY);
    for number in 0..100 {
        store.follow(&Namespace::default(), &format!("m{number}").parse().unwrap(), 1);
    }
    assert_eq!(store.0.modules.read().len(), 2);
    write(&kept, Source::Stdout, b"line\n");
    drop(kept);
    guest(&store, "other", PLENTY);
    assert_eq!(texts(&store, "kept"), ["line"]);
}

#[tokio::test]
async fn followers_see_the_tail_then_news_and_end_with_the_module() {
    let store = LogStore::new(ByteSize::mib(1));
    let log = guest(&store, "m", PLENTY);
    write(&log, Source::Stdout, b"old\nolder\n");
    let (namespace, name) = ids("m");
    let mut follower = store.follow(&namespace, &name, 1);
    let text = |event: Option<LogEvent>| match event {
        Some(LogEvent::Line(line)) => line.text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(follower.next().await), "older");
    let waiting = tokio::spawn(async move {
        let event = follower.next().await;
        (event, follower)
    });
    tokio::task::yield_now().await;
    write(&log, Source::Stdout, b"new\n");
    let (event, mut follower) = waiting.await.unwrap();
    assert_eq!(text(event), "new");
    store.forget(&namespace, &name);
    assert_eq!(follower.next().await, None);
    // A version that was there before the deletion may be published after it.
    write(&log, Source::Stdout, b"again\n");
    assert_eq!(texts(&store, "m"), ["again"]);
}

#[tokio::test]
async fn a_slow_follower_is_told_what_it_missed() {
    let store = LogStore::new(ByteSize::kib(16));
    let log = guest(&store, "m", PLENTY);
    let (namespace, name) = ids("m");
    let mut follower = store.follow(&namespace, &name, 0);
    for number in 0..1000 {
        write(&log, Source::Stdout, format!("{number}\n").as_bytes());
    }
    let Some(LogEvent::Missed(missed)) = follower.next().await else { panic!("nothing missed") };
    let mut seen = 0;
    while let Some(LogEvent::Line(line)) = follower.next().await {
        assert_eq!(line.text, (missed + seen).to_string());
        seen += 1;
        if line.text == "999" {
            break;
        }
    }
    assert_eq!(missed + seen, 1000);
}
