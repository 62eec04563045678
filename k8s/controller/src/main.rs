//! `roadstead-controller`: see the crate's library for what it does.

mod args;

use std::io::IsTerminal as _;

use anyhow::Context as _;
use args::{Args, LogFormat};
use clap::Parser as _;
use roadstead_controller::Controller;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What peers can make these libraries warn of is not for the log; what kube says of an API server
/// that does not answer, the controller says once.
const LIBRARIES: &str = "h2=error,hyper=error,rustls=error,kube_client=off,kube_runtime=off";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    start_logging(args.log);
    let controller = Controller::bind(args.settings()).await?;
    let (hosts, metrics) = (controller.address()?, controller.metrics_address());
    tracing::info!(%hosts, %metrics, "the controller begins");
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for signals")?;
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    controller.run(stop.clone()).await;
    anyhow::ensure!(stop.is_cancelled(), "a part of the controller ended: see the log");
    tracing::info!("the controller ends");
    Ok(())
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_env_var("ROADSTEAD_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("info,{LIBRARIES}")));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
}
