//! Messages between a caller and a guest: a queue that is bounded in messages and in bytes.
//!
//! Whoever writes waits while the queue is full, whoever reads while it is empty; each side sees
//! when the other is gone.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;

/// The queue is full from so many bytes or messages on. What makes it full may be longer: one
/// message, or what a guest wrote at once.
const BYTES: usize = 256 << 10;
const MESSAGES: usize = 1024;

/// A pipe whose end is told with an `E`.
pub(crate) fn pipe<E>(activity: &Arc<Activity>) -> (Writer<E>, Reader<E>) {
    let shared = Arc::new(Mutex::new(State {
        queue: VecDeque::new(),
        bytes: 0,
        end: None,
        written: true,
        read: true,
        writer: None,
        reader: None,
        taken: None,
    }));
    let writer = Writer { shared: Arc::clone(&shared), activity: Arc::clone(activity) };
    (writer, Reader { shared, activity: Arc::clone(activity) })
}

/// When a message last went any way.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

struct State<E> {
    queue: VecDeque<Bytes>,
    bytes: usize,
    /// What is told after the last message.
    end: Option<E>,
    /// Whether the writer is there, and the reader.
    written: bool,
    read: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
    /// Who waits until everything was read.
    taken: Option<Waker>,
}

pub(crate) struct Writer<E> {
    shared: Arc<Mutex<State<E>>>,
    activity: Arc<Activity>,
}

pub(crate) struct Reader<E> {
    shared: Arc<Mutex<State<E>>>,
    activity: Arc<Activity>,
}

/// The other side is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<E> {
    Message(Bytes),
    /// Told once.
    End(E),
    /// The writer went away without a word, or the end was told before.
    Gone,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), last: AtomicU64::new(0) })
    }

    fn note(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// When it was.
    pub(crate) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

impl<E> State<E> {
    fn is_full(&self) -> bool {
        BYTES <= self.bytes || MESSAGES <= self.queue.len()
    }

    /// Whether it is worth waking the writer: not for each message.
    fn is_roomy(&self) -> bool {
        self.bytes <= BYTES / 2 && self.queue.len() <= MESSAGES / 2
    }
}

impl<E> Writer<E> {
    /// Waits until there is room.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let mut state = self.shared.lock();
        if !state.read {
            return Poll::Ready(Err(Gone));
        }
        if !state.is_full() {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Writes messages, whether there is room for all of them or not.
    pub(crate) fn write(&self, messages: impl IntoIterator<Item = Bytes>) {
        let mut state = self.shared.lock();
        for message in messages {
            state.bytes = state.bytes.saturating_add(message.len());
            state.queue.push_back(message);
        }
        wake(state.reader.take(), || drop(state));
        self.activity.note();
    }

    /// Waits until nobody reads any more.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if !state.read {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until everything was read, the end too, or nobody reads any more.
    pub(crate) fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if !state.read || (state.queue.is_empty() && state.end.is_none()) {
            return Poll::Ready(());
        }
        state.taken = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Says that there is no more.
    pub(crate) fn end(&self, end: E) {
        let mut state = self.shared.lock();
        state.end = Some(end);
        wake(state.reader.take(), || drop(state));
    }
}

impl<E> Reader<E> {
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next<E>> {
        let mut state = self.shared.lock();
        if let Some(message) = state.queue.pop_front() {
            state.bytes = state.bytes.saturating_sub(message.len());
            let roomy = state.is_roomy();
            let waker = state.writer.take_if(|_| roomy);
            wake(waker, || drop(state));
            self.activity.note();
            return Poll::Ready(Next::Message(message));
        }
        if let Some(end) = state.end.take() {
            wake(state.taken.take(), || drop(state));
            return Poll::Ready(Next::End(end));
        }
        if !state.written {
            return Poll::Ready(Next::Gone);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits for a message or the end, and takes neither.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if !state.queue.is_empty() || state.end.is_some() || !state.written {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<E> Drop for Writer<E> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.written = false;
        wake(state.reader.take(), || drop(state));
    }
}

impl<E> Drop for Reader<E> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.read = false;
        let left = std::mem::take(&mut state.queue);
        let taken = state.taken.take();
        wake(state.writer.take(), || drop(state));
        wake(taken, || drop(left));
    }
}

/// Wakes without holding the lock, for the one who wakes may look at once.
fn wake(waker: Option<Waker>, unlock: impl FnOnce()) {
    unlock();
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_full_pipe_holds_its_writer_until_half_is_read() {
        let (writer, mut reader) = pipe::<()>(&Activity::new());
        let ready = |writer: &Writer<()>| poll_fn(|cx| writer.poll_ready(cx)).now_or_never();
        let message = Bytes::from(vec![0; BYTES / 4]);
        for _ in 0..4 {
            assert_eq!(ready(&writer), Some(Ok(())));
            writer.write([message.clone()]);
        }
        assert_eq!(ready(&writer), None);
        let next = poll_fn(|cx| reader.poll_next(cx)).now_or_never();
        assert_eq!(next, Some(Next::Message(message)));
        assert_eq!(ready(&writer), Some(Ok(())));
        writer.write((0..MESSAGES).map(|_| Bytes::new()));
        assert_eq!(ready(&writer), None);
    }

    #[tokio::test]
    async fn who_wrote_the_end_hears_when_all_is_taken() {
        let (writer, mut reader) = pipe::<u8>(&Activity::new());
        writer.write([Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
        writer.end(7);
        let taken = tokio::spawn(async move { poll_fn(|cx| writer.poll_taken(cx)).await });
        for _ in 0..2 {
            poll_fn(|cx| reader.poll_next(cx)).await;
            tokio::task::yield_now().await;
            assert!(!taken.is_finished());
        }
        assert_eq!(poll_fn(|cx| reader.poll_next(cx)).await, Next::End(7));
        taken.await.unwrap();
        let (writer, reader) = pipe::<u8>(&Activity::new());
        writer.write([Bytes::from_static(b"a")]);
        drop(reader);
        poll_fn(|cx| writer.poll_taken(cx)).await;
    }

    #[tokio::test]
    async fn a_slow_reader_wakes_its_writer() {
        let (writer, mut reader) = pipe::<u8>(&Activity::new());
        let writing = tokio::spawn(async move {
            for at in 0..10 * MESSAGES {
                poll_fn(|cx| writer.poll_ready(cx)).await.unwrap();
                writer.write([Bytes::from(at.to_string())]);
            }
            writer.end(7);
        });
        for at in 0..10 * MESSAGES {
            let next = poll_fn(|cx| reader.poll_next(cx)).await;
            assert_eq!(next, Next::Message(at.to_string().into()));
        }
        writing.await.unwrap();
        assert_eq!(poll_fn(|cx| reader.poll_next(cx)).await, Next::End(7));
        assert_eq!(poll_fn(|cx| reader.poll_next(cx)).await, Next::Gone);
    }

    #[tokio::test]
    async fn each_side_sees_when_the_other_is_gone() {
        let (writer, reader) = pipe::<()>(&Activity::new());
        writer.write([Bytes::from_static(b"left")]);
        drop(reader);
        poll_fn(|cx| writer.poll_gone(cx)).await;
        assert_eq!(poll_fn(|cx| writer.poll_ready(cx)).await, Err(Gone));
        let (writer, mut reader) = pipe::<()>(&Activity::new());
        writer.write([Bytes::from_static(b"last")]);
        drop(writer);
        let next = poll_fn(|cx| reader.poll_next(cx)).await;
        assert_eq!(next, Next::Message(Bytes::from_static(b"last")));
        poll_fn(|cx| reader.poll_ready(cx)).await;
        assert_eq!(poll_fn(|cx| reader.poll_next(cx)).await, Next::Gone);
    }
}
