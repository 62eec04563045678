//! From what one instance writes to lines of its module's log.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use roadstead_domain::{ByteRate, CallId, Version};
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::{
    ModuleLog,
    line::{LONGEST, Source, readable},
    rate::{Bucket, Dropped},
};
use crate::capability::Secrets;

/// The most that one call of the guest writes: no write keeps its thread for long, be it all line
/// ends. Of a message of `wasi:logging` the rest is dropped, a stream takes it by and by.
const AT_ONCE: usize = 8 << 10;

/// The most lines of one message.
const LINES: usize = 256;

/// The most bytes of a message's context.
const CONTEXT: usize = 256;

/// Where the instances of one module version write. Made once per version.
#[derive(Debug, Clone)]
pub(crate) struct VersionLog {
    log: Arc<ModuleLog>,
    version: Version,
    bucket: Arc<Mutex<Bucket>>,
    /// What no line may show.
    secrets: Option<Arc<Secrets>>,
}

/// Where one instance writes.
#[derive(Debug, Clone)]
pub(crate) struct GuestLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    to: VersionLog,
    call: AtomicU64,
    stdout: Mutex<Vec<u8>>,
    stderr: Mutex<Vec<u8>>,
}

/// The guest's stdout or stderr.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    log: GuestLog,
    source: Source,
}

impl VersionLog {
    pub(crate) fn new(log: Arc<ModuleLog>, version: Version, rate: ByteRate) -> Self {
        let bucket = Arc::new(Mutex::new(Bucket::new(rate, Instant::now())));
        Self { log, version, bucket, secrets: None }
    }

    /// The same, with names in the place of secrets.
    pub(crate) fn without(self, secrets: &Arc<Secrets>) -> Self {
        Self { secrets: Some(Arc::clone(secrets)), ..self }
    }

    pub(crate) fn guest(&self, call: CallId) -> GuestLog {
        GuestLog(Arc::new(Inner {
            to: self.clone(),
            call: AtomicU64::new(call.0),
            stdout: Mutex::default(),
            stderr: Mutex::default(),
        }))
    }

    /// Keeps a line of so many bytes, if the rate allows it: only then is its text made.
    fn line(&self, call: CallId, source: Source, bytes: usize, text: impl FnOnce() -> String) {
        let now = Instant::now();
        let (admitted, dropped) = {
            let mut bucket = self.bucket.lock();
            (bucket.admit(bytes, now), bucket.remark(now))
        };
        // The remark stands before the line that is the first to be kept again.
        self.remark(call, dropped);
        if admitted {
            self.log.push(&self.version, call, source, self.redact(text()));
        }
    }

    /// The host's own word about a call, within the module's rate.
    pub(crate) fn host(&self, call: CallId, text: &str) {
        self.line(call, Source::Host, text.len(), || readable(text.as_bytes()));
    }

    /// A text without secrets.
    pub(super) fn redact(&self, text: String) -> String {
        match &self.secrets {
            Some(secrets) => secrets.redact(text),
            None => text,
        }
    }

    fn remark(&self, call: CallId, dropped: Option<Dropped>) {
        if let Some(Dropped { lines, bytes }) = dropped {
            let text = format!(
                "{lines} lines ({bytes} bytes) were dropped here: more than limits.log_rate, or \
                 than one message may hold"
            );
            self.log.push(&self.version, call, Source::Host, text);
        }
    }
}

impl GuestLog {
    pub(crate) fn output(&self, source: Source) -> Output {
        Output { log: self.clone(), source }
    }

    /// From now on lines belong to this call.
    pub(crate) fn begin_call(&self, call: CallId) {
        self.0.call.store(call.0, Ordering::Relaxed);
    }

    /// Writes out what has no line end yet, and what was dropped.
    pub(crate) fn end_call(&self) {
        for source in [Source::Stdout, Source::Stderr] {
            let rest = std::mem::take(&mut *self.0.buffer(source).lock());
            if !rest.is_empty() {
                self.raw(source, &rest);
            }
        }
        let dropped = self.0.to.bucket.lock().remark(Instant::now());
        self.0.to.remark(self.call(), dropped);
    }

    /// A message of `wasi:logging`; each of its lines is one line.
    pub(crate) fn message(&self, source: Source, context: &str, message: &str) {
        let (context, _) = split(context, CONTEXT);
        let (kept, cut) = split(message, AT_ONCE);
        let mut lines = kept.lines();
        for mut line in lines.by_ref().take(LINES) {
            loop {
                let (piece, rest) = split(line, LONGEST);
                self.0.to.line(self.call(), source, context.len() + piece.len(), || {
                    let piece = readable(piece.as_bytes());
                    if context.is_empty() {
                        return piece;
                    }
                    format!("{}: {piece}", readable(context.as_bytes()))
                });
                if rest.is_empty() {
                    break;
                }
                line = rest;
            }
        }
        let rest = lines.map(|line| line.len() + 1).sum::<usize>() + cut.len();
        if 0 < rest {
            self.0.to.bucket.lock().refuse(rest);
        }
    }

    fn call(&self) -> CallId {
        CallId(self.0.call.load(Ordering::Relaxed))
    }

    /// A line as the guest wrote it.
    fn raw(&self, source: Source, line: &[u8]) {
        self.0.to.line(self.call(), source, line.len(), || readable(line));
    }

    /// Takes what the guest wrote, and logs every line that is complete or too long.
    pub(super) fn write(&self, source: Source, bytes: &[u8]) {
        let mut held = self.0.buffer(source).lock();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let mut text = text;
            while held.len().saturating_add(text.len()) > LONGEST {
                let (fits, rest) =
                    text.split_at(LONGEST.saturating_sub(held.len()).min(text.len()));
                held.extend_from_slice(fits);
                self.raw(source, &held);
                held.clear();
                text = rest;
            }
            held.extend_from_slice(text);
            if ended {
                let line = held.strip_suffix(b"\r").unwrap_or(&held);
                self.raw(source, line);
                held.clear();
            }
        }
    }
}

/// The first bytes of a text, at most so many, and the others.
fn split(text: &str, most: usize) -> (&str, &str) {
    text.split_at(text.floor_char_boundary(most))
}

impl Inner {
    fn buffer(&self, source: Source) -> &Mutex<Vec<u8>> {
        if source == Source::Stderr { &self.stderr } else { &self.stdout }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.write(self.source, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(AT_ONCE)
    }
}

impl tokio::io::AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = bytes.get(..AT_ONCE).unwrap_or(bytes);
        self.log.write(self.source, taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
