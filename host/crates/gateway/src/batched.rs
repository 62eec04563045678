//! A connection whose answers go out together.
//!
//! The HTTP library writes as soon as one answer is ready, and each write costs a system call and
//! a packet on both sides. While a connection has several requests open, its writes wait once
//! for the tasks that are ready to run: what those answer goes along. A write that waited is never
//! made to wait again before it is done.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) struct Batched<S, F> {
    stream: S,
    /// Whether other answers may be on their way.
    crowded: F,
    /// Whether what is being written has waited.
    waited: bool,
}

impl<S, F: Fn() -> bool> Batched<S, F> {
    pub(crate) fn new(stream: S, crowded: F) -> Self {
        Self { stream, crowded, waited: false }
    }

    /// Lets the tasks that are ready run first, once.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waited || !(self.crowded)() {
            return Poll::Ready(());
        }
        self.waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for Batched<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin, F: Fn() -> bool + Unpin> AsyncWrite for Batched<S, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.wait(cx));
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.wait(cx));
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.waited = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::{FutureExt as _, task::noop_waker_ref};
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn a_write_among_others_waits_once() {
        let crowded = Cell::new(true);
        let mut stream = Batched::new(Vec::new(), || crowded.get());
        let cx = &mut Context::from_waker(noop_waker_ref());
        let mut write = |stream: &mut Batched<_, _>, bytes: &[u8]| {
            Pin::new(stream).poll_write(cx, bytes).map(Result::unwrap)
        };
        assert_eq!(write(&mut stream, b"ab"), Poll::Pending);
        assert_eq!(write(&mut stream, b"ab"), Poll::Ready(2));
        assert_eq!(write(&mut stream, b"c"), Poll::Ready(1), "until all is written");
        stream.flush().now_or_never().unwrap().unwrap();
        assert_eq!(write(&mut stream, b"d"), Poll::Pending);
        crowded.set(false);
        assert_eq!(write(&mut stream, b"d"), Poll::Ready(1));
        assert_eq!(stream.stream, b"abcd");
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let mut stream = Batched::new(Vec::new(), || true);
        stream.write_all(b"abc").await.unwrap();
        assert_eq!(stream.stream, b"abc");
    }
}
