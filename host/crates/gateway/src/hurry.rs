//! A connection that must say something soon, and take what it is told.
//!
//! Until the first bytes tell HTTP/1.1 from HTTP/2, no timeout of hyper runs, and none ever runs
//! while it writes. This wrapper ends connections that stay silent or stop within HTTP/2's
//! preface, and those that read nothing while something waits for them. It counts what they take
//! of bodies, and over HTTP/2 it watches their [manners](roadstead_manners).

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use roadstead_manners::{Client, PREFACE};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// What a connection has taken so far, and how it behaved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(Arc<Traffic>);

#[derive(Debug, Default)]
struct Traffic {
    bytes: AtomicU64,
    flooded: AtomicBool,
    /// Set once it is known what it speaks.
    http2: OnceLock<bool>,
}

impl Taken {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of bodies. What else is sent, a client may call for without reading any.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Whether the connection speaks HTTP/2, once it has said so much.
    pub(crate) fn http2(&self) -> Option<bool> {
        self.0.http2.get().copied()
    }

    /// Whether the connection was ended for its manners.
    pub(crate) fn flooded(&self) -> bool {
        self.0.flooded.load(Ordering::Relaxed)
    }
}

/// A stream whose first bytes must come, and whose bytes must go, in time.
pub(crate) struct Hurried<S> {
    stream: S,
    taken: Taken,
    write_patience: Duration,
    /// Runs while bytes wait to be written.
    writing: Option<Pin<Box<Sleep>>>,
    protocol: Protocol,
    streams: u32,
}

enum Protocol {
    /// So many bytes of the preface came, and the rest must come in time.
    Unknown(usize, Pin<Box<Sleep>>),
    Http1,
    Http2(Client),
}

impl<S> Hurried<S> {
    /// `streams` is how many the connection may have open.
    pub(crate) fn new(
        stream: S,
        taken: Taken,
        (read_patience, write_patience): (Duration, Duration),
        streams: u32,
    ) -> Self {
        let protocol = Protocol::Unknown(0, Box::pin(sleep(read_patience)));
        Self { stream, taken, write_patience, writing: None, protocol, streams }
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

    fn sent(&mut self, bytes: &[u8]) {
        let taken = match &mut self.protocol {
            Protocol::Http2(manners) => manners.sent(bytes),
            Protocol::Http1 | Protocol::Unknown(..) => bytes.len() as u64,
        };
        if taken > 0 {
            self.taken.add(taken);
        }
    }
}

impl<S: AsyncWrite + Unpin> Hurried<S> {
    /// Looks at what came.
    fn came(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> io::Result<()> {
        let mut preface = 0;
        if let Protocol::Unknown(seen, _) = &mut self.protocol {
            let expected = PREFACE.get(*seen..).unwrap_or_default();
            preface = bytes.len().min(expected.len());
            *seen += preface;
            if bytes.get(..preface) != expected.get(..preface) {
                self.protocol = Protocol::Http1;
                self.taken.0.http2.get_or_init(|| false);
            } else if *seen == PREFACE.len() {
                self.protocol = Protocol::Http2(Client::new(self.streams));
                self.taken.0.http2.get_or_init(|| true);
            }
        }
        let Protocol::Http2(manners) = &mut self.protocol else { return Ok(()) };
        let frames = bytes.get_mut(preface..).unwrap_or_default();
        let Err(flood) = manners.received(frames) else { return Ok(()) };
        self.taken.0.flooded.store(true, Ordering::Relaxed);
        // As well as it goes: nobody waits for who floods.
        if let Some(farewell) = manners.farewell() {
            let stream = &mut self.stream;
            if Pin::new(&mut *stream).poll_write(cx, &farewell).is_ready() {
                drop(Pin::new(stream).poll_flush(cx));
            }
        }
        Err(io::Error::other(flood))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Hurried<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Pending => {
                let Protocol::Unknown(_, until) = &mut this.protocol else { return Poll::Pending };
                ready!(until.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(Ok(())) => {
                let bytes = buffer.filled_mut().get_mut(before..).unwrap_or_default();
                Poll::Ready(this.came(cx, bytes))
            }
            failed => failed,
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
        if let Poll::Ready(Ok(sent)) = polled {
            self.sent(bytes.get(..sent).unwrap_or_default());
        }
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut left)) = polled {
            for slice in slices {
                let sent = left.min(slice.len());
                self.sent(slice.get(..sent).unwrap_or_default());
                left -= sent;
            }
        }
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
        let mut stream = Hurried::new(server, Taken::default(), (PATIENCE, PATIENCE), 1);
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
        for first in
            [&b"GET / HTTP/1.1\r\n"[..], b"PO", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03"]
        {
            assert_eq!(read_after(first, late).await.unwrap(), 4);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_hung_up_on_and_who_reads_slowly_is_not() {
        for (pause, served) in [(PATIENCE / 2, true), (PATIENCE * 2, false)] {
            let (mut client, server) = tokio::io::duplex(64);
            let taken = Taken::default();
            let mut stream = Hurried::new(server, taken.clone(), (PATIENCE, PATIENCE), 1);
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
