//! Calls of a subject: in a closed loop, where each caller sends its next call when the last one is
//! answered, or in an open one, where calls come when they are due.

pub(crate) mod closed;
pub(crate) mod open;
pub(crate) mod schedule;
pub(crate) mod script;

use anyhow::bail;
use bytes::Bytes;
use tonic::{Request, Status, client::Grpc, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    subject::{Module, Server},
    wire::RawCodec,
    work::Exchange,
};

/// A connection on which one exchange is repeated.
pub(crate) struct Caller {
    client: Grpc<Channel>,
}

impl Caller {
    pub(crate) fn new(channel: Channel) -> Self {
        let client = Grpc::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        Self { client }
    }

    /// One call, whatever it answers.
    pub(crate) async fn send(
        &mut self,
        exchange: &Exchange,
        module: Option<&Module>,
    ) -> Result<Bytes, Status> {
        let request = to(module, exchange.request.clone());
        let client = self.ready().await?;
        let answer = client.unary(request, exchange.path.clone(), RawCodec).await?;
        Ok(answer.into_inner())
    }

    async fn ready(&mut self) -> Result<&mut Grpc<Channel>, Status> {
        self.client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(&mut self.client)
    }
}

/// A request that names its module, if any.
fn to<T>(module: Option<&Module>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(module) = module {
        request.metadata_mut().insert("roadstead-module", module.name.clone());
        if let Some(authorization) = &module.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
    }
    request
}

/// One call on a connection of its own, whose whole answer is looked at: why the server refuses it,
/// if it does.
pub(crate) async fn probe(server: &Server, exchange: &Exchange) -> anyhow::Result<Option<String>> {
    let mut caller = Caller::new(server.at.connect().await?);
    match caller.send(exchange, server.module(0)).await {
        Ok(answer) if answer == exchange.answer => Ok(None),
        Ok(_) => bail!("{} did not answer what it should", exchange.path),
        Err(status) => Ok(Some(reason(&status))),
    }
}

/// Why a call was refused: the reason that a program reads, or what there is instead.
pub(crate) fn reason(status: &Status) -> String {
    match status.get_details_error_info() {
        Some(info) if !info.reason.is_empty() => info.reason,
        _ => format!("{:?}: {}", status.code(), status.message()),
    }
}
