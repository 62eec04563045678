//! One live instance: made, called, fuelled again, and dropped with all it had.

mod codec;
mod streaming;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use roadstead_domain::{ByteSize, Fault, InstanceOrigin};
use roadstead_transcode::{CopyBudget, EncodeError, Handles, encode_response_with};
use tokio::time::timeout;
use wasmtime::{
    Store,
    component::{Instance, Val},
};

pub(crate) use self::codec::{Request, is_reusable};
use crate::{
    Call,
    capability::CallContext,
    code::{Export, Loaded},
    config::{STACKS_PER_SLOT, TABLES_PER_SLOT},
    gate::{Ask, Level, Taken},
    limiter::{Limiter, Share},
    module::Inner,
    overload,
    parts::part_of,
    room::{LITTLE, Room},
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
    _places: Taken,
}

/// Where an instance can be made.
pub(crate) struct Site {
    slots: Taken,
    memory: Taken,
    /// Of the memory: what is not the instance's memories and tables.
    besides: u64,
}

/// What an instance may take besides its stack, memories and tables: its contexts on the host's
/// heap. A Python component's are 400 kB.
const CONTEXT: u64 = 512 << 10;

/// How long a call waits for memory of the host, and one of another module for a place.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What an instance may take of the host besides its memories and tables: its contexts, the values
/// of a small call, and its stacks but one, for of those that it can suspend few are ever deep.
pub(crate) fn besides(stack: ByteSize, stacks: u64) -> u64 {
    let stacks = stacks.saturating_sub(1).max(1);
    stack.0.saturating_mul(stacks).saturating_add(CONTEXT + LITTLE)
}

impl Site {
    /// Takes what an instance needs, and waits for it. Idle instances give theirs up first.
    ///
    /// # Errors
    /// [`Fault::NeverFits`], or [`Fault::Overloaded`] if there was no memory for long.
    pub(crate) async fn take(module: &Inner, loaded: &Loaded) -> Result<Self, Fault> {
        let parts = &module.parts;
        let needed = slots_of(loaded);
        let largest = parts.slots.largest();
        if largest < needed {
            let why = format!("an instance takes {needed} slots, and it can have {largest} here");
            return Err(Fault::NeverFits(why));
        }
        let (ask_slots, besides, ask_memory) = Self::asks(module, loaded, needed);
        let slots = module.take(&parts.slots, ask_slots).await;
        let slots = slots.ok_or(Fault::Draining)?;
        let memory = match parts.memory.try_take(ask_memory) {
            Ok(memory) => memory,
            Err(_) => Box::pin(memory_in_time(module, ask_memory)).await?,
        };
        Ok(Self { slots, memory, besides })
    }

    /// The same for a call of another module, whose instance keeps its place meanwhile: were there
    /// no end to waiting, callers that wait for each other's places could fill the host.
    ///
    /// # Errors
    /// As [`Site::take`], and [`Fault::Overloaded`] if there was no place for long.
    pub(crate) async fn take_soon(module: &Inner, loaded: &Loaded) -> Result<Self, Fault> {
        timeout(PATIENCE, Self::take(module, loaded))
            .await
            .unwrap_or_else(|_| Err(overload::slots()))
    }

    /// Takes what an instance needs if nobody has to give anything up for it.
    pub(crate) fn at_hand(module: &Inner, loaded: &Loaded) -> Option<Self> {
        let (slots, besides, memory) = Self::asks(module, loaded, slots_of(loaded));
        let slots = module.parts.slots.try_take(slots).ok()?;
        let memory = module.parts.memory.try_take(memory).ok()?;
        Some(Self { slots, memory, besides })
    }

    fn asks(module: &Inner, loaded: &Loaded, slots: u64) -> (Ask, u64, Ask) {
        // No module can take all of the host's slots, but any can have one instance.
        let most = part_of(module.engine.budgets.slots.most()).max(slots);
        let usual = module.usual_memory().min(module.spec.limits.memory.0);
        let besides = module.besides(loaded.stacks);
        let memory = Ask { count: besides.saturating_add(usual), most: module.memory() };
        (Ask { count: slots, most }, besides, memory)
    }
}

/// Slots that an instance takes.
pub(crate) fn slots_of(loaded: &Loaded) -> u64 {
    let memories = loaded.memories.max(loaded.tables.div_ceil(TABLES_PER_SLOT)).max(1);
    u64::from(memories).max(loaded.stacks.div_ceil(u64::from(STACKS_PER_SLOT)))
}

async fn memory_in_time(module: &Inner, ask: Ask) -> Result<Taken, Fault> {
    let lane = &module.parts.memory;
    match timeout(PATIENCE, module.take(lane, ask)).await {
        Ok(memory) => memory.ok_or(Fault::Draining),
        Err(_) => Err(overload::memory(lane.lacks(ask).unwrap_or(Level::Whole))),
    }
}

impl Guest {
    /// Makes an instance for its first call, on that call's fuel.
    pub(crate) async fn make(
        module: &Arc<Inner>,
        call: &CallContext,
        loaded: Arc<Loaded>,
        meter: Arc<Meter>,
        site: Site,
    ) -> Result<Self, Fault> {
        meter.begin(InstanceOrigin::Fresh);
        let limits = &module.spec.limits;
        let capabilities =
            module.granted.guest(call).map_err(|error| trap::host(&error, call.id))?;
        let Site { slots, memory, besides } = site;
        let idle = Arc::downgrade(module);
        let share = Share { taken: memory, besides, most: module.memory(), module: idle };
        let limiter = Limiter::new(limits, loaded.codec_parts(), share);
        let engine = loaded.pre.engine();
        let mut store = store::new(engine, limits, capabilities, limiter, meter)
            .map_err(|error| trap::host(&error, call.id))?;
        let made = loaded.pre.instantiate_async(&mut store).await;
        store::observe(&store);
        module.used_memory(store.data().limiter.bytes());
        store.data_mut().caller.clone_from(&call.caller);
        match made {
            Ok(instance) => Ok(Self { store, instance, loaded, uses: 0, _places: slots }),
            Err(error) => Err(trap::fault_of(&error, store.data(), limits, call.id)),
        }
    }

    /// Gets an instance ready for its next call, or for the first one if it was made ahead.
    pub(crate) fn begin(
        &mut self,
        module: &Inner,
        call: &CallContext,
        meter: Arc<Meter>,
    ) -> Result<(), Fault> {
        self.store.data_mut().caller.clone_from(&call.caller);
        let capabilities = &mut self.store.data_mut().capabilities;
        let begun = if self.uses == 0 {
            meter.begin(InstanceOrigin::Fresh);
            capabilities.begin_first_call(call);
            store::begin_first_call(&mut self.store, meter)
        } else {
            meter.begin(InstanceOrigin::Warm);
            capabilities.begin_call(call);
            store::begin_call(&mut self.store, &module.spec.limits, meter)
        };
        begun.map_err(|error| trap::host(&error, call.id))
    }

    /// Calls with values. An instance that did not answer must not be used again.
    pub(crate) async fn answer(
        &mut self,
        (module, call, export): (&Inner, &Call, &Export),
        (params, used): (Vec<Val>, u64),
        room: &Room,
        handles: &mut dyn Handles,
    ) -> Result<Bytes, Fault> {
        self.uses += 1;
        let limits = &module.spec.limits;
        let mut budget = room.answering(used);
        let output = limits.output.of(export.codec.is_some()).0;
        self.allow(output, &budget, export.weight);
        let called = match self.invoke(export, params).await {
            Ok(results) => Box::pin(self.settled(results, &call.method.response)).await,
            failed => failed,
        };
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
        let answer = encode_response_with(&call.method, &results, output, &mut budget, handles)
            .map_err(|error| match error {
                EncodeError::Limit(reached) => room.exceeded(reached),
                EncodeError::Mismatch(_) => trap::host(&wasmtime::Error::new(error), call.id),
            })?;
        room.answered(answer.len());
        Ok(answer)
    }

    /// Drops the resources behind handles, whose destructors run as a call of their own. An
    /// instance in which one did not come to its end must not be used again.
    pub(crate) async fn drop_resources(
        &mut self,
        module: &Inner,
        call: &Call,
        resources: Vec<Val>,
    ) -> Result<(), Fault> {
        self.uses += 1;
        let limits = &module.spec.limits;
        let mut dropped = Ok(());
        for value in resources {
            if let (Val::Resource(resource), Ok(())) = (value, &dropped) {
                dropped = resource.resource_drop_async(&mut self.store).await;
            }
        }
        store::observe(&self.store);
        module.used_memory(self.store.data().limiter.bytes());
        self.store.data_mut().capabilities.end_call();
        let fault = |error| trap::fault_of(&error, self.store.data(), limits, call.id);
        dropped.map_err(fault)?;
        let exceeded = self.store.data().capabilities.limit_exceeded();
        exceeded.map_or(Ok(()), |reached| Err(Fault::Limit(reached)))
    }

    /// Divides the room that a call has left: for what wasmtime copies out of the guest, and for a
    /// message, which is the response or before that a request to another module.
    fn allow(&mut self, output: u64, budget: &CopyBudget, weight: usize) {
        let values = lifting_allowance(output, budget);
        self.store.set_hostcall_fuel(values / weight.max(self.loaded.bound_weight));
        let values = u64::try_from(values).unwrap_or(u64::MAX);
        self.store.data_mut().messages = budget.remaining().saturating_sub(values);
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

    /// Lies idle from now on.
    pub(crate) fn settle(&mut self) {
        self.store.data_mut().limiter.settle();
    }

    pub(crate) fn uses(&self) -> u64 {
        self.uses
    }
}

/// What wasmtime may copy out of the guest for this call's results (and for each of its host
/// calls): what is left of the call's room, less what the response message may need.
fn lifting_allowance(output: u64, budget: &CopyBudget) -> usize {
    let left = budget.remaining();
    let response = output.min(left / 2);
    usize::try_from(left - response).unwrap_or(usize::MAX)
}
