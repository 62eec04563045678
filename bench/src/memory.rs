//! Resident memory of a host by the number of its published modules, none of which has been called
//! yet, and again when each has been called once.

use std::path::Path;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    host::{Host, Upload, push},
    load, report,
};

/// Pushes in flight: two keep two cores busy, and the host's own limits are not at stake here.
const AT_ONCE: usize = 4;

/// One row: a number of published modules.
#[derive(Serialize)]
pub(crate) struct Memory {
    pub published: usize,
    pub resident_bytes: u64,
    /// After one call of every module.
    pub resident_called_bytes: u64,
}

pub(crate) async fn measure(
    bin: &Path,
    modules: &Path,
    counts: &[usize],
) -> anyhow::Result<Vec<Memory>> {
    let data = tempfile::tempdir()?;
    let host = Host::start(bin, data.path(), &[])?;
    let echo = Upload::read(modules, "echo")?;
    let empty = host.child.resident()?;
    let mut rows =
        vec![Memory { published: 0, resident_bytes: empty, resident_called_bytes: empty }];
    let mut published = 0;
    for &count in counts {
        report::progress(format_args!("memory: publishing {count} modules, each its own code"));
        publish(&host, &echo, published, count).await?;
        let resident_bytes = host.child.resident()?;
        let channel = host.child.connect().await?;
        for number in 0..count {
            load::call(&channel, Some(&name(number))).await?;
        }
        rows.push(Memory {
            published: count,
            resident_bytes,
            resident_called_bytes: host.child.resident()?,
        });
        published = count;
    }
    Ok(rows)
}

fn name(number: usize) -> String {
    format!("echo-{number}")
}

async fn publish(host: &Host, echo: &Upload, from: usize, to: usize) -> anyhow::Result<()> {
    let channel = host.child.connect().await?;
    let mut pushes = JoinSet::new();
    for number in from..to {
        if pushes.len() == AT_ONCE
            && let Some(done) = pushes.join_next().await
        {
            done??;
        }
        let upload = echo.marked(name(number), u32::try_from(number)?);
        pushes.spawn(push(channel.clone(), upload));
        if number % 100 == 99 {
            report::progress(format_args!("memory: {} of {to}", number + 1));
        }
    }
    while let Some(done) = pushes.join_next().await {
        done??;
    }
    Ok(())
}
