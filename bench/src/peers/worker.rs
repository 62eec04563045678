//! Clients in Python: a process that measures when it is asked to, so that rounds can go over it and
//! others in turn. A line of JSON on its input is answered by one on its output.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{
    figure,
    load::closed::{latency, throughput},
    record::Sample,
};

/// How long a client may take to end what it started, as Ray's does a cluster.
const FAREWELL: Duration = Duration::from_secs(20);

/// A running client; ended when dropped.
pub(crate) struct Worker {
    process: Child,
    /// Its end is the client's.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// One measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Ask<'a> {
    /// What is called, in the words of the client.
    pub target: &'a str,
    /// Size of the payload there and back.
    pub bytes: u32,
    /// Calls that are sent before the first answer is waited for.
    pub in_flight: usize,
    /// Seconds before what is measured.
    pub warm_up: f64,
    /// Seconds that are measured; at least one batch is.
    pub seconds: f64,
}

/// What was measured.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub calls: f64,
    pub seconds: f64,
    /// Of each batch.
    pub latencies: Vec<f64>,
    /// How much of its state a subject had that was killed, where that was asked.
    pub kept: Option<f64>,
}

impl Worker {
    pub(crate) fn start(python: &Path, script: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(python)
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", python.display()))?;
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().context("the client's stdout")?);
        Ok(Self { process, stdin, stdout })
    }

    /// Blocks until it is measured.
    pub(crate) fn measure(&mut self, ask: &Ask<'_>) -> anyhow::Result<Sample> {
        Ok(sample(self.ask(ask)?, ask))
    }

    /// The same, as the client answers it.
    pub(crate) fn ask(&mut self, ask: &Ask<'_>) -> anyhow::Result<Answer> {
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        self.stdin.as_mut().context("the client's stdin")?.write_all(line.as_bytes())?;
        line.clear();
        // What libraries print to stdout is none of our lines.
        while !line.starts_with('{') {
            line.clear();
            if self.stdout.read_line(&mut line)? == 0 {
                bail!("the client in Python ended while it measured {}", ask.target);
            }
        }
        serde_json::from_str(&line).context("the client's answer")
    }
}

/// Latency is shown for calls one at a time: that of a batch is none of a call.
fn sample(answer: Answer, ask: &Ask<'_>) -> Sample {
    let calls = answer.calls / answer.seconds;
    let mut figures = vec![(figure::CALLS, calls)];
    let both_ways = usize::try_from(ask.bytes).unwrap_or(usize::MAX).saturating_mul(2);
    figures.extend(throughput(calls, both_ways));
    if ask.in_flight == 1 {
        let duration = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let mut latencies: Vec<_> = answer.latencies.into_iter().map(duration).collect();
        figures.extend(latency(&mut latencies));
    }
    Sample::Measured(figures)
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let asked = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && asked.elapsed() < FAREWELL {
            thread::sleep(Duration::from_millis(20));
        }
        // Both fail only where the process is gone already, which is what is wanted.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(in_flight: usize, bytes: u32) -> Ask<'static> {
        Ask { target: "", bytes, in_flight, warm_up: 0.0, seconds: 0.0 }
    }

    fn answer() -> Answer {
        Answer { calls: 100.0, seconds: 0.5, latencies: vec![0.25, 0.25], kept: None }
    }

    #[test]
    fn latencies_are_those_of_single_calls() {
        let Sample::Measured(figures) = sample(answer(), &ask(1, 16)) else { panic!() };
        assert_eq!(figures, [(figure::CALLS, 200.0), (figure::P50, 250.0), (figure::P99, 250.0)]);
        let Sample::Measured(figures) = sample(answer(), &ask(50, 16)) else { panic!() };
        assert_eq!(figures, [(figure::CALLS, 200.0)]);
    }

    #[test]
    fn payloads_count_there_and_back() {
        let Sample::Measured(figures) = sample(answer(), &ask(2, 1_000_000)) else { panic!() };
        assert_eq!(figures, [(figure::CALLS, 200.0), (figure::GIGABYTES, 0.4)]);
    }
}
