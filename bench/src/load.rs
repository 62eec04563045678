//! A closed loop of callers: each sends its next call when the last one is answered.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tonic::{
    Request,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_prost::ProstCodec;

use crate::{
    echo::{self, BytesRequest, BytesResponse},
    host::Child,
};

/// Callers that share one connection.
const CALLERS_A_CONNECTION: usize = 16;

/// What a number of callers achieved.
pub(crate) struct Sample {
    pub calls_per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Processor time of the server for each call.
    pub server_time: Duration,
}

/// One typed call of the measured function.
pub(crate) async fn call(channel: &Channel, module: Option<&str>) -> anyhow::Result<()> {
    let module = module.map(str::parse).transpose().context("the module's name")?;
    call_module(&mut Grpc::new(channel.clone()), module.as_ref()).await
}

/// Lets `callers` call for `slice`, after a short warm-up.
pub(crate) async fn run(
    server: &Child,
    module: Option<&str>,
    callers: usize,
    slice: Duration,
) -> anyhow::Result<Sample> {
    let module: Option<MetadataValue<Ascii>> =
        module.map(str::parse).transpose().context("the module's name")?;
    let mut connections = Vec::new();
    for _ in 0..callers.div_ceil(CALLERS_A_CONNECTION) {
        connections.push(server.connect().await?);
    }
    let begin = Instant::now() + Duration::from_millis(300);
    let end = begin + slice;
    let mut tasks = Vec::new();
    for (_, channel) in (0..callers).zip(connections.iter().cycle()) {
        tasks.push(tokio::spawn(caller(Grpc::new(channel.clone()), module.clone(), begin, end)));
    }
    tokio::time::sleep_until(begin.into()).await;
    let before = server.processor_time()?;
    tokio::time::sleep_until(end.into()).await;
    let used = server.processor_time()?.saturating_sub(before);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    summarize(latencies, slice, used)
}

async fn caller(
    mut client: Grpc<Channel>,
    module: Option<MetadataValue<Ascii>>,
    begin: Instant,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(1 << 16);
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(latencies);
        }
        call_module(&mut client, module.as_ref()).await?;
        if sent >= begin {
            latencies.push(sent.elapsed());
        }
    }
}

async fn call_module(
    client: &mut Grpc<Channel>,
    module: Option<&MetadataValue<Ascii>>,
) -> anyhow::Result<()> {
    let sent = echo::request();
    let mut request = Request::new(sent.clone());
    if let Some(module) = module {
        request.metadata_mut().insert("roadstead-module", module.clone());
    }
    client.ready().await?;
    let codec = ProstCodec::<BytesRequest, BytesResponse>::default();
    let path = http::uri::PathAndQuery::from_static(echo::METHOD);
    let answer = client.unary(request, path, codec).await?;
    if answer.into_inner().value != sent.data {
        bail!("the server did not give back what it was given");
    }
    Ok(())
}

fn summarize(
    mut latencies: Vec<Duration>,
    slice: Duration,
    used: Duration,
) -> anyhow::Result<Sample> {
    let (p50, p99) = (percentile(&mut latencies, 50)?, percentile(&mut latencies, 99)?);
    #[expect(clippy::cast_precision_loss, reason = "calls in seconds are few")]
    let calls_per_second = latencies.len() as f64 / slice.as_secs_f64();
    let server_time = used.div_f64(calls_per_second * slice.as_secs_f64());
    Ok(Sample { calls_per_second, p50, p99, server_time })
}

/// The latency that so many of a hundred calls did not exceed.
pub(crate) fn percentile(latencies: &mut [Duration], part: usize) -> anyhow::Result<Duration> {
    latencies.sort_unstable();
    let index = (latencies.len() * part / 100).min(latencies.len().saturating_sub(1));
    latencies.get(index).copied().context("no call was answered")
}
