//! One live instance: made, called, fuelled again, and dropped with all it had.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roadstead_domain::{ByteSize, Fault, InstanceOrigin, Limits};
use roadstead_transcode::{CopyBudget, EncodeError, encode_response};
use tokio::time::timeout;
use wasmtime::{
    Store,
    component::{Instance, Val},
};

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

/// How long a call waits for memory of the host.
const PATIENCE: Duration = Duration::from_secs(2);

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
        let needed = loaded.memories.max(loaded.tables.div_ceil(TABLES_PER_SLOT)).max(1);
        let stacks = loaded.stacks.div_ceil(u64::from(STACKS_PER_SLOT));
        let needed = u64::from(needed).max(stacks);
        let largest = parts.slots.largest();
        if largest < needed {
            let why = format!("an instance takes {needed} slots, and it can have {largest} here");
            return Err(Fault::NeverFits(why));
        }
        // No module can take all of the host's slots, but any can have one instance.
        let most = part_of(module.engine.budgets.slots.most()).max(needed);
        let slots = module.take(&parts.slots, Ask { count: needed, most }).await;
        let slots = slots.ok_or(Fault::Draining)?;
        let usual = module.usual_memory().min(module.spec.limits.memory.0);
        let besides = module.besides(loaded.stacks);
        let ask = Ask { count: besides.saturating_add(usual), most: module.memory() };
        match timeout(PATIENCE, module.take(&parts.memory, ask)).await {
            Ok(memory) => Ok(Self { slots, memory: memory.ok_or(Fault::Draining)?, besides }),
            Err(_) => Err(overload::memory(parts.memory.lacks(ask).unwrap_or(Level::Whole))),
        }
    }
}

impl Guest {
    /// Makes an instance for its first call, on that call's fuel.
    pub(crate) async fn make(
        module: &Arc<Inner>,
        call: &Call,
        deadline: Instant,
        loaded: Arc<Loaded>,
        meter: Arc<Meter>,
        site: Site,
    ) -> Result<Self, Fault> {
        meter.begin(InstanceOrigin::Fresh);
        let limits = &module.spec.limits;
        let context = CallContext { id: call.id, deadline: Some(deadline) };
        let capabilities =
            module.granted.guest(&context).map_err(|error| trap::host(&error, call.id))?;
        let Site { slots, memory, besides } = site;
        let share =
            Share { taken: memory, besides, most: module.memory(), module: Arc::downgrade(module) };
        let limiter = Limiter::new(limits, share);
        let engine = loaded.pre.engine();
        let mut store = store::new(engine, limits, capabilities, limiter, meter)
            .map_err(|error| trap::host(&error, call.id))?;
        let made = loaded.pre.instantiate_async(&mut store).await;
        store::observe(&store);
        module.used_memory(store.data().limiter.bytes());
        match made {
            Ok(instance) => Ok(Self { store, instance, loaded, uses: 0, _places: slots }),
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
fn lifting_allowance(limits: &Limits, budget: &CopyBudget) -> usize {
    let left = budget.remaining();
    let response = limits.output.0.min(left / 2);
    usize::try_from(left - response).unwrap_or(usize::MAX)
}
