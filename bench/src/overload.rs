//! What a flood of one module's calls costs: the module's own answers, and its neighbour's latency.
//!
//! The flooded module has a ceiling of processor time, so its capacity is its quota's and the machine
//! has time for the clients too. Its capacity is what four callers get that never stop. Then calls
//! come at multiples of that rate, whether or not others were answered, while a neighbour is called
//! at a steady rate.
//!
//! A processor is often half of a core: the same work takes up to twice its time while the other half
//! is busy, as it is with the clients of a flood. So rounds go over all floods in turn, each beginning
//! with the capacity, and the median counts.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::task::JoinSet;
use tonic::{Code, Request, client::Grpc, metadata::MetadataValue, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    host::{Host, Upload, push},
    load, report,
};

const ROUNDS: &str = "/hostile.spin.spin.v0_1.Spin/Rounds";

const FLOODED: &str =
    "limits: {deadline: 1s}\nquota: {cpu: 500m, borrow: false, concurrency: 4, queue: 16}";

/// Processor time of one call.
const WORK: Duration = Duration::from_millis(10);

/// Times its capacity.
const FLOODS: [f64; 4] = [0.0, 1.0, 10.0, 100.0];

/// Callers that measure the capacity.
const CALLERS: usize = 4;

/// Connections that the flood comes on.
const CONNECTIONS: usize = 4;

/// Calls of the neighbour a second.
const NEIGHBOUR: f64 = 200.0;

/// Before what is measured: the burst of the quota is used up, the queue fills.
const WARM_UP: Duration = Duration::from_secs(1);

/// One row: a flood and what came of it.
#[derive(Serialize)]
pub(crate) struct Overload {
    /// Calls, as a multiple of what the module can answer.
    pub flood: f64,
    pub offered_per_second: f64,
    pub answered_per_second: f64,
    pub refused_per_second: f64,
    /// Calls that ended in any other way: deadlines, broken connections.
    pub lost_per_second: f64,
    /// What was answered over the capacity.
    pub of_capacity: f64,
    pub neighbour_p50_ms: f64,
    pub neighbour_p99_ms: f64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Count {
    #[prost(uint64, tag = "1")]
    value: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    answered: f64,
    refused: f64,
    lost: f64,
}

pub(crate) async fn measure(
    bin: &Path,
    modules: &Path,
    time: Duration,
    rounds: usize,
) -> anyhow::Result<Vec<Overload>> {
    let data = tempfile::tempdir()?;
    let host = Host::start(bin, data.path(), &["--guest-threads", "2"])?;
    let channel = host.child.connect().await?;
    push(channel.clone(), Upload::read(modules, "echo")?).await?;
    let spin = Upload::read(modules, "hostile-spin")?;
    push(channel.clone(), Upload { name: "free".to_owned(), ..spin.clone() }).await?;
    let spec = FLOODED.to_owned();
    push(channel.clone(), Upload { name: "flooded".to_owned(), spec, ..spin }).await?;
    let work = calibrate(&channel).await?;
    let mut flood = Vec::new();
    for _ in 0..CONNECTIONS {
        flood.push(host.child.connect().await?);
    }
    let mut measured: Vec<Vec<Overload>> = FLOODS.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        report::progress(format_args!("floods, round {round} of {rounds}"));
        let capacity = capacity(&flood, work, time).await;
        for (times, rows) in FLOODS.into_iter().zip(&mut measured) {
            let neighbour = steady(host.child.connect().await?, NEIGHBOUR, time);
            let flood = offer(&flood, work, capacity * times, time);
            let (answers, neighbour) = tokio::join!(flood, neighbour);
            rows.push(row(times, capacity, answers, neighbour?, time)?);
        }
    }
    Ok(measured.into_iter().map(median).collect())
}

fn row(
    flood: f64,
    capacity: f64,
    answers: Answers,
    mut neighbour: Vec<Duration>,
    time: Duration,
) -> anyhow::Result<Overload> {
    let seconds = time.as_secs_f64();
    Ok(Overload {
        flood,
        offered_per_second: capacity * flood,
        answered_per_second: answers.answered / seconds,
        refused_per_second: answers.refused / seconds,
        lost_per_second: answers.lost / seconds,
        of_capacity: answers.answered / seconds / capacity,
        neighbour_p50_ms: load::percentile(&mut neighbour, 50)?.as_secs_f64() * 1e3,
        neighbour_p99_ms: load::percentile(&mut neighbour, 99)?.as_secs_f64() * 1e3,
    })
}

/// Each figure's median.
fn median(rows: Vec<Overload>) -> Overload {
    let of = |figure: fn(&Overload) -> f64| {
        let mut all: Vec<f64> = rows.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Overload {
        flood: of(|row| row.flood),
        offered_per_second: of(|row| row.offered_per_second),
        answered_per_second: of(|row| row.answered_per_second),
        refused_per_second: of(|row| row.refused_per_second),
        lost_per_second: of(|row| row.lost_per_second),
        of_capacity: of(|row| row.of_capacity),
        neighbour_p50_ms: of(|row| row.neighbour_p50_ms),
        neighbour_p99_ms: of(|row| row.neighbour_p99_ms),
    }
}

/// Rounds of the loop that take [`WORK`], at their fastest.
async fn calibrate(channel: &Channel) -> anyhow::Result<u64> {
    let mut rounds = 1 << 16;
    loop {
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let began = Instant::now();
            call(channel.clone(), "free", rounds).await.context("calibrate")?;
            fastest = fastest.min(began.elapsed());
        }
        if WORK <= fastest {
            return Ok(rounds);
        }
        rounds += rounds / 4;
    }
}

/// Calls a second that are answered to callers that never stop.
async fn capacity(channels: &[Channel], rounds: u64, time: Duration) -> f64 {
    let begin = Instant::now() + WARM_UP;
    let end = begin + time;
    let mut callers = JoinSet::new();
    for channel in channels.iter().cycle().take(CALLERS) {
        let channel = channel.clone();
        callers.spawn(async move {
            let mut answered = 0.0;
            while Instant::now() < end {
                let good = call(channel.clone(), "flooded", rounds).await.is_ok();
                if good && (begin..end).contains(&Instant::now()) {
                    answered += 1.0;
                }
            }
            answered
        });
    }
    callers.join_all().await.into_iter().sum::<f64>() / time.as_secs_f64()
}

/// Calls at a rate that nothing slows down; those count that begin after the warm-up.
async fn offer(channels: &[Channel], rounds: u64, rate: f64, time: Duration) -> Answers {
    let begin = Instant::now() + WARM_UP;
    let mut calls = JoinSet::new();
    let mut channels = channels.iter().cycle();
    for due in due(rate, WARM_UP + time) {
        tokio::time::sleep_until((begin - WARM_UP + due).into()).await;
        let Some(channel) = channels.next().cloned() else { continue };
        let counts = WARM_UP <= due;
        calls.spawn(async move { (counts, call(channel, "flooded", rounds).await) });
    }
    let mut answers = Answers::default();
    for (_, ended) in calls.join_all().await.into_iter().filter(|(counts, _)| *counts) {
        let counted = match ended.map_err(|status| status.code()) {
            Ok(()) => &mut answers.answered,
            Err(Code::ResourceExhausted) => &mut answers.refused,
            Err(_) => &mut answers.lost,
        };
        *counted += 1.0;
    }
    answers
}

/// Latencies of a neighbour's calls, counted from when each was due.
async fn steady(channel: Channel, rate: f64, time: Duration) -> anyhow::Result<Vec<Duration>> {
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for due in due(rate, WARM_UP + time) {
        tokio::time::sleep_until((start + due).into()).await;
        let channel = channel.clone();
        calls.spawn(async move {
            let called = load::call(&channel, Some("echo")).await;
            called.map(|()| (WARM_UP <= due).then(|| start.elapsed().saturating_sub(due)))
        });
    }
    let ended: anyhow::Result<Vec<_>> = calls.join_all().await.into_iter().collect();
    Ok(ended?.into_iter().flatten().collect())
}

/// When calls are due, from the start on.
fn due(rate: f64, time: Duration) -> impl Iterator<Item = Duration> {
    let gap = (0.0 < rate).then(|| Duration::from_secs_f64(1.0 / rate));
    gap.into_iter().flat_map(move |gap| {
        (0_u32..).map(move |number| gap * number).take_while(move |due| *due < time)
    })
}

async fn call(channel: Channel, module: &'static str, value: u64) -> Result<(), tonic::Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let mut request = Request::new(Count { value });
    request.metadata_mut().insert("roadstead-module", MetadataValue::from_static(module));
    let path = http::uri::PathAndQuery::from_static(ROUNDS);
    client.unary(request, path, ProstCodec::<Count, Count>::default()).await.map(drop)
}
