//! The native peer's streams.

use std::pin::Pin;

use bytes::Bytes;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::native::Native;
use crate::{
    items,
    wire::flow::{self as m, flow_server::Flow},
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Bytes in one message.
const CHUNK: usize = 64 << 10;

#[async_trait]
impl Flow for Native {
    type NumbersOutStream = Answers<m::NumbersOutResponse>;
    type NumbersEchoStream = Answers<m::NumbersEchoResponse>;
    type BytesOutStream = Answers<m::BytesOutResponse>;
    type BytesEchoStream = Answers<m::BytesEchoResponse>;

    async fn numbers_out(
        &self,
        request: Request<m::NumbersOutRequest>,
    ) -> Result<Response<Self::NumbersOutStream>, Status> {
        let numbers = 1..=request.into_inner().count;
        let answers = numbers.map(|item| Ok(m::NumbersOutResponse { item }));
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    async fn numbers_in(
        &self,
        request: Request<Streaming<m::NumbersInRequest>>,
    ) -> Result<Response<m::NumbersInResponse>, Status> {
        let mut stream = request.into_inner();
        let mut value = 0;
        while let Some(message) = stream.message().await? {
            value += u32::from(message.message.is_some());
        }
        Ok(Response::new(m::NumbersInResponse { value }))
    }

    async fn numbers_echo(
        &self,
        request: Request<Streaming<m::NumbersEchoRequest>>,
    ) -> Result<Response<Self::NumbersEchoStream>, Status> {
        use m::numbers_echo_request::Message;
        let answers = request.into_inner().filter_map(|message| match message.map(|m| m.message) {
            Ok(Some(Message::Item(item))) => Some(Ok(m::NumbersEchoResponse { item })),
            Ok(Some(Message::Start(_)) | None) => None,
            Err(status) => Some(Err(status)),
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn bytes_out(
        &self,
        request: Request<m::BytesOutRequest>,
    ) -> Result<Response<Self::BytesOutStream>, Status> {
        let count = usize::try_from(request.into_inner().count).unwrap_or(0);
        let answers = (0..count).step_by(CHUNK).map(move |from| {
            let item = Bytes::from(vec![items::BYTE; CHUNK.min(count - from)]);
            Ok(m::BytesOutResponse { item })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    async fn bytes_in(
        &self,
        request: Request<Streaming<m::BytesInRequest>>,
    ) -> Result<Response<m::BytesInResponse>, Status> {
        use m::bytes_in_request::Message;
        let mut stream = request.into_inner();
        let mut value = 0;
        while let Some(message) = stream.message().await? {
            if let Some(Message::Item(item)) = message.message {
                value += u32::try_from(item.len()).unwrap_or(u32::MAX);
            }
        }
        Ok(Response::new(m::BytesInResponse { value }))
    }

    async fn bytes_echo(
        &self,
        request: Request<Streaming<m::BytesEchoRequest>>,
    ) -> Result<Response<Self::BytesEchoStream>, Status> {
        use m::bytes_echo_request::Message;
        let answers = request.into_inner().filter_map(|message| match message.map(|m| m.message) {
            Ok(Some(Message::Item(item))) => Some(Ok(m::BytesEchoResponse { item })),
            Ok(Some(Message::Start(_)) | None) => None,
            Err(status) => Some(Err(status)),
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
