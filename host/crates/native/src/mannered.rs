//! A connection to a server whose [manners](roadstead_manners) are watched.
//!
//! Frames that ask for nothing cost the host more than the server that sends them. Reading fails
//! for who sends more of them than its calls explain, which ends the connection.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use roadstead_manners::Server;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What those who use a connection know of its manners, and add to them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account(Arc<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Messages of streams to the server that have earned nothing yet.
    messages: AtomicU64,
    flooded: AtomicBool,
}

impl Account {
    /// A message of a stream goes out.
    pub(crate) fn message(&self) {
        self.0.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the connection was ended for its manners.
    pub(crate) fn flooded(&self) -> bool {
        self.0.flooded.load(Ordering::Acquire)
    }
}

/// The stream of a connection to a server.
pub(crate) struct Mannered<S> {
    stream: S,
    account: Account,
    manners: Server,
}

impl<S> Mannered<S> {
    pub(crate) fn new(stream: S, account: Account) -> Self {
        Self { stream, account, manners: Server::default() }
    }

    /// Looks at what came.
    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        let messages = self.account.0.messages.swap(0, Ordering::Relaxed);
        self.manners.messages(messages);
        self.manners.received(bytes).map_err(|flood| {
            self.account.0.flooded.store(true, Ordering::Release);
            io::Error::other(flood)
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mannered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.came(buffer.filled().get(before..).unwrap_or_default()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mannered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.manners.sent(bytes.get(..sent).unwrap_or_default());
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        let mut left = sent;
        for slice in slices {
            let part = left.min(slice.len());
            self.manners.sent(slice.get(..part).unwrap_or_default());
            left -= part;
        }
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const UPDATE: [u8; 13] = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    /// A message of one byte.
    const MESSAGE: [u8; 10] = [0, 0, 1, 0, 0, 0, 0, 0, 1, 0];

    #[tokio::test]
    async fn who_floods_is_read_no_more_and_who_gets_messages_may_say_so() {
        let account = Account::default();
        let (mut server, host) = tokio::io::duplex(1 << 16);
        let mut host = Mannered::new(host, account.clone());
        let mut buffer = [0; 2 * UPDATE.len()];
        host.write_all(roadstead_manners::PREFACE).await.unwrap();
        for _ in 0..20_000 {
            account.message();
            host.write_all(&MESSAGE).await.unwrap();
            server.write_all(&UPDATE.repeat(2)).await.unwrap();
            host.read_exact(&mut buffer).await.unwrap();
            server.read_exact(&mut [0; MESSAGE.len()]).await.unwrap();
        }
        assert!(!account.flooded());
        let flood = async {
            loop {
                server.write_all(&UPDATE).await.unwrap();
            }
        };
        let reads = async { while host.read_exact(&mut buffer).await.is_ok() {} };
        tokio::select! {
            () = reads => {}
            () = flood => {}
        }
        assert!(account.flooded());
    }
}
