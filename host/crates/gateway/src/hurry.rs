//! A connection that must say something soon, and take what it is told.
//!
//! Until the first bytes tell HTTP/1.1 from HTTP/2, no timeout of hyper runs, and none ever runs
//! while it writes. This wrapper ends connections that stay silent or stop within HTTP/2's
//! preface, and those that read nothing while something waits for them. It counts what they take.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Length of HTTP/2's preface, by which the version is known.
const PREFACE: usize = 24;

/// Bytes that a connection has taken so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(Arc<AtomicU64>);

impl Taken {
    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream whose first bytes must come, and whose bytes must go, in time.
pub(crate) struct Hurried<S> {
    stream: S,
    taken: Taken,
    write_patience: Duration,
    /// Runs while bytes wait to be written.
    writing: Option<Pin<Box<Sleep>>>,
    /// Bytes that came, and until when the rest of the preface must; none once it did.
    waiting: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<S> Hurried<S> {
    pub(crate) fn new(
        stream: S,
        taken: Taken,
        read_patience: Duration,
        write_patience: Duration,
    ) -> Self {
        let waiting = Some((0, Box::pin(sleep(read_patience))));
        Self { stream, taken, write_patience, writing: None, waiting }
    }

    fn taken(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.taken.add(*bytes);
        }
        polled
    }

    /// Fails what has been waiting to be written for too long.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.writing = None;
            return polled;
        }
        let patience = self.write_patience;
        let until = self.writing.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Hurried<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let Some((seen, until)) = &mut this.waiting else {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        };
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Pending => {
                ready!(until.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            done => {
                let first = buffer.filled().get(before).copied();
                let decided = *seen == 0 && first != Some(b'P');
                *seen += buffer.filled().len() - before;
                if decided || *seen >= PREFACE {
                    this.waiting = None;
                }
                done
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Hurried<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        let polled = self.taken(polled);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        let polled = self.taken(polled);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::advance,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn read_after(first: &[u8], wait: Duration) -> io::Result<usize> {
        let (mut client, server) = tokio::io::duplex(64);
        let mut stream = Hurried::new(server, Taken::default(), PATIENCE, PATIENCE);
        let mut buffer = [0; 64];
        if !first.is_empty() {
            client.write_all(first).await.unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), first.len());
        }
        tokio::spawn(async move {
            sleep(wait).await;
            client.write_all(b"more").await.ok();
            std::future::pending::<()>().await;
        });
        stream.read(&mut buffer).await
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_half_a_preface_end_the_connection() {
        advance(Duration::from_secs(1)).await;
        let late = PATIENCE + Duration::from_secs(1);
        for first in [&b""[..], b"P", b"PRI * HTTP/2.0"] {
            let error = read_after(first, late).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_spoke_in_time_may_be_slow() {
        let late = PATIENCE * 10;
        for first in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03"]
        {
            assert_eq!(read_after(first, late).await.unwrap(), 4);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_hung_up_on_and_who_reads_slowly_is_not() {
        for (pause, served) in [(PATIENCE / 2, true), (PATIENCE * 2, false)] {
            let (mut client, server) = tokio::io::duplex(64);
            let taken = Taken::default();
            let mut stream = Hurried::new(server, taken.clone(), PATIENCE, PATIENCE);
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                loop {
                    sleep(pause).await;
                    client.read_exact(&mut buffer).await.unwrap();
                }
            });
            let written = stream.write_all(&[0; 64 * 10]).await;
            assert_eq!(taken.bytes() == 64 * 10, served);
            let kind = written.err().map(|error| error.kind());
            assert_eq!(kind, (!served).then_some(io::ErrorKind::TimedOut));
        }
    }
}
