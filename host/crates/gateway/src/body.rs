//! The body of a response: ours, flat, or tonic's.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tonic::{Status, codegen::StdError};

use crate::frame;

/// Messages up to this size are copied behind their header: one frame on the wire, one write.
const JOIN: usize = 16 << 10;

/// What hyper receives, and what tests put in its place.
pub(crate) trait RequestBody:
    Body<Data = Bytes, Error: Into<StdError> + Send> + Send + Unpin + 'static
{
}

impl<B> RequestBody for B where
    B: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + Unpin + 'static
{
}

/// What hyper sends.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// One piece, or nothing.
    Flat(Option<Bytes>),
    /// Header and message of a unary call, then its trailers.
    Unary {
        pieces: [Option<Bytes>; 2],
        trailers: Option<HeaderMap>,
    },
    Tonic(tonic::body::Body),
}

impl ResponseBody {
    pub(crate) fn empty() -> Self {
        Self::Flat(None)
    }

    pub(crate) fn flat(bytes: impl Into<Bytes>) -> Self {
        Self::Flat(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }

    /// A gRPC message and its trailers. `length` is the message's.
    pub(crate) fn unary(packed: bool, message: Bytes, length: u32, trailers: HeaderMap) -> Self {
        let header = frame::header(packed, length);
        let pieces = if message.len() <= JOIN {
            let mut joined = BytesMut::with_capacity(header.len() + message.len());
            joined.extend_from_slice(&header);
            joined.extend_from_slice(&message);
            [Some(joined.freeze()), None]
        } else {
            [Some(Bytes::copy_from_slice(&header)), Some(message)]
        };
        Self::Unary { pieces, trailers: Some(trailers) }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(match self.get_mut() {
            Self::Flat(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Self::Unary { pieces, trailers } => pieces
                .iter_mut()
                .find_map(Option::take)
                .map(Frame::data)
                .or_else(|| trailers.take().map(Frame::trailers))
                .map(Ok),
            Self::Tonic(body) => return Pin::new(body).poll_frame(cx),
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Flat(bytes) => bytes.is_none(),
            Self::Unary { trailers, .. } => trailers.is_none(),
            Self::Tonic(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Flat(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Unary { .. } => SizeHint::default(),
            Self::Tonic(body) => body.size_hint(),
        }
    }
}
