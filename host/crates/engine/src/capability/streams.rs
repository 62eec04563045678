//! Streams of 0.3 on their way out of a guest: each piece is paid for before it goes on, and what
//! becomes of them in the end may be looked at.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{
    StreamExt as _,
    channel::{mpsc, oneshot},
    stream::Peekable,
};
use wasmtime::{
    StoreContextMut,
    component::{
        Destination, FutureConsumer, FutureReader, Lift, Lower, Source, StreamConsumer,
        StreamProducer, StreamReader, StreamResult,
    },
};

/// The most that is copied out of the guest at once.
const PIECE: usize = 64 << 10;

/// Takes the pay for what goes out.
pub(crate) trait Toll: Send + Unpin + 'static {
    /// Whether a piece of so many bytes may pass; without it, the stream ends.
    ///
    /// # Errors
    /// The call ends.
    fn poll_pay(&mut self, context: &mut Context<'_>, bytes: usize)
    -> Poll<wasmtime::Result<bool>>;
}

/// Takes what the guest sends.
struct Gate<P> {
    toll: P,
    to: mpsc::Sender<Bytes>,
}

/// Hands on what was paid for.
struct Paid(Peekable<mpsc::Receiver<Bytes>>);

/// Looks at a result when it is there, and hands it on.
struct Settle<V, F> {
    then: Option<F>,
    to: Option<oneshot::Sender<V>>,
}

/// A stream of the same bytes, each paid for before it comes out.
pub(crate) fn tolled<T: Send + 'static>(
    mut store: StoreContextMut<'_, T>,
    data: StreamReader<u8>,
    toll: impl Toll,
) -> wasmtime::Result<StreamReader<u8>> {
    let (to, from) = mpsc::channel(0);
    data.pipe(&mut store, Gate { toll, to })?;
    StreamReader::new(&mut store, Paid(from.peekable()))
}

/// What `then` makes of a result, once it is there.
pub(crate) fn settled<T, V, F>(
    mut store: StoreContextMut<'_, T>,
    outcome: FutureReader<V>,
    then: F,
) -> wasmtime::Result<FutureReader<V>>
where
    T: Send + 'static,
    V: Lift + Lower + Send + Sync + Unpin + 'static,
    F: FnOnce(V) -> V + Send + Unpin + 'static,
{
    let (to, from) = oneshot::channel();
    outcome.pipe(&mut store, Settle { then: Some(then), to: Some(to) })?;
    FutureReader::new(&mut store, from)
}

impl<T, P: Toll> StreamConsumer<T> for Gate<P> {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'_, T>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let waiting = if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending };
        match self.to.poll_ready(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending => return waiting,
        }
        let mut source = source.as_direct(store);
        let offered = source.remaining();
        let piece = offered.get(..PIECE).unwrap_or(offered);
        // Nothing to take is a question whether there is room.
        if piece.is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.toll.poll_pay(context, piece.len()) {
            Poll::Ready(Ok(true)) => {}
            Poll::Ready(Ok(false)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return waiting,
        }
        let piece = Bytes::copy_from_slice(piece);
        source.mark_read(piece.len());
        let sent = self.to.start_send(piece);
        Poll::Ready(Ok(if sent.is_ok() { StreamResult::Completed } else { StreamResult::Dropped }))
    }
}

impl<T> StreamProducer<T> for Paid {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let peek = Pin::new(&mut self.0).poll_peek(context).map(|piece| piece.is_some());
        match peek {
            Poll::Ready(true) => {}
            Poll::Ready(false) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        }
        // A reader without room asks only whether something is there.
        if destination.remaining(&mut store) != Some(0)
            && let Poll::Ready(Some(piece)) = self.0.poll_next_unpin(context)
        {
            destination.set_buffer(piece);
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

impl<T, V, F> FutureConsumer<T> for Settle<V, F>
where
    V: Lift + Send + Unpin + 'static,
    F: FnOnce(V) -> V + Send + Unpin + 'static,
{
    type Item = V;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, T>,
        mut source: Source<'_, V>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut outcome = None;
        source.read(store, &mut outcome)?;
        if let (Some(then), Some(to), Some(outcome)) = (self.then.take(), self.to.take(), outcome) {
            // The guest may have lost interest.
            to.send(then(outcome)).ok();
        }
        Poll::Ready(Ok(()))
    }
}
