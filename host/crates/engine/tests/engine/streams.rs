//! Streams, futures and async functions, with a guest that does everything a guest can do with them.

mod limits;
mod sessions;

use std::{
    path::Path,
    process::Command,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roadstead_domain::{Fault, LimitKind};
use roadstead_engine::{Engine, Requests, Response, Responses};

use crate::{
    sessions::until,
    support::{Guest, blob, engine, number, prepare, value},
};

/// The module `hostile-streams`, built once.
pub(super) static COMPONENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../modules");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "--target", "wasm32-wasip2"]);
    cargo.args(["--package", "hostile-streams"]).current_dir(&modules);
    assert!(cargo.status().unwrap().success());
    std::fs::read(modules.join("target/wasm32-wasip2/release/hostile_streams.wasm")).unwrap()
});

pub(super) fn guest(engine: &Arc<Engine>, limits: &str) -> Guest {
    let spec = format!("limits: {{{limits}}}");
    prepare(engine, "streams", &COMPONENT, &spec)
}

pub(super) fn open(guest: &Guest, function: &str, request: Vec<u8>) -> (Requests, Responses) {
    guest.module.open(guest.request(function, request))
}

/// The messages up to the end, and the end.
pub(super) async fn all(mut responses: Responses) -> (Vec<Bytes>, Result<(), Fault>) {
    let mut messages = Vec::new();
    loop {
        match responses.next().await {
            Response::Message(message) => messages.push(message),
            Response::End(end) => return (messages, end),
        }
    }
}

pub(super) async fn called(
    guest: &Guest,
    function: &str,
    request: Vec<u8>,
) -> (Vec<Bytes>, Result<(), Fault>) {
    all(open(guest, function, request).1).await
}

pub(super) fn two(first: u64, second: u64) -> Vec<u8> {
    [number(1, first), number(2, second)].concat()
}

pub(super) fn item(message: &Bytes) -> u64 {
    value(message)
}

/// The bytes of a message of a `stream<u8>`.
fn chunk(message: &Bytes) -> &[u8] {
    let header = 1 + message[1..].iter().position(|byte| *byte < 0x80).unwrap() + 1;
    &message[header..]
}

/// A message of a stream of requests that holds the parameters.
fn start(params: &[u8]) -> Bytes {
    blob(1, params).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn async_functions_and_futures_are_unary() {
    let engine = engine();
    for policy in ["memory: 64Mi", "memory: 65Mi"] {
        let guest = guest(&engine, policy);
        let answer = guest.call("awaited", number(1, 41)).await.result.unwrap();
        assert_eq!(value(&answer), 42);
        let row = guest.call("later", number(1, 7)).await.result.unwrap();
        assert!(row.windows(5).any(|part| part == b"row 7"), "{row:?}");
        let error = guest.call("promised", Vec::new()).await.result.unwrap();
        assert!(error.ends_with(b"promises"), "{error:?}");
    }
    let hasty = guest(&engine, "deadline: 200ms");
    let never = hasty.call("never", Vec::new()).await.result;
    assert!(matches!(never, Err(Fault::Deadline(_))), "{never:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_come_in_order_and_all_of_them() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    for (count, batch) in [(1, 1), (10, 3), (5000, 1), (100_000, 1000), (10_000, 100_000)] {
        let (messages, end) = called(&guest, "count", two(count, batch)).await;
        assert_eq!(end, Ok(()));
        assert!(messages.iter().map(item).eq(0..count), "{count} {batch} {}", messages.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_as_they_are_and_go_back_the_same() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let (rows, end) = called(&guest, "rows", number(1, 250)).await;
    assert_eq!((rows.len(), end), (250, Ok(())));
    let (mut requests, responses) = open(&guest, "echo", Vec::new());
    let sent = rows.clone();
    tokio::spawn(async move {
        for row in &sent {
            // Of the response it is field 1, of the request field 2.
            let mut message = row.to_vec();
            message[0] = 2 << 3 | 2;
            requests.send(message.into()).await.unwrap();
        }
        requests.finish();
    });
    assert_eq!(all(responses).await, (rows, Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_module_are_data() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let (messages, end) = called(&guest, "checked", number(1, 0)).await;
    assert_eq!((messages.len(), end), (1, Ok(())));
    assert!(messages[0].starts_with(&[2 << 3 | 2]) && messages[0].ends_with(b"nothing to count"));
    let (messages, end) = called(&guest, "checked", number(1, 5)).await;
    assert_eq!((messages.iter().map(item).collect::<Vec<_>>(), end), (vec![0, 1, 2, 3, 4], Ok(())));
    for (fails, last) in [(0, None), (1, Some(&[2 << 3 | 2, 2, 1 << 3 | 2, 0][..]))] {
        let (messages, end) = called(&guest, "settled", two(3, fails)).await;
        assert_eq!((messages.len(), end), (3 + usize::from(last.is_some()), Ok(())));
        assert_eq!(messages.get(3).map(|message| &message[..]), last);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_stream_in_until_they_are_whole() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let (mut requests, responses) = open(&guest, "sum", Vec::new());
    requests.send(start(&number(1, 1000))).await.unwrap();
    for at in 0..10_000 {
        requests.send(number(2, at).into()).await.unwrap();
    }
    requests.finish();
    let (messages, end) = all(responses).await;
    assert_eq!(end, Ok(()));
    assert_eq!(value(&messages[0]), 1000 + (0..10_000).sum::<u64>());

    let (requests, responses) = open(&guest, "sum", Vec::new());
    requests.finish();
    let (_, end) = all(responses).await;
    assert!(matches!(&end, Err(Fault::BadInput(found)) if found[0].field == "start"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_type_ends_the_call() {
    let engine = engine();
    let guest = guest(&engine, "stream_idle: 10s");
    let first = |message: Bytes| async {
        let (mut requests, responses) = open(&guest, "sum", Vec::new());
        requests.send(message).await.unwrap();
        all(responses).await.1
    };
    let second = |message: Bytes| async {
        let (mut requests, responses) = open(&guest, "sum", Vec::new());
        requests.send(start(&[])).await.unwrap();
        requests.send(message).await.unwrap();
        all(responses).await.1
    };
    let field = |end: Result<(), Fault>| match end {
        Err(Fault::BadInput(found)) => found[0].field.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(field(first(number(2, 1).into()).await), "start");
    assert_eq!(field(second(start(&[])).await), "start");
    let (mut requests, responses) = open(&guest, "echo", Vec::new());
    requests.send(blob(2, &[]).into()).await.unwrap();
    assert_eq!(field(all(responses).await.1), "item.mark");
    assert_eq!(field(second(Bytes::new()).await), "");
    let (requests, responses) = open(&guest, "sum", Vec::new());
    requests.abort(Fault::bad_input("", "cut"));
    assert_eq!(field(all(responses).await.1), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_and_go_in_chunks_with_bounded_memory() {
    const WHOLE: u64 = 64 << 20;
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let (_, mut responses) = open(&guest, "bytes", two(WHOLE, 1 << 20));
    let mut bytes = 0;
    loop {
        match responses.next().await {
            Response::Message(message) => {
                assert!(message.len() < 80 << 10);
                bytes += chunk(&message).len() as u64;
            }
            Response::End(end) => break assert_eq!(end, Ok(())),
        }
    }
    assert_eq!(bytes, WHOLE);
    for function in ["measure", "pass"] {
        let (mut requests, responses) = open(&guest, function, Vec::new());
        let sending = tokio::spawn(async move {
            let chunk: Bytes = blob(2, &vec![3; 100_000]).into();
            for _ in 0..100 {
                requests.send(chunk.clone()).await.unwrap();
            }
            requests.finish();
        });
        let (messages, end) = all(responses).await;
        assert_eq!(end, Ok(()), "{function}");
        if function == "measure" {
            let both = two(10_000_000, 30_000_000);
            assert_eq!(messages, [Bytes::from(blob(1, &both))]);
        } else {
            assert_eq!(messages.iter().map(|one| chunk(one).len()).sum::<usize>(), 10_000_000);
        }
        sending.await.unwrap();
    }
}

/// The fuel of a call that has come to rest.
async fn at_rest(responses: &Responses) -> u64 {
    let mut before = u64::MAX;
    loop {
        let now = responses.usage().fuel;
        if now == before && now > 0 {
            return now;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_does_not_read_holds_its_guest() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    for (function, request) in [("count", two(0, 7)), ("texts", two(1_000_000, 10_000))] {
        let (_, mut responses) = open(&guest, function, request);
        let fuel = at_rest(&responses).await;
        let (mut messages, mut bytes) = (0, 0);
        // What was on its way is bounded; the next comes only once the guest runs again.
        while let Some(Response::Message(message)) =
            futures::FutureExt::now_or_never(responses.next())
        {
            bytes += message.len();
            messages += 1;
            if messages > 5000 {
                break;
            }
        }
        assert!(messages <= 5000 && bytes < 8 << 20, "{messages} {bytes}");
        assert!(messages > 0 && fuel > 0);
        for _ in 0..10_000 {
            assert!(matches!(responses.next().await, Response::Message(_)));
        }
        assert!(responses.usage().fuel > fuel);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_read_holds_its_caller_and_nothing_grows() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let (mut requests, mut responses) = open(&guest, "deaf", Vec::new());
    let mut sent = 0;
    let sending = async {
        loop {
            requests.send(number(2, 1).into()).await.unwrap();
            sent += 1;
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(300), sending).await.is_err());
    assert!(sent <= 2000, "{sent}");
    assert!(matches!(responses.next().await, Response::Message(_)), "it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_reads_no_more_says_so_and_goes_on() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    let (mut requests, responses) = open(&guest, "some", Vec::new());
    requests.send(start(&number(1, 3))).await.unwrap();
    let mut sent = 0;
    while requests.send(number(2, 1).into()).await.is_ok() {
        sent += 1;
    }
    assert!(sent >= 3);
    let (messages, end) = all(responses).await;
    assert_eq!((value(&messages[0]), end), (3, Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_after_items_come_after_the_items() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi, fuel_per_call: 300_000_000");
    let (messages, end) = called(&guest, "trap-after", number(1, 30)).await;
    assert_eq!(messages.len(), 30);
    assert!(matches!(end, Err(Fault::GuestTrap { .. })), "{end:?}");
    let limit = |end: Result<(), Fault>| match end {
        Err(Fault::Limit(reached)) => reached.limit,
        other => panic!("{other:?}"),
    };
    let (messages, end) = called(&guest, "spin-after", number(1, 30)).await;
    assert_eq!((messages.len(), limit(end)), (30, LimitKind::Fuel));
    let (messages, end) = called(&guest, "swell", Vec::new()).await;
    assert!(messages.len() > 20 && limit(end) == LimitKind::Memory, "{}", messages.len());
    let (_, end) = called(&guest, "texts", two(3, 3 << 20)).await;
    assert_eq!(limit(end), LimitKind::Output);
    let opened = guest.call("open-all", Vec::new()).await.result;
    assert!(opened.is_err(), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fuel_is_for_what_lies_between_two_messages() {
    let engine = engine();
    let guest = guest(&engine, "fuel_per_call: 5_000_000");
    let (_, mut responses) = open(&guest, "count", two(2_000_000, 1000));
    let mut count = 0;
    loop {
        match responses.next().await {
            Response::Message(_) => count += 1,
            Response::End(end) => break assert_eq!(end, Ok(())),
        }
    }
    assert_eq!(count, 2_000_000);
    assert!(responses.usage().fuel > 5_000_000, "{:?}", responses.usage());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_their_time_is_up_or_nothing_passes() {
    let engine = engine();
    let timed = guest(&engine, "stream_deadline: 300ms");
    let end = called(&timed, "silent", Vec::new()).await.1;
    assert_eq!(end, Err(Fault::Deadline(Duration::from_millis(300))));
    let (messages, end) = called(&timed, "count", two(0, 10)).await;
    assert!(!messages.is_empty() && matches!(end, Err(Fault::Deadline(_))), "{end:?}");
    let idle = guest(&engine, "stream_idle: 300ms");
    let end = called(&idle, "silent", Vec::new()).await.1;
    assert_eq!(end, Err(Fault::Idle(Duration::from_millis(300))));
    let (_requests, responses) = open(&idle, "sum", Vec::new());
    assert!(matches!(all(responses).await.1, Err(Fault::Idle(_))), "no first message");
    let began = Instant::now();
    let (_, mut busy) = open(&idle, "count", two(0, 10));
    while began.elapsed() < Duration::from_millis(700) {
        assert!(matches!(busy.next().await, Response::Message(_)), "it is not idle");
    }
    let (messages, end) = {
        let call = roadstead_engine::Call {
            timeout: Some(Duration::from_millis(300)),
            ..timed.request("count", two(0, 10))
        };
        all(timed.module.open(call).1).await
    };
    assert!(!messages.is_empty() && end == Err(Fault::Deadline(Duration::from_millis(300))));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_go_away_free_everything() {
    let engine = engine();
    let guest = guest(&engine, "memory: 64Mi");
    for (function, request) in
        [("silent", Vec::new()), ("count", two(0, 10)), ("spin-after", number(1, 1))]
    {
        let (_, mut responses) = open(&guest, function, request);
        if function != "silent" {
            assert!(matches!(responses.next().await, Response::Message(_)));
        }
        drop(responses);
        rested(&guest).await;
    }
    let (requests, responses) = open(&guest, "sum", Vec::new());
    drop(responses);
    requests.not_read().await;
    for _ in 0..2000 {
        if guest.module.stats().faults.get("CANCELLED") == Some(&4) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let faults = guest.module.stats().faults;
    assert_eq!((faults.get("CANCELLED"), faults.len()), (Some(&4), 1), "{faults:?}");
    rested(&guest).await;
}

pub(super) async fn rested(guest: &Guest) {
    while guest.module.stats().running > 0 || guest.module.stats().streams > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_take_places_like_any_call() {
    let engine = engine();
    let guest = prepare(&engine, "few", &COMPONENT, "quota: {concurrency: 2, queue: 1}");
    let mut open_streams: Vec<_> = (0..2).map(|_| open(&guest, "count", two(0, 10)).1).collect();
    for responses in &mut open_streams {
        assert!(matches!(responses.next().await, Response::Message(_)));
    }
    let third = open(&guest, "count", two(3, 10)).1;
    while guest.module.stats().queued == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let end = called(&guest, "count", two(3, 10)).await.1;
    assert!(matches!(end, Err(Fault::Overloaded { .. })), "{end:?}");
    open_streams.pop();
    assert_eq!(all(third).await.0.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_read_yet_keeps_its_place() {
    let engine = engine();
    let guest = prepare(&engine, "few", &COMPONENT, "quota: {concurrency: 1, queue: 0}");
    let unread = open(&guest, "count", two(3, 10)).1;
    // The guest has ended, and its messages lie here.
    until("the stream has ended", || guest.module.stats().messages_out == 3).await;
    until("its guest is gone", || guest.module.stats().streams == 0).await;
    let second = called(&guest, "count", two(3, 10)).await.1;
    assert!(matches!(second, Err(Fault::Overloaded { .. })), "{second:?}");
    assert_eq!(all(unread).await.0.len(), 3);
    let began = Instant::now();
    while called(&guest, "count", two(3, 10)).await.1.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "its place is not given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
