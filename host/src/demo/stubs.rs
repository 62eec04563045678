//! The part of the demo with generated stubs: protoc makes them, a Python client uses them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use super::ThrowAwayHost;
use crate::{commands::proto, output};

const CLIENT: &str = include_str!("client.py");

pub(super) async fn call_with_python(host: &ThrowAwayHost, python: &Path) -> anyhow::Result<()> {
    let dir = tempfile::tempdir().context("make a folder for the stubs")?;
    let mut files = Vec::new();
    for name in ["text-stats", "reward"] {
        let answer = proto::of_module(&host.to, &name.parse()?).await?;
        proto::write(dir.path(), &answer)?;
        files.extend(answer.files.into_iter().map(|file| file.path));
    }
    files.sort();
    files.dedup();
    let python = std::path::absolute(python).context("find the Python")?;
    let here = dir.path().display();
    let mut protoc = vec!["-m".to_owned(), "grpc_tools.protoc".to_owned(), format!("-I{here}")];
    protoc.extend([format!("--python_out={here}"), format!("--grpc_python_out={here}")]);
    protoc.extend(files);
    run(&python, dir.path(), &protoc).await?;

    let client = dir.path().join("client.py");
    std::fs::write(&client, CLIENT).context("write the Python client")?;
    let printed =
        run(&python, dir.path(), &["client.py".to_owned(), host.address.to_string()]).await?;
    output::line(printed.trim_end());
    Ok(())
}

async fn run(python: &PathBuf, dir: &Path, args: &[String]) -> anyhow::Result<String> {
    let done = Command::new(python)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| {
            format!("run {}: `make setup` makes a Python with grpcio-tools", python.display())
        })?;
    if !done.status.success() {
        bail!(
            "{} {} failed:\n{}",
            python.display(),
            args.join(" "),
            String::from_utf8_lossy(&done.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
