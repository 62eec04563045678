//! The grpcio peer: the same functions as a Python server with generated stubs, as people run them
//! in pods of their own.

use std::{fs, path::Path};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{process::Child, report};

const TRANSFER: &str = include_str!("../../proto/bench/work/transfer/v0_1/transfer.proto");

/// The server, and the directory of its stubs, which it needs only while it starts.
pub(crate) struct Grpcio {
    pub child: Child,
    _stubs: TempDir,
}

/// Starts the server with a Python that has grpcio and its tools; none without such a Python.
pub(crate) fn start(python: &Path) -> anyhow::Result<Option<Grpcio>> {
    if !python.exists() {
        report::progress(format_args!(
            "no Python in {}: the grpcio server's rows are left out (scripts/setup.sh installs it)",
            python.display()
        ));
        return Ok(None);
    }
    let stubs = tempfile::tempdir()?;
    fs::write(stubs.path().join("transfer.proto"), TRANSFER)?;
    let script = include_str!("../../peers/grpcio_server.py");
    let child = Child::start(python, &["-c".into(), script.into(), stubs.path().into()])
        .context("the grpcio peer")?;
    Ok(Some(Grpcio { child, _stubs: stubs }))
}
