//! The FastAPI peer: JSON over HTTP to a front that opens a channel of gRPC for each call to the
//! server of the module.

use std::path::Path;

use anyhow::Context as _;

use super::worker::Worker;
use crate::process::Child;

/// Both servers.
pub(crate) struct FastApi {
    pub front: Child,
    _module: Child,
}

/// Starts the module's server and the front before it.
pub(crate) fn start(python: &Path) -> anyhow::Result<FastApi> {
    let script = include_str!("../../peers/fastapi_module.py");
    let module = Child::start(python, &["-c".into(), script.into()]).context("its module")?;
    let script = include_str!("../../peers/fastapi_front.py");
    let args = ["-c".into(), script.into(), module.address().into()];
    let front = Child::start(python, &args).context("its front")?;
    Ok(FastApi { front, _module: module })
}

/// A client that measures it.
pub(crate) fn client(python: &Path) -> anyhow::Result<Worker> {
    Worker::start(python, include_str!("../../peers/fastapi_client.py"))
}
