//! `roadstead-bench`: measures a real host process beside its peers, in one run on one machine.
//!
//! Figures of one machine mean little on another: what is meant to hold are the ratios. Progress goes
//! to stderr, tables or JSON to stdout.

mod aims;
mod compare;
mod family;
mod figure;
mod flow;
mod group;
mod groups;
mod host;
#[path = "../guests/rust/src/items.rs"]
mod items;
#[path = "../guests/rust/src/kernels.rs"]
mod kernels;
mod load;
mod peers;
mod plan;
mod process;
mod record;
mod report;
mod session;
mod stage;
mod stats;
mod subject;
mod table;
mod wire;
mod work;

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use clap::{Parser, Subcommand};

use crate::{
    group::Group,
    plan::Plan,
    record::Record,
    stage::{Paths, Stage},
};

/// Compares a host with native servers, with wasmtime alone and with Ray; without a subcommand in all
/// groups of rows.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    paths: PathArgs,
    /// Seconds of each measurement of calls
    #[arg(long, global = true, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Rounds over all subjects; medians count
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Numbers of modules to publish
    #[arg(long, global = true, value_name = "N", value_delimiter = ',')]
    published: Option<Vec<usize>>,
    /// A smoke run: as little of everything as shows that it can be measured
    #[arg(long, global = true)]
    quick: bool,
    /// Print the record instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// Keep the record in this directory too
    #[arg(long, global = true, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Serve the native peer instead of measuring; the program starts itself so
    #[arg(long, hide = true)]
    serve_native: bool,
}

#[derive(Clone, clap::Args)]
struct PathArgs {
    /// The host's binary; a release build, or the figures mean nothing
    #[arg(long, global = true, value_name = "FILE", default_value = "target/release/roadstead")]
    bin: PathBuf,
    /// Directory with the built modules
    #[arg(long, global = true, value_name = "DIR", default_value = ".build/modules")]
    modules: PathBuf,
    /// Directory with the built guests of the benchmarks
    #[arg(long, global = true, value_name = "DIR", default_value = ".build/bench")]
    guests: PathBuf,
    /// A Python with grpcio
    #[arg(long, global = true, value_name = "FILE", default_value = ".venv/bin/python")]
    python: PathBuf,
    /// A Python with Ray
    #[arg(long, global = true, value_name = "FILE", default_value = ".venv-ray/bin/python")]
    ray_python: PathBuf,
    /// A Python with FastAPI, uvicorn and grpcio
    #[arg(long, global = true, value_name = "FILE", default_value = ".venv-fastapi/bin/python")]
    fastapi_python: PathBuf,
    /// A Python with JAX and Roadstead's package
    #[arg(long, global = true, value_name = "FILE", default_value = ".venv-jax/bin/python")]
    jax_python: PathBuf,
}

#[derive(Subcommand)]
enum Verb {
    #[command(flatten)]
    Measure(Group),
    /// Two records side by side
    Compare {
        /// The earlier record, a file of bench/history
        a: PathBuf,
        /// The later one
        b: PathBuf,
        /// All figures instead of each group's leading one
        #[arg(long)]
        all: bool,
    },
}

impl From<PathArgs> for Paths {
    fn from(args: PathArgs) -> Self {
        let PathArgs { bin, modules, guests, python, ray_python, fastapi_python, jax_python } =
            args;
        Self { host: bin, modules, guests, python, ray_python, fastapi_python, jax_python }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write seconds, such as 0.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if Duration::from_millis(10) <= duration => Ok(duration),
        _ => Err("0.01 seconds at least".to_owned()),
    }
}

impl Args {
    fn plan(&self) -> Plan {
        let plan = if self.quick { Plan::quick() } else { Plan::full() };
        Plan {
            slice: self.seconds.unwrap_or(plan.slice),
            rounds: self.rounds.map_or(plan.rounds, usize::from),
            modules: self.published.clone().unwrap_or(plan.modules),
            ..plan
        }
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if args.serve_native {
        return runtime.block_on(peers::native::serve());
    }
    match &args.verb {
        Some(Verb::Compare { a, b, all }) => {
            let (a, b) = (Record::read(a)?, Record::read(b)?);
            report::compared(&a, &b, *all, args.json)
        }
        Some(Verb::Measure(group)) => runtime.block_on(measure(&args, &[*group])),
        None => runtime.block_on(measure(&args, &Group::ALL)),
    }
}

async fn measure(args: &Args, groups: &[Group]) -> anyhow::Result<()> {
    let plan = args.plan();
    ensure!(plan.modules.is_sorted(), "--published wants its numbers in ascending order");
    let mut record = Record::begin(&plan);
    let paths = args.paths.clone().into();
    record.rows = groups::measure(groups, &mut Stage::new(paths, plan)).await?;
    report::print(&record, args.json)?;
    if let Some(directory) = &args.record {
        report::progress(format_args!("kept in {}", record.keep(directory)?.display()));
    }
    Ok(())
}
