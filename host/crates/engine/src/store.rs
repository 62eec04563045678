//! What belongs to one instance on the host's side, and how its limits are put in force.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use roadstead_domain::{InstanceOrigin, Limits};
use wasmtime::{Engine, Store, StoreContextMut, UpdateDeadline};

use crate::{
    Call, Usage,
    binding::Caller,
    capability::{self, GuestCapabilities},
    limiter::Limiter,
    timing::Timing,
};

/// Ticks until a call yields for the first time. The first one may come at once.
const FIRST_SLICE: u64 = 2;

/// Fuel after which a guest yields. Compiled code counts fuel in a register and writes it down only
/// at calls and when this much is spent: what is read at a tick is less than this behind. About a
/// tick's worth, so that it costs no more yields than ticks do.
const FUEL_SLICE: u64 = 1_000_000;

/// Bytes that each host call may copy while an instance is made: nobody has reserved more yet.
const COPY_AT_START: u64 = 1 << 20;

/// The data of a store: an instance's capabilities and the account of what it uses.
pub(crate) struct GuestState {
    pub(crate) capabilities: GuestCapabilities,
    pub(crate) limiter: Limiter,
    meter: Arc<Meter>,
    /// Fuel that the call began with.
    fuel: u64,
    /// The call that it serves, as far as calls of other modules are concerned.
    pub(crate) caller: Option<Arc<Caller>>,
    /// What a message to another module may take.
    pub(crate) messages: u64,
}

/// What the caller of a call may see of it while it runs.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    fuel: AtomicU64,
    memory: AtomicU64,
    /// 0: none yet; 1: fresh; 2: warm; 3: of a session.
    origin: AtomicU8,
    /// Of calls that ask for it.
    pub(crate) timing: Option<Box<Timing>>,
}

impl Meter {
    pub(crate) fn of(call: &Call) -> Arc<Self> {
        let timing = call.timed.then(|| Box::new(Timing::new()));
        Arc::new(Self { timing, ..Self::default() })
    }

    pub(crate) fn begin(&self, origin: InstanceOrigin) {
        let origin = match origin {
            InstanceOrigin::Fresh => 1,
            InstanceOrigin::Warm => 2,
            InstanceOrigin::Session => 3,
        };
        self.origin.store(origin, Ordering::Relaxed);
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            fuel: self.fuel.load(Ordering::Relaxed),
            peak_memory: self.memory.load(Ordering::Relaxed),
            instance: match self.origin.load(Ordering::Relaxed) {
                0 => None,
                1 => Some(InstanceOrigin::Fresh),
                2 => Some(InstanceOrigin::Warm),
                _ => Some(InstanceOrigin::Session),
            },
            run: self.timing.as_ref().and_then(|timing| timing.run()),
        }
    }
}

/// A store with every limit of `limits` in force, fuelled for its first call.
pub(crate) fn new(
    engine: &Engine,
    limits: &Limits,
    capabilities: GuestCapabilities,
    limiter: Limiter,
    meter: Arc<Meter>,
) -> wasmtime::Result<Store<GuestState>> {
    let fuel = limits.fuel_per_call;
    let state =
        GuestState { capabilities, limiter, meter, fuel, caller: None, messages: COPY_AT_START };
    let mut store = Store::try_new(engine, state)?;
    store.limiter(|state| &mut state.limiter);
    capability::limit_handles(&mut store, limits);
    store.epoch_deadline_callback(|context| {
        let left = context.get_fuel()?;
        context.data().observe(left);
        Ok(UpdateDeadline::Yield(1))
    });
    let copied = limits.host_copy.0.min(COPY_AT_START);
    store.set_hostcall_fuel(usize::try_from(copied).unwrap_or(usize::MAX));
    store.fuel_async_yield_interval(Some(FUEL_SLICE))?;
    store.set_fuel(fuel)?;
    store.set_epoch_deadline(FIRST_SLICE);
    Ok(store)
}

/// Gives a store that was made ahead to its first call, on what its start has left.
pub(crate) fn begin_first_call(
    store: &mut Store<GuestState>,
    meter: Arc<Meter>,
) -> wasmtime::Result<()> {
    store.data_mut().meter = meter;
    store.set_epoch_deadline(FIRST_SLICE);
    observe(store);
    Ok(())
}

/// Fuels a reused store for its next call.
pub(crate) fn begin_call(
    store: &mut Store<GuestState>,
    limits: &Limits,
    meter: Arc<Meter>,
) -> wasmtime::Result<()> {
    let state = store.data_mut();
    state.limiter.begin_call();
    state.meter = meter;
    state.fuel = limits.fuel_per_call;
    store.set_fuel(limits.fuel_per_call)?;
    store.set_epoch_deadline(FIRST_SLICE);
    Ok(())
}

/// Gives a call this much fuel from now on, beside what it has used so far.
pub(crate) fn refuel(
    store: &mut StoreContextMut<'_, GuestState>,
    fuel: u64,
) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    let state = store.data_mut();
    state.observe(left);
    state.fuel = state.fuel.saturating_sub(left).saturating_add(fuel);
    store.set_fuel(fuel)
}

/// Writes the figures of a call down as they are now.
pub(crate) fn observe(store: &Store<GuestState>) {
    store.data().observe(store.get_fuel().unwrap_or(0));
}

impl GuestState {
    fn observe(&self, fuel_left: u64) {
        self.meter.fuel.store(self.fuel.saturating_sub(fuel_left), Ordering::Relaxed);
        self.meter.memory.store(self.limiter.bytes(), Ordering::Relaxed);
        if let Some(timing) = &self.meter.timing {
            timing.look();
        }
    }
}
