//! Work for the processor alone: the same kernels natively, on wasmtime with and without fuel and
//! epochs, and through the whole host.

use std::{sync::Arc, time::Instant};

use anyhow::ensure;

use crate::{
    figure,
    group::Group,
    load::Caller,
    peers::wasm::{Checks, Typed},
    record::{Case, Row, Sample},
    report,
    stage::{Language, Policy, Stage},
    subject::{Server, Subject, Target},
    work::{Exchange, Kernel, Work},
};

/// Runs in each round, of which the fastest counts: whatever else the machine does only adds.
const RUNS: usize = 5;

/// wasmtime without checks, and with all that the host has: what is promised is the latter over the
/// former.
pub(crate) const BARE: &str = "wasmtime";
pub(crate) const CHECKED: &str = "wasmtime, fuel and epochs";

/// Someone who runs kernels.
enum Runner {
    Native,
    Typed(Arc<Typed>),
    Server(Server),
}

pub(crate) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let runners = runners(stage).await?;
    let mut rows = Vec::new();
    for kernel in Kernel::ALL {
        let size = size(kernel, stage.plan.quick);
        let names = runners.iter().map(|(name, _)| name.as_str());
        let mut case = Case::new(Group::Compute, kernel.name(), names);
        for round in 1..=stage.plan.rounds {
            report::progress(format_args!("compute: {}, round {round}", kernel.name()));
            for (number, (_, runner)) in runners.iter().enumerate() {
                let fastest = fastest(runner, kernel, size).await?;
                case.add(number, Sample::Measured(vec![(figure::TIME, fastest)]));
            }
        }
        rows.extend(case.finish());
    }
    Ok(rows)
}

/// Some tens of milliseconds each.
fn size(kernel: Kernel, quick: bool) -> u32 {
    match (kernel, quick) {
        (Kernel::Matrix, false) => 320,
        (Kernel::Collatz, false) => 200_000,
        (Kernel::Sieve, false) => 4_000_000,
        (Kernel::Matrix, true) => 32,
        (Kernel::Collatz | Kernel::Sieve, true) => 10_000,
    }
}

async fn runners(stage: &mut Stage) -> anyhow::Result<Vec<(String, Runner)>> {
    let mut runners = vec![("native".to_owned(), Runner::Native)];
    let component = stage.paths.guest(Language::Rust)?.component;
    for (name, fuel, epochs) in [
        (BARE, false, false),
        ("wasmtime, epochs", false, true),
        ("wasmtime, fuel", true, false),
        (CHECKED, true, true),
    ] {
        let typed = Typed::compile(&component, Checks { fuel, epochs })?;
        runners.push((name.to_owned(), Runner::Typed(Arc::new(typed))));
    }
    let hosted = stage.hosted(Language::Rust, Policy::Pooled).await?;
    for (name, subject) in
        [("a whole native call", stage.native()?), ("a whole hosted call", hosted)]
    {
        if let Subject { target: Target::Server(server), .. } = subject {
            runners.push((name.to_owned(), Runner::Server(server)));
        }
    }
    Ok(runners)
}

/// Milliseconds of the fastest of some runs.
async fn fastest(runner: &Runner, kernel: Kernel, size: u32) -> anyhow::Result<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..RUNS {
        let took = match runner {
            Runner::Native => {
                let began = Instant::now();
                std::hint::black_box(kernel.run(std::hint::black_box(size)));
                began.elapsed()
            }
            Runner::Typed(typed) => {
                let typed = Arc::clone(typed);
                let run = tokio::task::spawn_blocking(move || typed.compute(kernel, size));
                let (result, took) = run.await??;
                ensure!(result == kernel.run(size), "{} computes something else", kernel.name());
                took
            }
            Runner::Server(server) => {
                let exchange = Exchange::of(Work::Compute { kernel, size })?;
                let mut caller = Caller::new(server.at.connect().await?);
                let began = Instant::now();
                let answer = caller.send(&exchange, server.module(0)).await?;
                ensure!(answer == exchange.answer, "{} computes something else", kernel.name());
                began.elapsed()
            }
        };
        fastest = fastest.min(took.as_secs_f64() * 1e3);
    }
    Ok(fastest)
}
