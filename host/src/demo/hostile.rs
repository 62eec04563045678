//! The part of the demo with hostile modules: how each is stopped, and how the others fare.

use std::{path::Path, time::Duration};

use tokio::time::Instant;

use super::{Probe, ThrowAwayHost, millis, percentile, publish};
use crate::{
    client,
    commands::call::{self, Invocation},
    descriptors, output,
};

/// A hostile module's name, its service and the method that does harm.
const HOSTILE: [(&str, &str, &str); 2] = [
    ("hostile-spin", "hostile.spin.spin.v0_1.Spin", "Forever"),
    ("hostile-memory-bomb", "hostile.memory_bomb.memory_bomb.v0_1.MemoryBomb", "Explode"),
];

/// What the hostile modules may spend.
const SPEC: &str = "limits: {memory: 64Mi, deadline: 1s}";

/// Calls of each hostile module at the same time.
const AT_ONCE: usize = 8;

pub(super) async fn attack(
    host: &ThrowAwayHost,
    modules: &Path,
    probes: &[Probe],
) -> anyhow::Result<()> {
    for (name, ..) in HOSTILE {
        publish(host, modules, name, Some(SPEC)).await?;
    }
    let mut attacks = tokio::task::JoinSet::new();
    for (name, service, method) in HOSTILE {
        let channel = client::connect(&host.to).await?;
        let method = descriptors::reflect(channel.clone(), service, method).await?;
        for _ in 0..AT_ONCE {
            let (channel, method) = (channel.clone(), method.clone());
            attacks.spawn(async move {
                let request = descriptors::from_json(&method, "{}")?;
                let invocation =
                    Invocation { method: &method, request, module: None, timeout: None };
                let started = Instant::now();
                let answer = call::invoke(channel, invocation).await?;
                anyhow::Ok((name, answer.reply.err(), started.elapsed()))
            });
        }
    }
    let mut stopped = std::collections::BTreeMap::new();
    let mut beside = Vec::new();
    let mut next_call = probes.iter().cycle();
    loop {
        tokio::select! {
            biased;
            ended = attacks.join_next() => match ended {
                Some(ended) => {
                    let (name, refusal, took) = ended??;
                    stopped.insert(name, (refusal, took));
                }
                None => break,
            },
            called = timed(next_call.next()) => beside.push(called?),
        }
    }
    for (name, (refusal, took)) in stopped {
        let how = refusal.map_or_else(|| "was not stopped".to_owned(), |why| why.to_string());
        output::line(format_args!("  {name}: stopped after {} ms: {how}", took.as_millis()));
    }
    beside.sort();
    output::line(format_args!(
        "  meanwhile {} calls of the others were answered, p50 {}, p99 {}",
        beside.len(),
        millis(percentile(&beside, 50)),
        millis(percentile(&beside, 99)),
    ));
    Ok(())
}

async fn timed(probe: Option<&Probe>) -> anyhow::Result<Duration> {
    let Some(probe) = probe else { anyhow::bail!("nothing to call beside the attack") };
    let started = Instant::now();
    probe.call().await?.reply?;
    Ok(started.elapsed())
}
