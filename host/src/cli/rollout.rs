//! The flags of `roadstead rollout`.

use std::time::Duration;

use clap::{Args, Subcommand};
use roadstead_domain::{ModuleName, ModuleRef};

use super::parse;

#[derive(Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    pub what: RolloutVerb,
}

#[derive(Subcommand)]
pub(crate) enum RolloutVerb {
    /// Let new versions get calls step by step; what is left out stays as it is
    Set(SetArgs),
    /// Let new versions get all calls at once
    Unset { name: ModuleName },
    /// Show the plan, how far the last rollout got, and why it waits
    Status {
        name: ModuleName,
        /// Keep printing what changes
        #[arg(short, long)]
        watch: bool,
    },
    /// Stay at the step where it is
    Pause { name: ModuleName },
    /// Go on
    Resume { name: ModuleName },
    /// Give a version all calls at once [default: the one that is rolling out]
    Promote {
        #[arg(value_name = "NAME[@VERSION]")]
        module: ModuleRef,
    },
    /// Take all calls from a version [default: the one that is rolling out]
    Abort {
        #[arg(value_name = "NAME[@VERSION]")]
        module: ModuleRef,
    },
}

#[derive(Args)]
pub(crate) struct SetArgs {
    pub name: ModuleName,
    /// Percent of the calls that a new version gets, step by step [default: 5,25,50,100]
    #[arg(
        long,
        value_name = "PERCENT,...",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    pub steps: Vec<u32>,
    /// How long each step lasts at least [default: 5m]
    #[arg(long, value_name = "SPAN", value_parser = parse::span)]
    pub interval: Option<Duration>,
    /// Calls that a new version must have answered before a step is judged [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub minimum_calls: Option<u32>,
    /// The part of its calls that may fail by its fault, 0 to 1 [default: 0.01]
    #[arg(long, value_name = "RATIO", value_parser = parse::ratio)]
    pub max_failure_ratio: Option<f64>,
}
