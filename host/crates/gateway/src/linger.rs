//! A connection whose last answer arrives.
//!
//! A socket that is closed while the peer's bytes lie unread in it, window updates as likely as
//! not, is reset, and what is still on its way to the peer is lost. So the host says that it is
//! done, and then reads until the peer is done too, for a second at most.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long the peer may take to close its side.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Lingering<S> {
    stream: S,
    /// Runs once the host's side is closed.
    closed: Option<Pin<Box<Sleep>>>,
}

impl<S> Lingering<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, closed: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closed.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let patience = this.closed.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        let mut bytes = [0; 4 << 10];
        while patience.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                // The peer is done, or gone.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn what_the_peer_still_sends_costs_it_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let length = 2 << 20;
        let serving = tokio::spawn(async move {
            let mut tcp = Lingering::new(listener.accept().await.unwrap().0);
            tcp.write_all(&vec![7; length]).await.unwrap();
            tcp.shutdown().await.unwrap();
        });
        let mut peer = TcpStream::connect(address).await.unwrap();
        let mut got = vec![0; 1 << 10];
        peer.read_exact(&mut got).await.unwrap();
        while got.len() < length {
            peer.write_all(b"a window update").await.unwrap();
            assert_ne!(peer.read_buf(&mut got).await.unwrap(), 0);
        }
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        drop(peer);
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_ends_is_left() {
        let (near, far) = tokio::io::duplex(64);
        let mut near = Lingering::new(near);
        timeout(PATIENCE * 2, near.shutdown()).await.unwrap().unwrap();
        drop(far);
    }
}
