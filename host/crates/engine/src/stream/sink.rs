//! From the guest to the caller: what takes the items that a guest writes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use roadstead_transcode::{
    OutputPlan, StreamResponse, encode_chunk_header, encode_stream_response,
};
use tokio::sync::oneshot;
use wasmtime::{
    AsContextMut as _, Result, StoreContextMut,
    component::{Source, StreamConsumer, StreamResult},
};

use super::{End, Flow, Item, Writer, begin_read, flow::BATCH};
use crate::{stats::Way, store::GuestState};

/// Bytes of one chunk of a `stream<u8>`.
const CHUNK: usize = 64 << 10;

/// The most that stands before the bytes of a chunk.
const CHUNK_HEADER: usize = 16;

/// Takes items and writes a message for each. The guest is held while the caller does not read.
pub(crate) struct ItemSink {
    sink: Sink,
    /// How many items to take at once: what fitted last, and a few more.
    batch: usize,
}

/// Takes bytes and writes them in chunks.
pub(crate) struct ByteSink(Sink);

struct Sink {
    flow: Arc<Flow>,
    output: Arc<Writer<End>>,
    plan: OutputPlan,
    /// Dropped with the sink, when the guest's end of the stream is gone.
    _ended: oneshot::Sender<()>,
}

impl ItemSink {
    /// With what tells that the guest's end of the stream is gone.
    pub(crate) fn new(
        flow: &Arc<Flow>,
        output: &Arc<Writer<End>>,
        plan: &OutputPlan,
    ) -> (Self, oneshot::Receiver<()>) {
        let (sink, ended) = Sink::new(flow, output, plan);
        (Self { sink, batch: BATCH }, ended)
    }

    /// All items that the guest offers, or as many as there is room for.
    fn read(
        &mut self,
        store: &mut StoreContextMut<'_, GuestState>,
        source: &mut Source<'_, Item>,
    ) -> Result<Vec<Item>> {
        // The other way may have widened the room meanwhile.
        store.set_hostcall_fuel(self.sink.flow.allowance());
        let mut count = source.remaining(store.as_context_mut()).min(self.batch);
        let mut read = |store: &mut StoreContextMut<'_, GuestState>, count| {
            let mut items = Vec::with_capacity(count);
            begin_read();
            source.read(store.as_context_mut(), &mut items).map(|()| items)
        };
        loop {
            match read(store, count) {
                Ok(items) => {
                    if count == self.batch {
                        self.batch = (count + count / 8 + 1).min(BATCH);
                    }
                    return Ok(items);
                }
                Err(_) if 1 < count => {
                    count /= 2;
                    self.batch = count;
                }
                Err(_) if self.sink.flow.widen() => {
                    store.set_hostcall_fuel(self.sink.flow.allowance());
                }
                failed => return failed,
            }
        }
    }

    fn messages(&self, items: &[Item]) -> Result<Vec<Bytes>> {
        let Sink { flow, plan, .. } = &self.sink;
        let mut budget = flow.budget();
        let limit = flow.limits().output.of(false).0;
        let messages = items.iter().map(|item| {
            encode_stream_response(plan, StreamResponse::Item(&item.0), limit, &mut budget)
        });
        messages.collect::<Result<_, _>>().map_err(|error| flow.fail(flow.not_written(error)))
    }
}

impl ByteSink {
    /// With what tells that the guest's end of the stream is gone.
    pub(crate) fn new(
        flow: &Arc<Flow>,
        output: &Arc<Writer<End>>,
        plan: &OutputPlan,
    ) -> (Self, oneshot::Receiver<()>) {
        let (sink, ended) = Sink::new(flow, output, plan);
        (Self(sink), ended)
    }
}

impl Sink {
    fn new(
        flow: &Arc<Flow>,
        output: &Arc<Writer<End>>,
        plan: &OutputPlan,
    ) -> (Self, oneshot::Receiver<()>) {
        let (alive, ended) = oneshot::channel();
        let (flow, output, plan) = (Arc::clone(flow), Arc::clone(output), plan.clone());
        (Self { flow, output, plan, _ended: alive }, ended)
    }

    /// Whether the caller can take more; what to answer the guest if not.
    fn poll_room(&self, cx: &mut Context<'_>, finish: bool) -> Result<(), Poll<StreamResult>> {
        match self.output.poll_ready(cx) {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(_)) => Err(Poll::Ready(StreamResult::Dropped)),
            Poll::Pending if finish => Err(Poll::Ready(StreamResult::Cancelled)),
            Poll::Pending => Err(Poll::Pending),
        }
    }
}

impl StreamConsumer<GuestState> for ItemSink {
    type Item = Item;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, GuestState>,
        mut source: Source<'_, Item>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        if let Err(wait) = this.sink.poll_room(cx, finish) {
            return wait.map(Ok);
        }
        if source.remaining(store.as_context_mut()) > 0 {
            let items = this.read(&mut store, &mut source)?;
            this.sink.output.write(this.messages(&items)?);
            this.sink.flow.passed(&mut store, Way::Out, items.len())?;
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

impl StreamConsumer<GuestState> for ByteSink {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, GuestState>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        if let Err(wait) = this.0.poll_room(cx, finish) {
            return wait.map(Ok);
        }
        let Sink { flow, output, plan, .. } = &this.0;
        let limit = usize::try_from(flow.limits().output.of(false).0).unwrap_or(usize::MAX);
        let most = limit.saturating_sub(CHUNK_HEADER).clamp(1, CHUNK);
        let mut source = source.as_direct(store.as_context_mut());
        let offered = source.remaining();
        let chunk = offered.get(..most).unwrap_or(offered);
        if chunk.is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let header = encode_chunk_header(plan, chunk.len());
        let header = header.map_err(|error| flow.fail(flow.not_written(error)))?;
        let mut message = BytesMut::with_capacity(header.len() + chunk.len());
        message.put(header);
        message.extend_from_slice(chunk);
        let taken = chunk.len();
        source.mark_read(taken);
        output.write([message.freeze()]);
        flow.passed(&mut store, Way::Out, 1)?;
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
