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

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tonic::{Code, Request, client::Grpc, metadata::MetadataValue, transport::Channel};
use tonic_prost::ProstCodec;

use super::published::small_call;
use crate::{
    figure,
    group::Group,
    host::{Host, Upload, push},
    load::{closed::latency, schedule::steady},
    record::{Case, Row, Sample},
    report,
    stage::{Language, Stage},
};

const ROUNDS: &str = "/hostile.spin.spin.v0_1.Spin/Rounds";

const FLOODED: &str =
    "limits: {deadline: 1s}\nquota: {cpu: 500m, borrow: false, concurrency: 4, queue: 16}";

/// How long a flood lasts.
#[derive(Clone, Copy)]
struct Time {
    /// Before what is measured: the burst of the quota is used up, the queue fills.
    warm_up: Duration,
    measured: Duration,
}

impl Time {
    const FULL: Self = Self { warm_up: Duration::from_secs(1), measured: Duration::from_secs(3) };
    const QUICK: Self =
        Self { warm_up: Duration::from_millis(100), measured: Duration::from_millis(300) };

    fn all(self) -> Duration {
        self.warm_up + self.measured
    }
}

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

pub(super) async fn measure(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let (time, rounds) = if stage.plan.quick { (Time::QUICK, 1) } else { (Time::FULL, 7) };
    let data = tempfile::tempdir()?;
    let host = Host::start(&stage.paths.host, data.path(), &["--guest-threads", "2"])?;
    let channel = host.child.connect().await?;
    push(channel.clone(), stage.paths.guest(Language::Rust)?.named("neighbour", "")).await?;
    let spin = Upload::read(&stage.paths.modules, "hostile-spin")?;
    push(channel.clone(), spin.named("free", "")).await?;
    push(channel.clone(), spin.named("flooded", FLOODED)).await?;
    let work = calibrate(&channel).await?;
    let mut flood = Vec::new();
    for _ in 0..CONNECTIONS {
        flood.push(host.child.connect().await?);
    }
    let subjects = FLOODS.map(|times| format!("{times} times the capacity"));
    let mut answered = Case::new(Group::Overload, "flooded", subjects.clone());
    let mut neighbours = Case::new(Group::Overload, "its neighbour", subjects);
    for round in 1..=rounds {
        report::progress(format_args!("floods, round {round} of {rounds}"));
        let capacity = capacity(&flood, work, time).await;
        for (number, times) in FLOODS.into_iter().enumerate() {
            let neighbour = neighbour(host.child.connect().await?, time);
            let flood = offer(&flood, work, capacity * times, time);
            let (answers, neighbour) = tokio::join!(flood, neighbour);
            answered.add(number, answers.sample(times, capacity, time));
            neighbours.add(number, Sample::Measured(latency(&mut neighbour?)));
        }
    }
    Ok([answered.finish(), neighbours.finish()].concat())
}

impl Answers {
    fn sample(&self, times: f64, capacity: f64, time: Time) -> Sample {
        let seconds = time.measured.as_secs_f64();
        let mut figures = vec![
            (figure::OFFERED, capacity * times),
            (figure::CALLS, self.answered / seconds),
            (figure::REFUSED, self.refused / seconds),
            (figure::LOST, self.lost / seconds),
        ];
        if times != 0.0 {
            figures.push((figure::OF_CAPACITY, self.answered / seconds / capacity));
        }
        Sample::Measured(figures)
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
async fn capacity(channels: &[Channel], rounds: u64, time: Time) -> f64 {
    let begin = Instant::now() + time.warm_up;
    let end = begin + time.measured;
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
    callers.join_all().await.into_iter().sum::<f64>() / time.measured.as_secs_f64()
}

/// Calls at a rate that nothing slows down; those count that begin after the warm-up.
async fn offer(channels: &[Channel], rounds: u64, rate: f64, time: Time) -> Answers {
    let begin = Instant::now() + time.warm_up;
    let mut calls = JoinSet::new();
    let mut channels = channels.iter().cycle();
    for due in steady(rate, time.all()) {
        tokio::time::sleep_until((begin - time.warm_up + due).into()).await;
        let Some(channel) = channels.next().cloned() else { continue };
        let counts = time.warm_up <= due;
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
async fn neighbour(channel: Channel, time: Time) -> anyhow::Result<Vec<Duration>> {
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for due in steady(NEIGHBOUR, time.all()) {
        tokio::time::sleep_until((start + due).into()).await;
        let channel = channel.clone();
        calls.spawn(async move {
            let called = small_call(&channel, "neighbour").await;
            called.map(|()| (time.warm_up <= due).then(|| start.elapsed().saturating_sub(due)))
        });
    }
    let ended: anyhow::Result<Vec<_>> = calls.join_all().await.into_iter().collect();
    Ok(ended?.into_iter().flatten().collect())
}

async fn call(channel: Channel, module: &'static str, value: u64) -> Result<(), tonic::Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let mut request = Request::new(Count { value });
    request.metadata_mut().insert("roadstead-module", MetadataValue::from_static(module));
    let path = http::uri::PathAndQuery::from_static(ROUNDS);
    client.unary(request, path, ProstCodec::<Count, Count>::default()).await.map(drop)
}
