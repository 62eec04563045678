//! A call through the compiled codec, which reads the request and writes the response within the
//! guest.
//!
//! What comes out of it is the guest's word, as everything in its memory is. A request that it
//! declines is read by the dynamic codec, which says what is wrong with it or calls the same
//! instance: it has seen nothing of the request by then.

use bytes::Bytes;
use roadstead_domain::{Fault, LimitKind};
use roadstead_transcode::{NoHandles, check_request};
use wasmtime::{
    Store,
    component::{ComponentExportIndex, Val, WasmList},
};

use super::Guest;
use crate::{
    Call,
    call::decode,
    code::Export,
    module::Inner,
    room::Room,
    store::{self, GuestState},
    trap,
};

/// A request on its way to the guest.
pub(crate) enum Request {
    /// The values and what they take of the room.
    Values(Vec<Val>, u64),
    /// Its bytes, as they came.
    Bytes,
}

/// What the codec gives: the response, 0 for a request that it declines, or the length of a
/// response that is too long.
type Given = (Result<WasmList<u8>, u32>,);

impl Request {
    /// The request in the form in which its guest takes it, and room for the call.
    pub(crate) async fn read(call: &Call, export: &Export, room: &mut Room) -> Result<Self, Fault> {
        if export.codec.is_none() {
            let (values, used) = decode(call, room).await?;
            return Ok(Self::Values(values, used));
        }
        let used = length(call.request.len());
        if !room.try_reserve(used) {
            Box::pin(room.reserve(used)).await?;
        }
        Ok(Self::Bytes)
    }
}

/// Whether the instance that gave this may serve another call: after a success, and where the
/// guest's function never ran.
pub(crate) fn is_reusable(result: &Result<Bytes, Fault>) -> bool {
    matches!(result, Ok(_) | Err(Fault::BadInput(_)))
}

/// The values of a request that the codec declined. One that is wrong is refused as such, however
/// much the host would have to copy for its values.
async fn declined(call: &Call, room: &mut Room) -> Result<(Vec<Val>, u64), Fault> {
    let checked = check_request(&call.method, &call.request, &mut room.decoding());
    if let Err(wrong @ Fault::BadInput(_)) = checked {
        return Err(wrong);
    }
    decode(call, room).await
}

impl Guest {
    /// Runs one call to its answer. An instance whose answer is not reusable must not be used again.
    pub(crate) async fn respond(
        &mut self,
        (module, call, export): (&Inner, &Call, &Export),
        request: Request,
        room: &mut Room,
    ) -> Result<Bytes, Fault> {
        let (values, used) = match (request, &export.codec) {
            (Request::Values(values, used), _) => (values, used),
            (Request::Bytes, Some(codec)) => {
                if let Some(response) = self.compiled(module, call, codec, room).await? {
                    return Ok(response);
                }
                let decoded = Box::pin(declined(call, room)).await;
                if decoded.is_err() {
                    self.uses += 1;
                    self.store.data_mut().capabilities.end_call();
                }
                decoded?
            }
            (Request::Bytes, None) => decode(call, room).await?,
        };
        self.answer((module, call, export), (values, used), room, &mut NoHandles).await
    }

    /// None where the codec declines the request.
    async fn compiled(
        &mut self,
        module: &Inner,
        call: &Call,
        codec: &ComponentExportIndex,
        room: &Room,
    ) -> Result<Option<Bytes>, Fault> {
        let limits = &module.spec.limits;
        let mut budget = room.answering(length(call.request.len()));
        let output = limits.output.of(true).0;
        if self.store.data().caller.is_some() {
            self.allow(output, &budget, 1);
        } else {
            let left = usize::try_from(budget.remaining()).unwrap_or(usize::MAX);
            self.store.set_hostcall_fuel(left);
        }
        let limit = u32::try_from(output).unwrap_or(u32::MAX);
        let given = self.invoke_codec(codec, &call.request, limit).await;
        store::observe(&self.store);
        module.used_memory(self.store.data().limiter.bytes());
        let response = given.map_err(|error| {
            match trap::fault_of(&error, self.store.data(), limits, call.id) {
                Fault::Limit(reached) => room.exceeded(reached),
                other => other,
            }
        })?;
        let response = match response {
            Ok(response) => response,
            Err(0) => return Ok(None),
            Err(length) => {
                let used = Some(u64::from(length));
                return Err(Fault::limit(LimitKind::Output, output, used));
            }
        };
        self.uses += 1;
        self.store.data_mut().capabilities.end_call();
        if let Some(reached) = self.store.data().capabilities.limit_exceeded() {
            return Err(Fault::Limit(reached));
        }
        let bytes = response.as_le_slice(&self.store);
        budget.take(bytes.len()).map_err(|reached| room.exceeded(reached))?;
        room.answered_in_bytes(bytes.len());
        Ok(Some(Bytes::copy_from_slice(bytes)))
    }

    async fn invoke_codec(
        &mut self,
        codec: &ComponentExportIndex,
        request: &[u8],
        limit: u32,
    ) -> wasmtime::Result<Result<WasmList<u8>, u32>> {
        let store: &mut Store<GuestState> = &mut self.store;
        let function = self.instance.get_typed_func::<(&[u8], u32), Given>(&mut *store, codec)?;
        let (given,) = function.call_async(store, (request, limit)).await?;
        Ok(given)
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
