//! What callers repeat: unary calls, or streams.

use anyhow::bail;
use bytes::Bytes;
use tonic::{Status, Streaming};

use super::{Caller, probe, reason, to};
use crate::{
    flow::Messages,
    subject::{Module, Server},
    wire::RawCodec,
    work::{Exchange, Way},
};

/// The calls of all callers.
pub(crate) enum Script {
    /// One for all, or one for each.
    Unary(Vec<Exchange>),
    Flow(Messages),
}

/// What came back on a stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    pub messages: usize,
    /// Bytes of all messages.
    pub bytes: usize,
}

impl Script {
    /// One call on a connection of its own: why the server refuses it, if it does.
    pub(super) async fn probe(&self, server: &Server) -> anyhow::Result<Option<String>> {
        match self {
            Self::Unary(exchanges) => match exchanges.first() {
                Some(exchange) => probe(server, exchange).await,
                None => bail!("nothing to call"),
            },
            Self::Flow(_) => {
                let mut caller = Caller::new(server.at.connect().await?);
                Ok(self.play(&mut caller, 0, server.module(0)).await.err())
            }
        }
    }

    /// One call of the caller with this number; the size of the answer is looked at.
    pub(super) async fn play(
        &self,
        caller: &mut Caller,
        number: usize,
        module: Option<&Module>,
    ) -> Result<(), String> {
        let answered = match self {
            Self::Unary(exchanges) => {
                let exchange = exchanges.get(number % exchanges.len()).ok_or("nothing to call")?;
                let answer = caller.send(exchange, module).await;
                answer.map(|answer| answer.len() == exchange.answer.len())
            }
            Self::Flow(messages) => caller.stream(messages, module).await,
        };
        match answered {
            Ok(true) => Ok(()),
            Ok(false) => Err("an answer of another size".to_owned()),
            Err(status) => Err(reason(&status)),
        }
    }

    /// Bytes of the messages of one call.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Unary(exchanges) => exchanges.first().map_or(0, Exchange::bytes),
            Self::Flow(messages) => messages.bytes,
        }
    }

    /// Items of one stream.
    pub(super) fn items(&self) -> Option<u32> {
        match self {
            Self::Unary(_) => None,
            Self::Flow(messages) => Some(messages.items),
        }
    }
}

impl Caller {
    /// One stream; whether all came back that should.
    async fn stream(
        &mut self,
        messages: &Messages,
        module: Option<&Module>,
    ) -> Result<bool, Status> {
        let path = messages.path.clone();
        let requests = messages.requests.clone();
        let client = self.ready().await?;
        match messages.way {
            Way::Out => {
                let request = requests.first().cloned().unwrap_or_default();
                let answer = client.server_streaming(to(module, request), path, RawCodec).await?;
                Ok(messages.are_all(read(answer.into_inner()).await?))
            }
            Way::In => {
                let request = to(module, tokio_stream::iter(requests));
                let answer = client.client_streaming(request, path, RawCodec).await?.into_inner();
                Ok(messages.are_all(Received { messages: 1, bytes: answer.len() }))
            }
            Way::Echo => {
                let request = to(module, tokio_stream::iter(requests));
                let answer = client.streaming(request, path, RawCodec).await?;
                Ok(messages.are_all(read(answer.into_inner()).await?))
            }
        }
    }
}

async fn read(mut stream: Streaming<Bytes>) -> Result<Received, Status> {
    let mut received = Received::default();
    while let Some(message) = stream.message().await? {
        received.messages += 1;
        received.bytes += message.len();
    }
    Ok(received)
}
