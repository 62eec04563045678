//! An open loop: calls come when they are due, whether or not others were answered, and latency
//! counts from then. A thread of its own sends them, because the runtime's timers are a millisecond
//! apart.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};

use super::{Caller, closed::latency, probe, reason, schedule};
use crate::{
    figure, process::own_processor_time, record::Sample, stats::percentile, subject::Server,
    work::Exchange,
};

/// Connections that the calls come on.
const CONNECTIONS: usize = 4;

/// Calls that wait for an answer at once; more, and the server does not keep up.
const MOST_WAITING: usize = 10_000;

/// Calls a second, for how long, and which schedule of all those with such a rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrivals {
    pub rate: f64,
    pub warm_up: Duration,
    pub slice: Duration,
    pub seed: u64,
}

/// A call as the sending thread saw it, and when it was answered.
struct Sent {
    due: Instant,
    late: Duration,
    answered: Result<Duration, String>,
}

pub(crate) async fn run(
    server: &Server,
    exchange: &Exchange,
    arrivals: Arrivals,
) -> anyhow::Result<Sample> {
    if let Some(reason) = probe(server, exchange).await? {
        return Ok(Sample::Refused(reason));
    }
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        callers.push(server.at.connect().await?);
    }
    let start = Instant::now();
    let begin = start + arrivals.warm_up;
    let end = begin + arrivals.slice;
    let (send, mut receive) = mpsc::unbounded_channel();
    let shared = Arc::new((server.clone(), exchange.clone()));
    let runtime = Handle::current();
    let sender = thread::Builder::new().name("arrivals".to_owned()).spawn(move || {
        let time = arrivals.warm_up + arrivals.slice;
        let due = schedule::random(arrivals.rate, time, arrivals.seed).map(|due| start + due);
        send_all(&runtime, &callers, &shared, due, &send)
    })?;
    tokio::time::sleep_until(begin.into()).await;
    let before = (server.at.processor_time()?, own_processor_time());
    tokio::time::sleep_until(end.into()).await;
    let after = (server.at.processor_time()?, own_processor_time());
    let mut counted = Vec::new();
    while let Some(sent) = receive.recv().await {
        if begin <= sent.due {
            counted.push(sent);
        }
    }
    let kept_up = sender.join().map_err(|_| anyhow!("the sending thread ended"))?;
    if !kept_up {
        return Ok(Sample::Refused("does not keep up with this rate".to_owned()));
    }
    let used = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    Ok(summarize(counted, arrivals, used))
}

/// Sends each call when it is due; false where too many wait for their answers.
fn send_all(
    runtime: &Handle,
    channels: &[tonic::transport::Channel],
    shared: &Arc<(Server, Exchange)>,
    due: impl Iterator<Item = Instant>,
    results: &mpsc::UnboundedSender<Sent>,
) -> bool {
    let places = Arc::new(Semaphore::new(MOST_WAITING));
    for (due, channel) in due.zip(channels.iter().cycle()) {
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            thread::sleep(early);
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return false };
        let late = due.elapsed();
        let (shared, results) = (Arc::clone(shared), results.clone());
        let mut caller = Caller::new(channel.clone());
        runtime.spawn(async move {
            let (server, exchange) = &*shared;
            let answer = caller.send(exchange, server.module(0)).await;
            let answered = answer.map(|_| due.elapsed()).map_err(|status| reason(&status));
            drop(place);
            // Nobody listens any more only where the run was given up.
            drop(results.send(Sent { due, late, answered }));
        });
    }
    true
}

fn summarize(
    sent: Vec<Sent>,
    arrivals: Arrivals,
    (server, client): (Duration, Duration),
) -> Sample {
    let mut late: Vec<_> = sent.iter().map(|call| call.late).collect();
    let answered: Result<Vec<_>, _> = sent.into_iter().map(|call| call.answered).collect();
    let mut latencies = match answered {
        Ok(latencies) => latencies,
        Err(reason) => return Sample::Refused(reason),
    };
    let seconds = arrivals.slice.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "calls of a slice are few")]
    let calls = latencies.len() as f64;
    let mut figures = vec![
        (figure::OFFERED, arrivals.rate),
        (figure::CALLS, calls / seconds),
        (figure::SERVER, server.as_secs_f64() / calls.max(1.0) * 1e6),
        (figure::SERVER_CORES, server.as_secs_f64() / seconds),
        (figure::CLIENT_CORES, client.as_secs_f64() / seconds),
    ];
    figures.extend(latency(&mut latencies));
    let late = percentile(&mut late, 99).map(|late| late.as_secs_f64() * 1e3);
    figures.extend(late.map(|late| (figure::SENT_LATE, late)));
    Sample::Measured(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRIVALS: Arrivals =
        Arrivals { rate: 100.0, warm_up: Duration::ZERO, slice: Duration::from_secs(2), seed: 1 };

    fn sent(answered: Result<Duration, String>) -> Sent {
        Sent { due: Instant::now(), late: Duration::from_millis(1), answered }
    }

    #[test]
    fn one_refusal_makes_the_whole_run_one() {
        let calls = vec![sent(Ok(Duration::ZERO)), sent(Err("OVERLOADED".to_owned()))];
        let sample = summarize(calls, ARRIVALS, (Duration::ZERO, Duration::ZERO));
        assert!(matches!(sample, Sample::Refused(reason) if reason == "OVERLOADED"));
    }

    #[test]
    fn latency_and_lateness_are_counted_from_when_calls_were_due() {
        let calls = (1..=100).map(|ms| sent(Ok(Duration::from_millis(ms)))).collect();
        let used = (Duration::from_millis(10), Duration::from_secs(2));
        let Sample::Measured(figures) = summarize(calls, ARRIVALS, used) else { panic!() };
        let of = |key| figures.iter().find(|(name, _)| *name == key).unwrap().1;
        assert_eq!((of(figure::P50), of(figure::P99)), (50.0, 99.0));
        assert_eq!((of(figure::SENT_LATE), of(figure::CALLS)), (1.0, 50.0));
        assert_eq!((of(figure::SERVER), of(figure::CLIENT_CORES)), (100.0, 1.0));
    }
}
