//! Calls one at a time: Ray's actors beside ours, on the same machine in the same run.
//!
//! Ray's client is Python, so ours is measured from Python as well; the Rust client's figure comes
//! from the throughput rows.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::{
    Args,
    host::{Host, Upload, push},
    report,
    throughput::Calls,
};

/// One row: a way to call one function, one call at a time.
#[derive(Serialize)]
pub(crate) struct OneAtATime {
    pub what: &'static str,
    pub calls_per_second: f64,
    /// Absent where Ray was not measured.
    pub of_ray: Option<f64>,
}

#[derive(Deserialize)]
struct Measured {
    calls_per_second: f64,
}

pub(crate) async fn measure(args: &Args, calls: &[Calls]) -> anyhow::Result<Vec<OneAtATime>> {
    let ray = if args.ray_python.exists() {
        report::progress("Ray: actor calls one at a time");
        Some(python(&args.ray_python, include_str!("../ray_actor.py"), &[]).await?)
    } else {
        report::progress(format_args!(
            "no Ray in {}: its rows are left out (scripts/setup-ray.sh installs it)",
            args.ray_python.display()
        ));
        None
    };
    let mut rows = Vec::new();
    let mut row = |what, calls_per_second| {
        let of_ray = ray.as_ref().map(|ray: &Measured| calls_per_second / ray.calls_per_second);
        rows.push(OneAtATime { what, calls_per_second, of_ray });
    };
    if let Some(ray) = &ray {
        row("Ray actor", ray.calls_per_second);
    }
    for (server, what) in [("pooled", "pooled, Rust client"), ("per call", "per call, Rust client")]
    {
        if let Some(alone) = calls.iter().find(|row| row.callers == 1 && row.server == server) {
            row(what, alone.calls_per_second);
        }
    }
    if args.python.exists() {
        report::progress("calls one at a time by a Python client");
        row("per call, Python client", from_python(args).await?.calls_per_second);
    }
    Ok(rows)
}

async fn from_python(args: &Args) -> anyhow::Result<Measured> {
    let data = tempfile::tempdir()?;
    let host = Host::start(&args.bin, data.path(), &[])?;
    push(host.child.connect().await?, Upload::read(&args.modules, "echo")?).await?;
    let script = include_str!("../grpc_client.py");
    python(&args.python, script, &[host.child.address()]).await
}

async fn python(python: &Path, script: &str, args: &[&str]) -> anyhow::Result<Measured> {
    let output = Command::new(python)
        .arg("-c")
        .arg(script)
        .args(args)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("run {}", python.display()))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let Some(line) = stdout.lines().rev().find(|line| line.starts_with('{')) else {
        bail!("{} failed: {}", python.display(), String::from_utf8_lossy(&output.stderr))
    };
    serde_json::from_str(line).with_context(|| format!("read {line}"))
}
