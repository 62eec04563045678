//! One live instance: made, called, fuelled again, and dropped with all it had.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use roadstead_domain::{Fault, InstanceOrigin, Limits};
use roadstead_transcode::{CopyBudget, EncodeError, encode_response};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{
    Store,
    component::{Instance, Val},
};

use crate::{
    Call,
    budget::{Exhausted, Reservation},
    capability::CallContext,
    code::{Export, Loaded},
    limiter::Limiter,
    module::Inner,
    overload,
    room::Room,
    store::{self, GuestState, Meter},
    trap,
};

/// An instance of a module and its places on the host.
pub(crate) struct Guest {
    store: Store<GuestState>,
    instance: Instance,
    pub(crate) loaded: Arc<Loaded>,
    uses: u64,
    /// Given back after the store, whose memories it stands for.
    _places: OwnedSemaphorePermit,
}

impl Guest {
    /// Makes an instance for its first call, on that call's fuel.
    pub(crate) async fn make(
        module: &Inner,
        call: &Call,
        deadline: Instant,
        loaded: Arc<Loaded>,
        meter: Arc<Meter>,
        places: OwnedSemaphorePermit,
    ) -> Result<Self, Fault> {
        meter.begin(InstanceOrigin::Fresh);
        let limits = &module.spec.limits;
        let usual = module.usual_memory().min(limits.memory.0);
        let reservation = reserve(module, usual)?;
        let context = CallContext { id: call.id, deadline: Some(deadline) };
        let capabilities =
            module.granted.guest(&context).map_err(|error| trap::host(&error, call.id))?;
        let limiter = Limiter::new(limits, reservation);
        let engine = loaded.pre.engine();
        let mut store = store::new(engine, limits, capabilities, limiter, meter)
            .map_err(|error| trap::host(&error, call.id))?;
        let made = loaded.pre.instantiate_async(&mut store).await;
        store::observe(&store);
        module.used_memory(store.data().limiter.bytes());
        match made {
            Ok(instance) => Ok(Self { store, instance, loaded, uses: 0, _places: places }),
            Err(error) => Err(trap::fault_of(&error, store.data(), limits, call.id)),
        }
    }

    /// Gets a reused instance ready for another call.
    pub(crate) fn begin(
        &mut self,
        module: &Inner,
        call: &Call,
        deadline: Instant,
        meter: Arc<Meter>,
    ) -> Result<(), Fault> {
        meter.begin(InstanceOrigin::Warm);
        let context = CallContext { id: call.id, deadline: Some(deadline) };
        self.store.data_mut().capabilities.begin_call(&context);
        store::begin_call(&mut self.store, &module.spec.limits, meter)
            .map_err(|error| trap::host(&error, call.id))
    }

    /// Runs one call to its answer. An instance that did not answer must not be used again.
    pub(crate) async fn answer(
        &mut self,
        module: &Inner,
        call: &Call,
        export: &Export,
        params: Vec<Val>,
        used: u64,
        room: &Room,
    ) -> Result<Bytes, Fault> {
        self.uses += 1;
        let limits = &module.spec.limits;
        let mut budget = room.answering(used);
        self.store.set_hostcall_fuel(lifting_allowance(limits, &budget) / export.weight);
        let called = self.invoke(export, params).await;
        store::observe(&self.store);
        module.used_memory(self.store.data().limiter.bytes());
        let state = self.store.data_mut();
        state.capabilities.end_call();
        let results = called.map_err(|error| {
            match trap::fault_of(&error, self.store.data(), limits, call.id) {
                Fault::Limit(reached) => room.exceeded(reached),
                other => other,
            }
        })?;
        if let Some(reached) = self.store.data().capabilities.limit_exceeded() {
            return Err(Fault::Limit(reached));
        }
        let answer = encode_response(&call.method, &results, limits.output.0, &mut budget)
            .map_err(|error| match error {
                EncodeError::Limit(reached) => room.exceeded(reached),
                EncodeError::Mismatch(_) => trap::host(&wasmtime::Error::new(error), call.id),
            })?;
        room.answered(answer.len());
        Ok(answer)
    }

    async fn invoke(&mut self, export: &Export, params: Vec<Val>) -> wasmtime::Result<Vec<Val>> {
        let function = self
            .instance
            .get_func(&mut self.store, export.index)
            .ok_or_else(|| wasmtime::Error::msg("an export is gone"))?;
        let mut results = vec![Val::Bool(false); export.results];
        function.call_async(&mut self.store, &params, &mut results).await?;
        Ok(results)
    }

    pub(crate) fn uses(&self) -> u64 {
        self.uses
    }
}

/// A share of the host's memory; idle instances give theirs up for it: the module's own where its
/// part is used up, any where all is.
fn reserve(module: &Inner, bytes: u64) -> Result<Reservation, Fault> {
    loop {
        let dropped = match module.parts.memory.reserve(bytes) {
            Ok(reserved) => return Ok(reserved),
            Err(Exhausted::Part) => module.idle().drop_oldest(),
            Err(Exhausted::Whole) => module.engine.idle.drop_oldest(),
        };
        if !dropped {
            return Err(overload::memory());
        }
    }
}

/// What wasmtime may copy out of the guest for this call's results (and for each of its host
/// calls): what is left of the call's room, less what the response message may need.
fn lifting_allowance(limits: &Limits, budget: &CopyBudget) -> usize {
    let left = budget.remaining();
    let response = limits.output.0.min(left / 2);
    usize::try_from(left - response).unwrap_or(usize::MAX)
}
