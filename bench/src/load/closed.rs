//! A closed loop: what so many callers get who wait for each answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{Caller, schedule::Random, script::Script};
use crate::{
    figure, process::own_processor_time, record::Sample, stats::percentile, subject::Server,
};

/// How much is called at once, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub callers: usize,
    /// Callers that share one connection.
    pub sharing: usize,
    pub warm_up: Duration,
    pub slice: Duration,
}

/// When callers begin, when calls begin to count, and when callers stop.
#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

/// What one caller did within the window.
struct Served {
    latencies: Vec<Duration>,
    /// From sending the first call that counts to the answer of the last.
    time: Duration,
}

/// Lets callers call for a slice, after a warm-up.
pub(crate) async fn run(server: &Server, script: Script, load: Load) -> anyhow::Result<Sample> {
    if let Some(reason) = script.probe(server).await? {
        return Ok(Sample::Refused(reason));
    }
    let mut connections = Vec::new();
    for _ in 0..load.callers.div_ceil(load.sharing) {
        connections.push(server.at.connect().await?);
    }
    let begin = Instant::now() + load.warm_up;
    let window = Window { begin, end: begin + load.slice };
    let shared = Arc::new((server.clone(), script));
    let mut callers = JoinSet::new();
    for (number, channel) in (0..load.callers).zip(connections.iter().cycle()) {
        callers.spawn(caller(channel.clone(), Arc::clone(&shared), window, number));
    }
    tokio::time::sleep_until(window.begin.into()).await;
    let before = (server.at.processor_time()?, own_processor_time());
    tokio::time::sleep_until(window.end.into()).await;
    let after = (server.at.processor_time()?, own_processor_time());
    let used = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    let mut served = Vec::new();
    while let Some(ended) = callers.join_next().await {
        match ended? {
            Ok(of_one) => served.push(of_one),
            Err(reason) => return Ok(Sample::Refused(reason)),
        }
    }
    Ok(summarize(served, &shared.1, load.slice, used))
}

/// Calls until the end, and at least once within the window, however long that takes.
async fn caller(
    channel: Channel,
    shared: Arc<(Server, Script)>,
    window: Window,
    number: usize,
) -> Result<Served, String> {
    let (server, script) = &*shared;
    let mut caller = Caller::new(channel);
    let mut random = Random(u64::try_from(number).unwrap_or_default());
    let mut latencies = Vec::with_capacity(1 << 14);
    let mut first = None;
    loop {
        let sent = Instant::now();
        let module = server.module(random.below(server.modules()));
        script.play(&mut caller, number, module).await?;
        if window.begin <= sent {
            let first = *first.get_or_insert(sent);
            latencies.push(sent.elapsed());
            if window.end <= Instant::now() {
                return Ok(Served { latencies, time: first.elapsed() });
            }
        }
    }
}

/// A caller's rate is counted over whole calls: so it is right for calls of any length.
fn summarize(
    served: Vec<Served>,
    script: &Script,
    slice: Duration,
    (server, client): (Duration, Duration),
) -> Sample {
    #[expect(clippy::cast_precision_loss, reason = "calls of a slice are few")]
    let rate = |of: &Served| of.latencies.len() as f64 / of.time.as_secs_f64();
    let calls: f64 = served.iter().map(rate).sum();
    let mut latencies: Vec<_> = served.into_iter().flat_map(|of| of.latencies).collect();
    let seconds = slice.as_secs_f64();
    let mut figures = vec![
        (figure::CALLS, calls),
        (figure::SERVER, server.as_secs_f64() / (calls * seconds) * 1e6),
        (figure::SERVER_CORES, server.as_secs_f64() / seconds),
        (figure::CLIENT_CORES, client.as_secs_f64() / seconds),
    ];
    if let Some(items) = script.items() {
        figures.push((figure::ITEMS, calls * f64::from(items)));
    }
    figures.extend(throughput(calls, script.bytes()));
    figures.extend(latency(&mut latencies));
    Sample::Measured(figures)
}

/// Bytes a second, of messages large enough that it says something.
pub(crate) fn throughput(calls: f64, bytes: usize) -> Option<(&'static str, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "a size of messages")]
    let gigabytes = bytes as f64 / 1e9;
    (1000 < bytes).then_some((figure::GIGABYTES, calls * gigabytes))
}

/// The percentiles that are shown.
pub(crate) fn latency(latencies: &mut [Duration]) -> Vec<(&'static str, f64)> {
    let ms = |part| percentile(latencies, part).map(|latency| latency.as_secs_f64() * 1e3);
    let [p50, p99] = [50, 99].map(ms);
    [(figure::P50, p50), (figure::P99, p99)]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{Exchange, Kind, Way, Work};

    #[test]
    fn rates_of_long_and_short_calls_are_right() {
        let of = |calls: usize, seconds: u64| Served {
            latencies: vec![Duration::from_millis(4); calls],
            time: Duration::from_secs(seconds),
        };
        let work = Work::Transfer { kind: Kind::Bytes, way: Way::Echo, count: 1000 };
        let script = Script::Unary(vec![Exchange::of(work).unwrap()]);
        let used = (Duration::from_secs(1), Duration::from_secs(3));
        // One answer that took five seconds, and a thousand within two.
        let sample = summarize(vec![of(1, 5), of(1000, 2)], &script, Duration::from_secs(2), used);
        let Sample::Measured(figures) = sample else { panic!("{sample:?}") };
        let of = |key| figures.iter().find(|(name, _)| *name == key).unwrap().1;
        assert!((of(figure::CALLS) - 500.2).abs() < 1e-9);
        assert!((of(figure::SERVER) - 1e6 / 1000.4).abs() < 1e-9);
        assert!((of(figure::CLIENT_CORES) - 1.5).abs() < 1e-9);
        assert!((of(figure::P99) - 4.0).abs() < 1e-9);
        assert!((of(figure::GIGABYTES) - 500.2 * 2006.0 / 1e9).abs() < 1e-12);
    }
}
