//! `roadstead-bench`: measures a real host process beside its peers, in one run on one machine.
//!
//! The peers are a native tonic server with the same function, and Ray's actors. Figures of one
//! machine mean little on another: what is meant to hold are the ratios. Progress goes to stderr,
//! the table or the JSON to stdout.

mod echo;
mod host;
mod load;
mod memory;
mod native;
mod overload;
mod publish;
mod quota;
mod ray;
mod report;
mod throughput;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

/// Compares a host with a native server and with Ray, and prints one table.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    only: Option<Only>,
    /// The host's binary; a release build, or the figures mean nothing
    #[arg(long, value_name = "FILE", default_value = "target/release/roadstead")]
    bin: PathBuf,
    /// Directory with the built modules
    #[arg(long, value_name = "DIR", default_value = ".build/modules")]
    modules: PathBuf,
    /// A Python with Ray; without it Ray's rows are left out
    #[arg(long, value_name = "FILE", default_value = ".venv-ray/bin/python")]
    ray_python: PathBuf,
    /// A Python with grpcio, for calls by a Python client
    #[arg(long, value_name = "FILE", default_value = ".venv/bin/python")]
    python: PathBuf,
    /// Seconds of each measurement of calls
    #[arg(long, value_name = "N", default_value_t = 2)]
    seconds: u64,
    /// Rounds over all servers; the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Modules to publish for the measurement of memory
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [100, 1000])]
    published: Vec<usize>,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Serve the native peer instead of measuring; the program starts itself so
    #[arg(long, hide = true)]
    serve_native: bool,
}

/// One measurement alone, without peers.
#[derive(Clone, Copy, Subcommand)]
enum Only {
    /// How well quotas of processor time are kept, by modules that compete for two processors
    CpuQuota {
        /// Seconds that are measured
        #[arg(long, value_name = "N", default_value_t = 10)]
        seconds: u64,
        /// Calls that spin at the same time in each module
        #[arg(long, value_name = "N", default_value_t = 16)]
        callers: usize,
    },
    /// What a flood of one module's calls leaves of its own answers and its neighbour's latency
    Overload {
        /// Seconds of each flood
        #[arg(long, value_name = "N", default_value_t = 3)]
        seconds: u64,
        /// Rounds over all floods; the median counts
        #[arg(long, value_name = "N", default_value_t = 7)]
        rounds: usize,
    },
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if args.serve_native {
        return runtime.block_on(native::serve());
    }
    let report = runtime.block_on(async {
        match args.only {
            Some(only) => measure_one(&args, only).await,
            None => measure(&args).await,
        }
    })?;
    report.print(args.json)
}

async fn measure_one(args: &Args, only: Only) -> anyhow::Result<report::Report> {
    let mut report = report::Report::default();
    match only {
        Only::CpuQuota { seconds, callers } => {
            let seconds = Duration::from_secs(seconds);
            report.quotas = quota::measure(&args.bin, &args.modules, seconds, callers).await?;
        }
        Only::Overload { seconds, rounds } => {
            let seconds = Duration::from_secs(seconds);
            report.overload = overload::measure(&args.bin, &args.modules, seconds, rounds).await?;
        }
    }
    Ok(report)
}

async fn measure(args: &Args) -> anyhow::Result<report::Report> {
    let plan = throughput::Plan {
        slice: Duration::from_secs(args.seconds),
        rounds: args.rounds,
        callers: &[1, 16, 64],
    };
    let calls = throughput::measure(&args.bin, &args.modules, &plan).await?;
    let one_at_a_time = ray::measure(args, &calls).await?;
    let publish = publish::measure(&args.bin, &args.modules).await?;
    let memory = memory::measure(&args.bin, &args.modules, &args.published).await?;
    let quotas = quota::measure(&args.bin, &args.modules, Duration::from_secs(10), 16).await?;
    let time = Duration::from_secs(3);
    let overload = overload::measure(&args.bin, &args.modules, time, args.rounds).await?;
    Ok(report::Report {
        calls,
        one_at_a_time,
        publish,
        memory,
        quotas,
        overload,
        ..report::Report::default()
    })
}
