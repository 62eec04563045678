//! What goes to a server: one message, or a stream of them as the caller sends it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::mannered::Account;

/// A piece of a stream.
#[derive(Debug)]
pub(crate) enum Part {
    Message(Bytes),
    /// The stream is whole.
    End,
}

/// The caller is gone: the server must not take what came for the whole.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the caller gave its stream up")]
pub(crate) struct GaveUp;

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Outgoing {
    ready: VecDeque<Bytes>,
    more: Option<mpsc::Receiver<Part>>,
    account: Account,
}

impl Outgoing {
    pub(crate) fn one(message: Bytes) -> Self {
        Self { ready: framed(message), more: None, account: Account::default() }
    }

    /// What comes by the channel. One that closes without [`Part::End`] resets the call.
    pub(crate) fn stream(more: mpsc::Receiver<Part>) -> Self {
        Self { ready: VecDeque::new(), more: Some(more), account: Account::default() }
    }

    /// Its messages are put down to the account of a connection.
    pub(crate) fn by(&mut self, account: &Account) {
        self.account = account.clone();
    }
}

/// A message behind its length, and uncompressed. Large ones are not copied for it.
fn framed(message: Bytes) -> VecDeque<Bytes> {
    const COPIED: usize = 16 << 10;
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let small = message.len() <= COPIED;
    let mut prefix = BytesMut::with_capacity(5 + if small { message.len() } else { 0 });
    prefix.put_u8(0);
    prefix.put_u32(length);
    if small {
        prefix.extend_from_slice(&message);
        return VecDeque::from([prefix.freeze()]);
    }
    VecDeque::from([prefix.freeze(), message])
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = GaveUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GaveUp>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(more) = &mut self.more else { return Poll::Ready(None) };
            match ready!(more.poll_recv(cx)) {
                Some(Part::Message(message)) => {
                    self.account.message();
                    self.ready = framed(message);
                }
                Some(Part::End) => self.more = None,
                None => {
                    self.more = None;
                    return Poll::Ready(Some(Err(GaveUp)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.more.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
