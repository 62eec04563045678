//! Native modules beside the same servers called directly, beside what else answers Python, and the
//! time that they take to come and to come back.

mod messages;
mod python;
mod served;
mod times;

use self::python::Clients;
use super::unary;
use crate::{
    peers::{
        native_module::{NativeHost, NativeModule, linalg_alone},
        python::Python,
    },
    record::Row,
    stage::Stage,
    subject::Server,
};

/// The server in Rust, and the one in Python.
pub(crate) const TONIC: &str = "native tonic";
const LINALG: &str = "linalg in Python";

/// How a server is called.
pub(crate) const DIRECTLY: &str = "called directly";
pub(crate) const THROUGH: &str = "as a module";

/// The case of so many callers of a server.
pub(crate) fn case(server: &str, callers: usize) -> String {
    format!("{server}, {}", unary::case(callers))
}

pub(super) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let host = NativeHost::start(&stage.paths.host)?;
    let mut rows = served::tonic(stage, &host).await?;
    let python = stage.paths.python.clone();
    // Kept until all is measured.
    let alone = match Python::roadstead(&python).check() {
        Ok(python) => {
            Ok((linalg_alone(python)?, host.push(&NativeModule::linalg(python)?, "linalg")?))
        }
        Err(reason) => Err(reason),
    };
    let servers = alone
        .as_ref()
        .map(|(alone, module)| [Server::plain(alone), module.clone()])
        .map_err(Clone::clone);
    rows.extend(served::linalg(stage, servers).await?);
    let module = alone.as_ref().map(|(_, module)| module).map_err(Clone::clone);
    let mut clients = Clients::start(&stage.paths, module)?;
    rows.extend(python::measure(&stage.plan, &mut clients)?);
    drop((alone, host));
    rows.extend(times::measure(stage, &mut clients).await?);
    Ok(rows)
}
