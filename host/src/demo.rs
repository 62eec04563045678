//! `roadstead demo`: the main job from end to end on a host that is thrown away afterwards.

mod hostile;
mod native;
mod stubs;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Context as _;
use prost_reflect::MethodDescriptor;
use roadstead_proto::v1::{self as api, ModuleVersion};
use tokio::time::Instant;

use crate::{
    cli::{Connection, DemoArgs, ServeArgs},
    client, commands,
    commands::{Running, call::Invocation, push},
    config, descriptors, output, render,
};

/// A host in this process, its data in a folder that goes with it.
pub(crate) struct ThrowAwayHost {
    pub to: Connection,
    pub address: std::net::SocketAddr,
    running: Running,
    data: tempfile::TempDir,
}

/// A method of a published module, called with the same request again and again.
pub(crate) struct Probe {
    module: &'static str,
    method: MethodDescriptor,
    json: &'static str,
    channel: client::HostChannel,
}

const TEXT: &str = r#"{"text": "Ships lie at anchor in the roadstead. Each lies on its own."}"#;
const POINTS: &str = r#"{"points": [{"x": 0, "y": 1}, {"x": 1, "y": 3}, {"x": 2, "y": 5.1}]}"#;
const ATTEMPT: &str = r#"{"attempts": [{"prompt": "1/2 + 1/4?", "completion": "\\boxed{3/4}", "reference": "0.75"}]}"#;

pub(crate) async fn demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let host = ThrowAwayHost::start().await?;
    output::line(format_args!("1. a throw-away host listens on {}\n", host.address));
    let shown = show(&host, &args).await;
    let address = host.address;
    host.stop().await?;
    shown?;
    output::line(format_args!("\nThe host on {address} is stopped and its data is gone."));
    Ok(ExitCode::SUCCESS)
}

async fn show(host: &ThrowAwayHost, args: &DemoArgs) -> anyhow::Result<()> {
    output::line("2. push a Rust and a Python component: each is a typed gRPC service");
    for name in ["text-stats", "reward"] {
        publish(host, &args.modules, name, None).await?;
    }

    output::line("\n3. call them from the command line");
    let probes = [
        host.probe("text-stats", "demo.text_stats.analyze.v0_1.Analyze", "Summarize", TEXT).await?,
        host.probe("reward", "demo.reward.grade.v0_1.Grade", "Grade", ATTEMPT).await?,
    ];
    for probe in &probes {
        output::line(format_args!("  {}", probe.once().await?));
    }

    output::line("\n4. call them with Python stubs generated from `roadstead proto`");
    stubs::call_with_python(host, &args.python).await?;

    output::line(
        "\n5. what no sandbox runs (numpy), in a process of its own, behind the same calls",
    );
    native::show(host, &args.native).await?;
    output::line("   and a Rust component that leaves its algebra to it, through a binding");
    publish(host, &args.modules, "regression", None).await?;
    let probe =
        host.probe("regression", "demo.regression.regression.v0_1.Regression", "Line", POINTS);
    output::line(format_args!("  {}", probe.await?.once().await?));

    output::line("\n6. set hostile modules loose, while the others go on answering");
    hostile::attack(host, &args.modules, &probes).await?;

    output::line("\n7. what a call costs (200 calls one after the other, a fresh instance each)");
    output::line(measure(&probes, 200).await?);
    Ok(())
}

/// Pushes a built module and says how long it took until it was callable.
async fn publish(
    host: &ThrowAwayHost,
    dir: &Path,
    name: &str,
    spec: Option<&str>,
) -> anyhow::Result<()> {
    let path = dir.join(format!("{name}.wasm"));
    let component = std::fs::read(&path).with_context(|| {
        format!("read {}: build the modules with `make modules`", path.display())
    })?;
    // A module that needs other limits than the default ones has its spec beside it.
    let spec = match spec {
        Some(spec) => spec.to_owned(),
        None => std::fs::read_to_string(dir.join(format!("{name}.yaml"))).unwrap_or_default(),
    };
    let header = api::PushHeader {
        name: name.to_owned(),
        spec,
        spec_format: api::SpecFormat::Yaml.into(),
        ..api::PushHeader::default()
    };
    let size = component.len() as f64 / 1e6;
    let (module, took) = push(host, header, component.into()).await?;
    let ModuleVersion { name, version, .. } = module;
    output::line(format_args!("  {name}@{version}  {size:.1} MB, callable after {took} ms"));
    Ok(())
}

/// What was published, and how many milliseconds that took.
async fn push(
    host: &ThrowAwayHost,
    header: api::PushHeader,
    bytes: bytes::Bytes,
) -> anyhow::Result<(ModuleVersion, u128)> {
    let started = Instant::now();
    let progress = output::Progress::new(false);
    let outcome = push::upload(&host.to, header, bytes, &progress).await;
    progress.clear();
    let module = outcome?.module.context("the host answered without a module")?;
    Ok((module, started.elapsed().as_millis()))
}

/// Latency, fuel and memory of many calls in turn.
async fn measure(probes: &[Probe], calls: usize) -> anyhow::Result<String> {
    let mut rows = vec![["MODULE", "P50", "P99", "FUEL A CALL", "PEAK MEMORY"].map(str::to_owned)];
    for probe in probes {
        let mut times = Vec::with_capacity(calls);
        let mut trailers = None;
        for _ in 0..calls {
            let started = Instant::now();
            let answer = probe.call().await?;
            times.push(started.elapsed());
            answer.reply?;
            trailers = Some(answer.trailers);
        }
        times.sort();
        let trailers = trailers.context("at least one call")?;
        let value = |key: &str| {
            trailers.get(key).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned()
        };
        let memory: f64 = value("roadstead-peak-memory-bytes").parse().unwrap_or_default();
        rows.push([
            value("roadstead-module"),
            millis(percentile(&times, 50)),
            millis(percentile(&times, 99)),
            value("roadstead-fuel-consumed"),
            format!("{:.1} MiB", memory / 1_048_576.0),
        ]);
    }
    Ok(render::table(&rows).lines().map(|row| format!("  {row}")).collect::<Vec<_>>().join("\n"))
}

/// The value below which `percent` of the sorted times lie.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(index).copied().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

impl ThrowAwayHost {
    async fn start() -> anyhow::Result<Self> {
        let data = tempfile::tempdir().context("make a folder for the host's data")?;
        let settings = config::load(ServeArgs {
            listen: Some((std::net::Ipv4Addr::LOCALHOST, 0).into()),
            data_dir: Some(data.path().join("data")),
            native: true,
            ..ServeArgs::default()
        })?;
        let running = commands::start(settings).await?;
        let address = running.address();
        let to = Connection { host: format!("http://{address}"), ..Connection::default() };
        Ok(Self { to, address, running, data })
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.running.stop().await?;
        self.data.close().context("remove the host's data")
    }

    async fn probe(
        &self,
        module: &'static str,
        service: &str,
        method: &str,
        json: &'static str,
    ) -> anyhow::Result<Probe> {
        let channel = client::connect(&self.to).await?;
        let method = descriptors::reflect(channel.clone(), service, method).await?;
        Ok(Probe { module, method, json, channel })
    }
}

impl Probe {
    async fn call(&self) -> anyhow::Result<commands::call::Answer> {
        let invocation = Invocation {
            method: &self.method,
            request: descriptors::from_json(&self.method, self.json)?,
            module: None,
            timeout: Some(Duration::from_secs(30)),
        };
        commands::call::invoke(self.channel.clone(), invocation).await
    }

    async fn once(&self) -> anyhow::Result<String> {
        let reply = self.call().await?.reply?;
        Ok(format!("{}: {}", self.module, descriptors::to_json(&reply)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_sorted_times() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50).as_millis(), 50);
        assert_eq!(percentile(&times, 99).as_millis(), 99);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
