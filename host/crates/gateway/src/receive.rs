//! Takes in the body of a unary request, within its limit and its time.

use std::{task::Poll, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt as _;
use roadstead_domain::{Fault, LimitKind};

use crate::{
    budget::{Budget, Charge},
    frame::UnaryFrame,
    gzip,
    offload::convert,
    timeout::Patience,
};

/// How a message is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
}

/// A packing that this host does not know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownPacking;

/// A whole message, and the memory that it is counted as.
#[derive(Debug)]
pub(crate) struct Message {
    pub bytes: Bytes,
    pub charge: Charge,
}

impl Packing {
    /// The packing that a header names, plain where it is absent.
    ///
    /// # Errors
    /// [`UnknownPacking`].
    pub(crate) fn of(headers: &HeaderMap, name: &str) -> Result<Self, UnknownPacking> {
        match headers.get(name).map(http::HeaderValue::as_bytes) {
            None | Some(b"identity" | b"") => Ok(Self::Plain),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(_) => Err(UnknownPacking),
        }
    }
}

/// Whether a list of encodings, as `accept-encoding` writes it, holds gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').any(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            parts.next() == Some("gzip") && !parts.any(|weight| weight == "q=0")
        })
    })
}

/// The one message of a gRPC request.
///
/// # Errors
/// The fault of the request; [`Fault::Cancelled`] if the caller went away.
pub(crate) async fn grpc_message<B>(
    body: B,
    limit: u64,
    packing: Packing,
    budget: &Budget,
) -> Result<Message, Fault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut frame = UnaryFrame::new(limit, budget.charge());
    each_chunk(body, |chunk| frame.push(chunk)).await?;
    plain(frame, packing, limit).await
}

/// The message of a frame that is whole.
///
/// # Errors
/// The fault of the request.
pub(crate) async fn plain(
    frame: UnaryFrame,
    packing: Packing,
    limit: u64,
) -> Result<Message, Fault> {
    let (payload, charge) = frame.finish()?;
    match (payload.packed, packing) {
        (false, _) => Ok(Message { bytes: payload.bytes, charge }),
        (true, Packing::Gzip) => Box::pin(unpacked(payload.bytes, limit, charge)).await,
        (true, Packing::Plain) => {
            Err(Fault::bad_input("", "the message is packed, but `grpc-encoding` does not say how"))
        }
    }
}

/// The whole body. What comes over the wire may be `limit` bytes long, and what is unpacked too.
///
/// # Errors
/// The fault of the request; [`Fault::Cancelled`] if the caller went away.
pub(crate) async fn whole_body<B>(
    body: B,
    limit: u64,
    packing: Packing,
    budget: &Budget,
) -> Result<Message, Fault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().lower();
    if announced > limit {
        return Err(Fault::limit(LimitKind::Input, limit, Some(announced)));
    }
    let mut charge = budget.charge();
    charge.expect(announced)?;
    let mut got: u64 = 0;
    let mut whole = BytesMut::new();
    let mut only = Bytes::new();
    each_chunk(body, |chunk| {
        got += chunk.len() as u64;
        if got > limit {
            return Err(Fault::limit(LimitKind::Input, limit, None));
        }
        charge.grow(chunk.len() as u64)?;
        if whole.is_empty() && only.is_empty() {
            only = chunk;
        } else {
            if whole.is_empty() {
                whole.put(std::mem::take(&mut only));
            }
            whole.put(chunk);
        }
        Ok(())
    })
    .await?;
    let bytes = if whole.is_empty() { only } else { whole.freeze() };
    match packing {
        Packing::Plain => Ok(Message { bytes, charge }),
        Packing::Gzip => Box::pin(unpacked(bytes, limit, charge)).await,
    }
}

/// Receives within the caller's time and the host's patience.
///
/// # Errors
/// [`Fault::Deadline`], or what `receiving` comes to.
pub(crate) async fn in_time<T>(
    receiving: impl Future<Output = Result<T, Fault>>,
    patience: &Patience,
    most: Duration,
) -> Result<T, Fault> {
    tokio::pin!(receiving);
    // Most requests are here when their headers are: no timer for them.
    if let Poll::Ready(received) = futures::poll!(&mut receiving) {
        return received;
    }
    let wait = patience.left()?.map_or(most, |left| left.min(most));
    match Box::pin(tokio::time::timeout(wait, receiving)).await {
        Ok(received) => received,
        Err(_) => Err(patience.passed(most)),
    }
}

async fn each_chunk<B>(
    mut body: B,
    mut take: impl FnMut(Bytes) -> Result<(), Fault>,
) -> Result<(), Fault>
where
    B: Body<Data = Bytes> + Unpin,
{
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(frame) = frame else { return Err(Fault::Cancelled) };
        if let Ok(chunk) = frame.into_data() {
            take(chunk)?;
        }
    }
    Ok(())
}

async fn unpacked(packed: Bytes, limit: u64, charge: Charge) -> Result<Message, Fault> {
    let size = packed.len().saturating_mul(gzip::RATIO);
    convert(size, move || gzip::unpack(&packed, limit, charge)).await
}

#[cfg(test)]
mod tests;
