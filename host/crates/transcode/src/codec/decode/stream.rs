//! One of the messages that a caller streams.

use bytes::Bytes;
use wasmtime::component::Val;

use super::{Decoder, Read};
use crate::{
    codec::{StreamRequest, slot::Parts, violation::Refusal},
    plan::{Body, InputPlan, START, Shape},
};

impl Decoder<'_, Val> {
    pub(in crate::codec) fn stream_request(
        &mut self,
        plan: &InputPlan,
        bytes: &Bytes,
    ) -> Read<StreamRequest> {
        let cases = if let Body::Variant(cases) = &plan.message.body { &**cases } else { &[] };
        let parts = Parts::of(bytes);
        let (case, slot) = self.oneof(&plan.message, |at| cases.get(at), &parts)?;
        if case.payload == Some(Shape::Bytes) {
            return Ok(StreamRequest::Chunk(bytes.slice_ref(slot.bytes())));
        }
        let is_start = case.wit_name == START;
        let value = self.payload(case, slot)?.map(|value| *value);
        match value {
            Some(Val::Tuple(params)) if is_start => Ok(StreamRequest::Start(params)),
            Some(item) => Ok(StreamRequest::Item(item)),
            None => Err(Refusal::here("must be set")),
        }
    }
}
