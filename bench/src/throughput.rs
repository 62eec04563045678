//! Unary calls: the native peer, pooled instances and an instance per call, in alternating slices.
//!
//! The slices alternate so that a slow minute of the machine hits all of them.

use std::{path::Path, time::Duration};

use serde::Serialize;

use crate::{
    host::{Host, Upload, push},
    load::{self, Sample},
    native, report,
};

pub(crate) struct Plan<'a> {
    pub slice: Duration,
    pub rounds: usize,
    pub callers: &'a [usize],
}

/// One row: a server with a number of callers.
#[derive(Serialize)]
pub(crate) struct Calls {
    pub server: &'static str,
    pub callers: usize,
    pub calls_per_second: f64,
    pub of_native: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor time of the server for each call, which other load on the machine hardly changes.
    pub server_us: f64,
}

/// The servers, the first of which is the measure of the others: label, module.
const SERVERS: [(&str, Option<&str>); 3] =
    [("native tonic", None), ("pooled", Some("echo-pooled")), ("per call", Some("echo-per-call"))];

pub(crate) async fn measure(
    bin: &Path,
    modules: &Path,
    plan: &Plan<'_>,
) -> anyhow::Result<Vec<Calls>> {
    report::progress("starting the native peer and a host with echo, pooled and per call");
    let native = native::start()?;
    let data = tempfile::tempdir()?;
    let host = Host::start(bin, data.path(), &[])?;
    let echo = Upload::read(modules, "echo")?;
    let channel = host.child.connect().await?;
    for (name, policy) in [("echo-pooled", "pooled"), ("echo-per-call", "per-call")] {
        let spec = format!(
            "instances: {{policy: {policy}, max_uses: 1000000000, warm: 64}}\n\
             quota: {{concurrency: 256, queue: 1024}}\n"
        );
        push(channel.clone(), Upload { name: name.to_owned(), spec, ..echo.clone() }).await?;
    }
    let mut rows = Vec::new();
    for &callers in plan.callers {
        let mut samples: [Vec<Sample>; SERVERS.len()] = Default::default();
        for round in 1..=plan.rounds {
            for ((label, module), into) in SERVERS.iter().zip(&mut samples) {
                report::progress(format_args!("{callers} callers, round {round}: {label}"));
                let server = if module.is_some() { &host.child } else { &native };
                into.push(load::run(server, *module, callers, plan.slice).await?);
            }
        }
        let figures: Vec<_> = samples.into_iter().map(median).collect();
        let native_rate = figures.first().map_or(0.0, |native| native.calls_per_second);
        for ((server, _), figure) in SERVERS.iter().zip(figures) {
            rows.push(Calls {
                server,
                callers,
                calls_per_second: figure.calls_per_second,
                of_native: figure.calls_per_second / native_rate,
                p50_ms: figure.p50.as_secs_f64() * 1e3,
                p99_ms: figure.p99.as_secs_f64() * 1e3,
                server_us: figure.server_time.as_secs_f64() * 1e6,
            });
        }
    }
    Ok(rows)
}

/// Each figure's own median over the rounds.
fn median(mut samples: Vec<Sample>) -> Sample {
    let middle = samples.len() / 2;
    let mut pick = |key: fn(&Sample) -> f64| {
        samples.sort_by(|a, b| key(a).total_cmp(&key(b)));
        samples.get(middle).map_or(0.0, key)
    };
    Sample {
        calls_per_second: pick(|sample| sample.calls_per_second),
        p50: Duration::from_secs_f64(pick(|sample| sample.p50.as_secs_f64())),
        p99: Duration::from_secs_f64(pick(|sample| sample.p99.as_secs_f64())),
        server_time: Duration::from_secs_f64(pick(|sample| sample.server_time.as_secs_f64())),
    }
}
