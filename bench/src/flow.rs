//! What is asked of streams: one function of `bench/guests/wit-flow/flow.wit`, as messages and as what
//! must come back. Pure.

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message as _;

use crate::{items, load::script::Received, wire::flow as m, work::Way};

/// Bytes of one message, of a stream of bytes.
const CHUNK: u32 = 64 << 10;

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One in a message.
    Numbers,
    /// Chunks of them in a message.
    Bytes,
}

/// One stream, or the same there and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub kind: Kind,
    pub way: Way,
    /// Numbers or bytes.
    pub count: u32,
}

/// A stream as it is sent, and what comes back.
#[derive(Debug, Clone)]
pub(crate) struct Messages {
    pub path: PathAndQuery,
    pub way: Way,
    pub requests: Vec<Bytes>,
    /// Numbers or bytes.
    pub items: u32,
    /// Of the items in both directions.
    pub bytes: usize,
    answer: Answer,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Exactly so many messages and bytes.
    Exactly(Received),
    /// So many bytes of a stream, however they are cut into messages, each of which adds at most
    /// this to them.
    Chunks { bytes: usize, framing: usize },
}

impl Messages {
    /// The messages of one stream.
    ///
    /// # Errors
    /// Only for a path that is none, and the paths are written below.
    pub(crate) fn of(flow: Flow) -> anyhow::Result<Self> {
        let Flow { kind, way, count } = flow;
        let rpc = match (kind, way) {
            (Kind::Numbers, Way::In) => "NumbersIn",
            (Kind::Numbers, Way::Out) => "NumbersOut",
            (Kind::Numbers, Way::Echo) => "NumbersEcho",
            (Kind::Bytes, Way::In) => "BytesIn",
            (Kind::Bytes, Way::Out) => "BytesOut",
            (Kind::Bytes, Way::Echo) => "BytesEcho",
        };
        let counted = m::NumbersOutRequest { count }.encode_to_vec();
        let items = match kind {
            Kind::Numbers => (1..=count).map(number).collect(),
            Kind::Bytes => chunks(count),
        };
        let size = match kind {
            Kind::Numbers => {
                (1..=count).map(|item| m::NumbersOutResponse { item }.encoded_len()).sum()
            }
            Kind::Bytes => usize::try_from(count)?,
        };
        let answer = match (way, kind) {
            (Way::In, _) => Answer::Exactly(Received { messages: 1, bytes: counted.len() }),
            (_, Kind::Numbers) => {
                Answer::Exactly(Received { messages: usize::try_from(count)?, bytes: size })
            }
            // A tag and a length of up to five bytes.
            (_, Kind::Bytes) => Answer::Chunks { bytes: size, framing: 6 },
        };
        let requests = if way == Way::Out { vec![counted.into()] } else { items };
        let bytes = if way == Way::Echo { 2 * size } else { size };
        let path = format!("/bench.flow.flow.v0_1.Flow/{rpc}").parse()?;
        Ok(Self { path, way, requests, items: count, bytes, answer })
    }

    /// Whether everything came back.
    pub(crate) fn are_all(&self, received: Received) -> bool {
        match self.answer {
            Answer::Exactly(expected) => received == expected,
            Answer::Chunks { bytes, framing } => {
                (bytes..=bytes + framing * received.messages).contains(&received.bytes)
            }
        }
    }
}

fn number(item: u32) -> Bytes {
    let message = Some(m::numbers_in_request::Message::Item(item));
    m::NumbersInRequest { message }.encode_to_vec().into()
}

fn chunks(count: u32) -> Vec<Bytes> {
    let chunk = |from: u32| {
        let item = items::bytes(CHUNK.min(count - from)).into();
        let message = Some(m::bytes_in_request::Message::Item(item));
        m::BytesInRequest { message }.encode_to_vec().into()
    };
    (0..count).step_by(usize::try_from(CHUNK).unwrap_or(1)).map(chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_a_message_each() {
        let of = |way| Messages::of(Flow { kind: Kind::Numbers, way, count: 200 }).unwrap();
        let echo = of(Way::Echo);
        assert_eq!(echo.path, "/bench.flow.flow.v0_1.Flow/NumbersEcho");
        assert_eq!(echo.requests.len(), 200);
        // 127 numbers of one byte and 73 of two, each behind a tag.
        assert_eq!(echo.bytes, 2 * (127 * 2 + 73 * 3));
        assert!(echo.are_all(Received { messages: 200, bytes: echo.bytes / 2 }));
        assert!(!echo.are_all(Received { messages: 199, bytes: echo.bytes / 2 }));
        assert_eq!(of(Way::Out).requests.len(), 1);
        assert!(of(Way::In).are_all(Received { messages: 1, bytes: 3 }));
    }

    #[test]
    fn bytes_may_be_cut_in_any_way() {
        let count = CHUNK + 1;
        let sent = Messages::of(Flow { kind: Kind::Bytes, way: Way::Echo, count }).unwrap();
        assert_eq!(sent.requests.len(), 2);
        let bytes = CHUNK as usize + 1;
        assert!(sent.are_all(Received { messages: 1, bytes: bytes + 4 }));
        assert!(sent.are_all(Received { messages: 5, bytes: bytes + 10 }));
        assert!(!sent.are_all(Received { messages: 5, bytes: bytes - 1 }));
        assert!(!sent.are_all(Received { messages: 1, bytes: bytes + 7 }));
    }
}
