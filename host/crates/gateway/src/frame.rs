//! The frame of a unary gRPC request, read from the body as it arrives.
//!
//! The parser performs no IO. It looks at the length before it keeps a byte of the message, keeps
//! and counts no more than arrived, and hands out the very bytes it was given where they came in
//! one piece.

use bytes::{BufMut as _, Bytes, BytesMut};
use roadstead_domain::{Fault, LimitKind};

use crate::budget::Charge;

/// Length of the header: a flag and a length.
const HEADER: usize = 5;

/// A message below this is copied out of the buffer that it came in.
const SMALL: usize = 4 << 10;

/// Slack for packed messages: gzip of noise is a little longer than the noise.
const PACKED_SLACK: u64 = 1 << 10;

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    pub packed: bool,
    pub bytes: Bytes,
}

/// Takes chunks of a body, gives exactly one message.
#[derive(Debug)]
pub(crate) struct UnaryFrame {
    /// The most bytes that a message may have.
    limit: u64,
    charge: Charge,
    state: State,
}

#[derive(Debug)]
enum State {
    Header { seen: [u8; HEADER], len: usize },
    Message { packed: bool, length: usize, parts: Parts },
}

#[derive(Debug)]
enum Parts {
    None,
    One(Bytes),
    Joined(BytesMut),
}

impl UnaryFrame {
    /// Messages longer than `limit` are refused; what is kept is taken from `charge`.
    pub(crate) fn new(limit: u64, charge: Charge) -> Self {
        Self { limit, charge, state: State::Header { seen: [0; HEADER], len: 0 } }
    }

    /// Takes the next chunk of the body.
    ///
    /// # Errors
    /// The fault of the request; nothing more may be pushed then.
    pub(crate) fn push(&mut self, mut chunk: Bytes) -> Result<(), Fault> {
        self.take(&mut chunk)?;
        if chunk.is_empty() { Ok(()) } else { Err(wrong_count("more than one")) }
    }

    /// Takes as much of a chunk as the message needs, and says whether the message is whole.
    ///
    /// # Errors
    /// The fault of the request; nothing more may be taken then.
    pub(crate) fn take(&mut self, chunk: &mut Bytes) -> Result<bool, Fault> {
        if let State::Header { seen, len } = &mut self.state {
            let take = chunk.len().min(HEADER - *len);
            for (place, byte) in seen.iter_mut().skip(*len).zip(chunk.split_to(take)) {
                *place = byte;
            }
            *len += take;
            if *len < HEADER {
                return Ok(false);
            }
            let [flag, length @ ..] = *seen;
            self.begin(flag, u32::from_be_bytes(length))?;
        }
        let State::Message { length, parts, .. } = &mut self.state else { return Ok(false) };
        let missing = length.saturating_sub(parts.len());
        let part = chunk.split_to(missing.min(chunk.len()));
        self.charge.grow(part.len() as u64)?;
        parts.push(part, missing);
        Ok(parts.len() == *length)
    }

    /// Whether nothing of a message was taken yet.
    pub(crate) fn is_untouched(&self) -> bool {
        matches!(self.state, State::Header { len: 0, .. })
    }

    /// The body ended.
    ///
    /// # Errors
    /// [`Fault::BadInput`] if it held no whole message.
    pub(crate) fn finish(self) -> Result<(Payload, Charge), Fault> {
        match self.state {
            State::Header { len: 0, .. } => Err(wrong_count("none")),
            State::Message { packed, length, parts } if parts.len() == length => {
                Ok((Payload { packed, bytes: parts.join() }, self.charge))
            }
            _ => Err(Fault::bad_input("", "the request ended within a message")),
        }
    }

    fn begin(&mut self, flag: u8, length: u32) -> Result<(), Fault> {
        let packed = match flag {
            0 => false,
            1 => true,
            _ => return Err(Fault::bad_input("", "the frame's flag is neither 0 nor 1")),
        };
        let slack = if packed { PACKED_SLACK } else { 0 };
        if u64::from(length) > self.limit.saturating_add(slack) {
            let used = (!packed).then_some(u64::from(length));
            return Err(Fault::limit(LimitKind::Input, self.limit, used));
        }
        self.charge.expect(length.into())?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.state = State::Message { packed, length, parts: Parts::None };
        Ok(())
    }
}

impl Parts {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(bytes) => bytes.len(),
            Self::Joined(bytes) => bytes.len(),
        }
    }

    /// Takes a chunk where `missing` bytes are. One that is not the whole message, or is small, is
    /// copied: it may be a few bytes of a large buffer, which would be kept for as long as the rest
    /// takes, or for as long as the message waits.
    fn push(&mut self, chunk: Bytes, missing: usize) {
        match self {
            Self::Joined(joined) => joined.put(chunk),
            _ if chunk.is_empty() => {}
            _ if chunk.len() == missing && SMALL <= chunk.len() => *self = Self::One(chunk),
            _ if chunk.len() == missing => *self = Self::One(Bytes::copy_from_slice(&chunk)),
            _ => *self = Self::Joined(BytesMut::from(&*chunk)),
        }
    }

    fn join(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Joined(bytes) => bytes.freeze(),
        }
    }
}

fn wrong_count(got: &str) -> Fault {
    Fault::bad_input("", format!("a unary call takes exactly one request message, got {got}"))
}

/// The header of a response message.
pub(crate) fn header(packed: bool, length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    [u8::from(packed), a, b, c, d]
}

#[cfg(test)]
mod tests;
