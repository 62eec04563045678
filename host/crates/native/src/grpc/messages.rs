//! What comes from a server: messages within a bound, and the status.

use std::{future::poll_fn, pin::Pin};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use roadstead_domain::Fault;
use roadstead_engine::AnswerHold;

use super::Status;

const PREFIX: usize = 5;

/// The messages of an answer.
#[derive(Debug)]
pub(crate) struct Messages {
    body: Incoming,
    arrived: Arrived,
    trailers: Option<HeaderMap>,
    ended: bool,
}

/// What has arrived and is not passed on. It grows by that alone, whatever length is announced.
#[derive(Debug)]
struct Arrived {
    /// Of a message that is not whole yet, with its prefix.
    held: BytesMut,
    /// The most that a message may be.
    most: usize,
    /// Where it is charged; nowhere for the host's own questions.
    room: Option<AnswerHold>,
}

/// Why there is nothing more.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection or the call broke off.
    Transport(hyper::Error),
    /// It said what is no gRPC; what, in words.
    Garbage(String),
    TooLarge(u64),
    /// The host has no room for it now.
    NoRoom(Fault),
}

impl Messages {
    /// # Errors
    /// [`Broken::Garbage`] where the head is not that of a gRPC answer. A status of an answer that
    /// is but a head is told by [`Messages::status`].
    pub(crate) fn new(response: Response<Incoming>, most: usize) -> Result<Self, Broken> {
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(Broken::Garbage(format!("HTTP status {}", head.status.as_u16())));
        }
        let kind = head.headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
            return Err(Broken::Garbage("an answer that is not gRPC".to_owned()));
        }
        let only_head = head.headers.contains_key("grpc-status");
        let trailers = only_head.then_some(head.headers);
        let arrived = Arrived { held: BytesMut::new(), most, room: None };
        Ok(Self { body, arrived, trailers, ended: only_head })
    }

    /// Charges what arrives to the host's budget.
    pub(crate) fn within(mut self, room: AnswerHold) -> Self {
        self.arrived.room = Some(room);
        self
    }

    /// The next message; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(message) = self.arrived.whole()? {
                return Ok(Some(message));
            }
            if self.ended {
                return if self.arrived.held.is_empty() {
                    Ok(None)
                } else {
                    Err(Broken::Garbage("a message that is cut off".to_owned()))
                };
            }
            match poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                None => self.ended = true,
                Some(Err(error)) => return Err(Broken::Transport(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.arrived.add(&bytes)?,
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    /// What it said at its end.
    pub(crate) fn status(&self) -> Result<Status, Broken> {
        let trailers = self.trailers.as_ref();
        let status = trailers.and_then(Status::of);
        status.ok_or_else(|| Broken::Garbage("an answer without a status".to_owned()))
    }
}

impl Arrived {
    fn add(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.charge(self.held.len().saturating_add(bytes.len()))?;
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Broken> {
        self.room.as_mut().map_or(Ok(()), |room| room.set(bytes)).map_err(Broken::NoRoom)
    }

    fn whole(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some((flag, length)) = self.held.get(..PREFIX).and_then(|prefix| {
            let (flag, length) = prefix.split_first()?;
            Some((*flag, u32::from_be_bytes(length.try_into().ok()?)))
        }) else {
            return Ok(None);
        };
        if flag != 0 {
            return Err(Broken::Garbage("a compressed message that nobody asked for".to_owned()));
        }
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        if wanted > self.most {
            return Err(Broken::TooLarge(length.into()));
        }
        let missing = wanted.saturating_add(PREFIX).saturating_sub(self.held.len());
        if missing > 0 {
            return Ok(None);
        }
        self.held.advance(PREFIX);
        let message = self.held.split_to(wanted).freeze();
        self.charge(self.held.len())?;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use roadstead_engine::AnswerRoom;

    use super::*;

    fn arrived(room: &AnswerRoom) -> Arrived {
        Arrived { held: BytesMut::new(), most: 4 << 20, room: Some(room.hold()) }
    }

    #[test]
    fn what_is_announced_takes_nothing_before_it_arrives() {
        let room = AnswerRoom::of_bytes(1 << 20);
        let mut first = arrived(&room);
        first.add(&[0, 0, 0x30, 0, 0]).unwrap();
        assert!(first.whole().unwrap().is_none());
        assert!(first.held.capacity() < 64 << 10, "{}", first.held.capacity());
        // Others have all of the room.
        let mut other = arrived(&room);
        assert!(other.add(&vec![0; 1 << 20]).is_ok());
    }

    #[test]
    fn what_arrives_is_charged_until_it_is_passed_on() {
        let room = AnswerRoom::of_bytes(1 << 20);
        let (mut first, mut second) = (arrived(&room), arrived(&room));
        first.add(&[0, 0, 0x0c, 0, 0]).unwrap();
        first.add(&vec![7; 0x0b_0000]).unwrap();
        let refused = second.add(&vec![0; 0x06_0000]).unwrap_err();
        assert!(matches!(refused, Broken::NoRoom(Fault::Overloaded { .. })), "{refused:?}");
        assert!(second.add(b"a little").is_ok());
        first.add(&vec![7; 0x01_0000]).unwrap();
        assert_eq!(first.whole().unwrap().map(|message| message.len()), Some(0x0c_0000));
        assert!(second.add(&vec![0; 0x06_0000]).is_ok());
        drop((first, second));
        assert!(arrived(&room).add(&vec![0; 1 << 20]).is_ok());
    }
}
