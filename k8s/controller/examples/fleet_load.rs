//! Many hosts at one controller: opens their streams, and has each report all its modules.
//!
//! Says each second how many streams are open, what was reported, and what was told, so that a
//! controller's memory, its writes and the time until all hosts have heard can be measured beside it
//! (its `/metrics` say the rest).

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use roadstead_proto::v1::{
    HostHello, HostReport, SyncRequest, VersionKey, VersionReport, VersionState,
    fleet_service_client::FleetServiceClient, sync_request::Kind,
};
use tokio::{sync::mpsc, task::JoinSet, time::interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// Opens the streams of many hosts at a controller.
#[derive(Parser)]
struct Args {
    /// The controller, as https://HOST:PORT
    #[arg(long)]
    controller: String,
    /// PEM certificates that vouch for the controller
    #[arg(long)]
    ca: PathBuf,
    /// PEM certificate that the hosts show
    #[arg(long)]
    cert: PathBuf,
    /// PEM private key of it
    #[arg(long)]
    key: PathBuf,
    /// The name that the controller's certificate holds
    #[arg(long, default_value = "localhost")]
    server_name: String,
    /// Hosts, each with a stream of its own
    #[arg(long, default_value_t = 10)]
    hosts: u32,
    /// Modules that each host reports: load-0, load-1, …
    #[arg(long, default_value_t = 1000)]
    modules: u32,
    /// Versions of them that each host reports
    #[arg(long, value_delimiter = ',', default_value = "0.1.0")]
    versions: Vec<String>,
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Of a host's modules, the percent whose counters change with each report
    #[arg(long, default_value_t = 10)]
    busy: u32,
    /// Seconds after which it ends
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

#[derive(Default)]
struct Counted {
    open: AtomicU64,
    reports: AtomicU64,
    versions: AtomicU64,
    told: AtomicU64,
    splits: AtomicU64,
    failures: AtomicU64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Arc::new(Args::parse());
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("read {}", path.display()));
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&args.ca)?))
        .identity(Identity::from_pem(read(&args.cert)?, read(&args.key)?))
        .domain_name(args.server_name.clone());
    let endpoint = Endpoint::from_shared(args.controller.clone())?.tls_config(tls)?;
    let counted = Arc::new(Counted::default());
    let mut hosts = JoinSet::new();
    for number in 0..args.hosts {
        let (args, counted, endpoint) = (Arc::clone(&args), Arc::clone(&counted), endpoint.clone());
        hosts.spawn(async move {
            loop {
                if let Err(error) = host(number, &args, &counted, &endpoint).await {
                    counted.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(number, error = format!("{error:#}"), "a host's stream ended");
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let begun = Instant::now();
    let mut tick = interval(Duration::from_secs(1));
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        tick.tick().await;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        tracing::info!(
            seconds = begun.elapsed().as_secs(),
            open = read(&counted.open),
            reports = read(&counted.reports),
            versions = read(&counted.versions),
            told = read(&counted.told),
            splits = read(&counted.splits),
            failures = read(&counted.failures),
        );
    }
    Ok(())
}

/// One stream of one host, until it ends.
async fn host(
    number: u32,
    args: &Args,
    counted: &Counted,
    endpoint: &Endpoint,
) -> anyhow::Result<()> {
    let channel = endpoint.connect().await?;
    let (to, from) = mpsc::channel(2);
    let hello = HostHello {
        host: format!("load-{number}"),
        pool: "load".to_owned(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms: 1,
        fingerprint: "load".to_owned(),
    };
    to.send(SyncRequest { kind: Some(Kind::Hello(hello)) }).await?;
    let mut told =
        FleetServiceClient::new(channel).sync(ReceiverStream::new(from)).await?.into_inner();
    counted.open.fetch_add(1, Ordering::Relaxed);
    let _open = Open(counted);
    let mut pause = Duration::ZERO;
    let mut round = 0;
    loop {
        tokio::select! {
            response = told.message() => {
                let Some(response) = response? else { return Ok(()) };
                counted.told.fetch_add(1, Ordering::Relaxed);
                counted.splits.fetch_add(response.splits.len() as u64, Ordering::Relaxed);
                pause = Duration::from_millis(response.report_interval_ms.into());
            }
            () = tokio::time::sleep(pause), if !pause.is_zero() || round == 0 => {
                let report = report(args, round);
                counted.reports.fetch_add(1, Ordering::Relaxed);
                counted.versions.fetch_add(report.versions.len() as u64, Ordering::Relaxed);
                to.send(SyncRequest { kind: Some(Kind::Report(report)) }).await?;
                round += 1;
            }
        }
    }
}

struct Open<'a>(&'a Counted);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All modules first, then those that are busy.
fn report(args: &Args, round: u64) -> HostReport {
    let busy = if round == 0 { args.modules } else { args.modules * args.busy.min(100) / 100 };
    let versions = (0..busy).flat_map(|module| {
        args.versions.iter().map(move |version| VersionReport {
            key: Some(VersionKey {
                namespace: args.namespace.clone(),
                module: format!("load-{module}"),
                version: version.clone(),
            }),
            state: VersionState::Ready.into(),
            problem: String::new(),
            calls: round * 100,
            failures: 0,
        })
    });
    let namespaces = vec![args.namespace.clone()];
    HostReport { current: true, versions: versions.collect(), namespaces, ..HostReport::default() }
}
