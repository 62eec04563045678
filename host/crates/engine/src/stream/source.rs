//! From the caller to the guest: what the guest reads.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use roadstead_domain::Fault;
use roadstead_transcode::{CopyBudget, InputPlan, StreamRequest, decode_stream_request};
use wasmtime::{
    AsContextMut as _, Result, StoreContextMut,
    component::{Destination, StreamProducer, StreamResult, VecBuffer},
};

use super::{
    Flow, Item, Next, Reader,
    flow::{BATCH, BATCH_BYTES, is_room},
};
use crate::{stats::Way, store::GuestState};

/// Bytes that are read ahead where nobody says how many are wanted.
const AHEAD: usize = 64 << 10;

/// Reads items out of the caller's messages.
pub(crate) struct ItemSource(Source);

/// Reads bytes out of the caller's messages.
pub(crate) struct ByteSource {
    source: Source,
    /// What is left of the last chunk.
    rest: Bytes,
    /// Chunks that were read and not counted.
    chunks: usize,
}

struct Source {
    flow: Arc<Flow>,
    plan: InputPlan,
    input: Reader<()>,
    /// A message that is next in turn.
    next: Option<Bytes>,
    ended: bool,
}

impl Source {
    fn new(flow: &Arc<Flow>, plan: &InputPlan, input: Reader<()>, next: Option<Bytes>) -> Self {
        Self { flow: Arc::clone(flow), plan: plan.clone(), input, next, ended: false }
    }

    /// The next message; none at the end. A caller that went away without a word is waited for: the
    /// call is about to be dropped, and the guest must not take that for the end of the stream.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(message) = self.next.take() {
            return Poll::Ready(Some(message));
        }
        match self.input.poll_next(cx) {
            Poll::Ready(Next::Message(message)) => Poll::Ready(Some(message)),
            Poll::Ready(Next::End(())) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Next::Gone) | Poll::Pending => Poll::Pending,
        }
    }

    /// Whether a message or the end is there; nothing is taken.
    fn poll_ready(&mut self, cx: &mut Context<'_>, finish: bool) -> Poll<Result<StreamResult>> {
        if self.next.is_some() || self.input.poll_ready(cx).is_ready() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        waits(finish)
    }

    fn decode(&self, message: &Bytes, budget: &mut CopyBudget) -> Result<StreamRequest, Fault> {
        match decode_stream_request(&self.plan, message, budget)? {
            StreamRequest::Start(_) => {
                Err(Fault::bad_input("start", "must be the first message, and stand once"))
            }
            item => Ok(item),
        }
    }
}

fn waits(finish: bool) -> Poll<Result<StreamResult>> {
    if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending }
}

impl ItemSource {
    pub(crate) fn new(
        flow: &Arc<Flow>,
        plan: &InputPlan,
        input: Reader<()>,
        next: Option<Bytes>,
    ) -> Self {
        Self(Source::new(flow, plan, input, next))
    }

    /// So many items at the most, of the messages that are there.
    fn items(&mut self, cx: &mut Context<'_>, most: usize) -> Result<Vec<Item>, Fault> {
        let source = &mut self.0;
        let mut budget = source.flow.budget();
        let mut items = Vec::new();
        while items.len() < most && budget.used() < BATCH_BYTES {
            let Poll::Ready(Some(message)) = source.poll_message(cx) else { break };
            match source.decode(&message, &mut budget) {
                Ok(StreamRequest::Item(item)) => items.push(Item(item)),
                Ok(_) => {}
                Err(fault) if is_room(&fault) && !items.is_empty() => {
                    source.next = Some(message);
                    break;
                }
                Err(fault) if is_room(&fault) && source.flow.widen() => {
                    budget = source.flow.budget();
                    match source.decode(&message, &mut budget) {
                        Ok(StreamRequest::Item(item)) => items.push(Item(item)),
                        Ok(_) => {}
                        Err(fault) => return Err(source.flow.explained(fault)),
                    }
                }
                Err(fault) => return Err(source.flow.explained(fault)),
            }
        }
        Ok(items)
    }
}

impl StreamProducer<GuestState> for ItemSource {
    type Item = Item;
    type Buffer = VecBuffer<Item>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, GuestState>,
        mut destination: Destination<'a, Item, VecBuffer<Item>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        let wanted = destination.remaining(store.as_context_mut()).unwrap_or(BATCH);
        if wanted == 0 {
            return this.0.poll_ready(cx, finish);
        }
        let items = this.items(cx, wanted.min(BATCH)).map_err(|fault| this.0.flow.fail(fault))?;
        if items.is_empty() && !this.0.ended {
            return waits(finish);
        }
        if !items.is_empty() {
            let count = items.len();
            destination.set_buffer(items.into());
            this.0.flow.passed(&mut store, Way::In, count)?;
        }
        let more = if this.0.ended { StreamResult::Dropped } else { StreamResult::Completed };
        Poll::Ready(Ok(more))
    }
}

impl ByteSource {
    pub(crate) fn new(
        flow: &Arc<Flow>,
        plan: &InputPlan,
        input: Reader<()>,
        next: Option<Bytes>,
    ) -> Self {
        Self { source: Source::new(flow, plan, input, next), rest: Bytes::new(), chunks: 0 }
    }

    /// Fills what there is room for with what is there.
    fn fill(&mut self, cx: &mut Context<'_>, mut room: &mut [u8]) -> Result<usize, Fault> {
        let mut filled = 0;
        while !room.is_empty() {
            if self.rest.is_empty() {
                let Poll::Ready(Some(message)) = self.source.poll_message(cx) else { break };
                let mut budget = self.source.flow.budget();
                if let StreamRequest::Chunk(chunk) = self.source.decode(&message, &mut budget)? {
                    self.rest = chunk;
                    self.chunks = self.chunks.saturating_add(1);
                }
                continue;
            }
            let count = room.len().min(self.rest.len());
            let (now, later) = room.split_at_mut(count);
            self.rest.copy_to_slice(now);
            filled += count;
            room = later;
        }
        Ok(filled)
    }
}

impl StreamProducer<GuestState> for ByteSource {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, GuestState>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        if destination.remaining(store.as_context_mut()) == Some(0) {
            let ready = !this.rest.is_empty();
            let completed = Poll::Ready(Ok(StreamResult::Completed));
            return if ready { completed } else { this.source.poll_ready(cx, finish) };
        }
        let mut room = destination.as_direct(store.as_context_mut(), AHEAD);
        let filled = this.fill(cx, room.remaining());
        let filled = filled.map_err(|fault| this.source.flow.fail(fault))?;
        if filled == 0 && !this.source.ended {
            return waits(finish);
        }
        room.mark_written(filled);
        let chunks = std::mem::take(&mut this.chunks);
        // Fuel is for messages, not for each piece of one that the guest asks for.
        if chunks > 0 {
            this.source.flow.passed(&mut store, Way::In, chunks)?;
        }
        let ended = this.source.ended && this.rest.is_empty();
        let more = if ended { StreamResult::Dropped } else { StreamResult::Completed };
        Poll::Ready(Ok(more))
    }
}
