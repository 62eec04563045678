//! Streams of 0.3's TCP sockets: what they send is paid for, and a socket keeps its place until
//! its last stream is done, even where the guest has dropped the socket itself.

use std::{
    pin::Pin,
    sync::Arc,
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
        Destination, FutureConsumer, FutureReader, Source, StreamConsumer, StreamProducer,
        StreamReader, StreamResult,
    },
};
use wasmtime_wasi::p3::bindings::sockets::types::ErrorCode;

use crate::capability::limit::{Account, Place};

/// The most that is copied out of the guest at once.
const PIECE: usize = 64 << 10;

/// Takes what the guest sends, and pays for it.
struct Toll {
    account: Arc<Account>,
    to: mpsc::Sender<Bytes>,
}

/// Hands on what was paid for.
struct Paid(Peekable<mpsc::Receiver<Bytes>>);

/// Holds a place until a stream's result is there, and hands that on.
struct Hold {
    place: Option<Arc<Place>>,
    to: Option<oneshot::Sender<Outcome>>,
}

type Outcome = Result<(), ErrorCode>;

/// A stream of the same bytes, each paid for before it comes out.
pub(super) fn metered<T: Send + 'static>(
    mut store: StoreContextMut<'_, T>,
    data: StreamReader<u8>,
    account: Arc<Account>,
) -> wasmtime::Result<StreamReader<u8>> {
    let (to, from) = mpsc::channel(0);
    data.pipe(&mut store, Toll { account, to })?;
    StreamReader::new(&mut store, Paid(from.peekable()))
}

/// The same result; the place is held until it is there.
pub(super) fn held<T: Send + 'static>(
    mut store: StoreContextMut<'_, T>,
    outcome: FutureReader<Outcome>,
    place: Option<Arc<Place>>,
) -> wasmtime::Result<FutureReader<Outcome>> {
    let (to, from) = oneshot::channel();
    outcome.pipe(&mut store, Hold { place, to: Some(to) })?;
    FutureReader::new(&mut store, from)
}

impl<T> StreamConsumer<T> for Toll {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'_, T>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        match self.to.poll_ready(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        }
        let mut source = source.as_direct(store);
        let waiting = source.remaining();
        let piece = Bytes::copy_from_slice(waiting.get(..PIECE).unwrap_or(waiting));
        // Nothing to take is a question whether there is room.
        if !piece.is_empty() {
            self.account.send(piece.len())?;
            source.mark_read(piece.len());
            if self.to.start_send(piece).is_err() {
                return Poll::Ready(Ok(StreamResult::Dropped));
            }
        }
        Poll::Ready(Ok(StreamResult::Completed))
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

impl<T> FutureConsumer<T> for Hold {
    type Item = Outcome;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, T>,
        mut source: Source<'_, Outcome>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut outcome = None;
        source.read(store, &mut outcome)?;
        self.place = None;
        if let (Some(to), Some(outcome)) = (self.to.take(), outcome) {
            // The guest may have lost interest.
            to.send(outcome).ok();
        }
        Poll::Ready(Ok(()))
    }
}
