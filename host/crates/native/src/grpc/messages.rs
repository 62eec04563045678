//! What comes from a server: messages within a bound, and the status.

use std::{future::poll_fn, pin::Pin};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use super::Status;

const PREFIX: usize = 5;

/// The messages of an answer.
#[derive(Debug)]
pub(crate) struct Messages {
    body: Incoming,
    /// Of a message that is not whole yet, with its prefix.
    held: BytesMut,
    /// The most that a message may be.
    most: usize,
    trailers: Option<HeaderMap>,
    ended: bool,
}

/// Why there is nothing more.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection or the call broke off.
    Transport(hyper::Error),
    /// It said what is no gRPC; what, in words.
    Garbage(String),
    TooLarge(u64),
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
        Ok(Self { body, held: BytesMut::new(), most, trailers, ended: only_head })
    }

    /// The next message; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            if self.ended {
                return if self.held.is_empty() {
                    Ok(None)
                } else {
                    Err(Broken::Garbage("a message that is cut off".to_owned()))
                };
            }
            match poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                None => self.ended = true,
                Some(Err(error)) => return Err(Broken::Transport(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.held.extend_from_slice(&bytes),
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
            self.held.reserve(missing);
            return Ok(None);
        }
        self.held.advance(PREFIX);
        Ok(Some(self.held.split_to(wanted).freeze()))
    }
}
