//! What the guest's side of a streaming call has in common: plan, limits, room, and its failure.

use std::sync::Arc;

use parking_lot::Mutex;
use roadstead_domain::{CallId, Fault, LimitKind, Limits};
use roadstead_transcode::{CopyBudget, EncodeError, MethodPlan};
use wasmtime::StoreContextMut;

use crate::{
    Call,
    module::Inner,
    room::Room,
    stats::Way,
    store::{self, GuestState},
    trap,
};

/// Items that are lifted or lowered at once.
pub(super) const BATCH: usize = 1024;

/// Host memory of values from which no more are added to a batch.
pub(super) const BATCH_BYTES: u64 = 256 << 10;

pub(crate) struct Flow {
    pub(crate) call: CallId,
    pub(crate) method: Arc<MethodPlan>,
    module: Arc<Inner>,
    room: Mutex<Room>,
    /// How many times wasmtime's count of lifted values they can take.
    weight: usize,
    failure: Mutex<Option<Fault>>,
}

impl Flow {
    pub(crate) fn new(module: &Arc<Inner>, call: &Call, room: Room, weight: usize) -> Arc<Self> {
        let (method, module) = (Arc::clone(&call.method), Arc::clone(module));
        let (room, failure) = (Mutex::new(room), Mutex::default());
        Arc::new(Self { call: call.id, method, module, room, weight: weight.max(1), failure })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.module.spec.limits
    }

    /// What one way's values may take at once: half of the call's room.
    pub(crate) fn budget(&self) -> CopyBudget {
        CopyBudget::new(self.room.lock().granted() / 2)
    }

    /// What wasmtime may count of the values that it lifts at once.
    pub(crate) fn allowance(&self) -> usize {
        let half = self.room.lock().granted() / 2;
        usize::try_from(half).unwrap_or(usize::MAX) / self.weight
    }

    /// Takes more room for values that did not fit, where there is any.
    pub(super) fn widen(&self) -> bool {
        self.room.lock().try_widen()
    }

    /// The fault of values that take too much.
    pub(crate) fn explained(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Limit(reached) => self.room.lock().exceeded(reached),
            other => other,
        }
    }

    pub(crate) fn not_written(&self, error: EncodeError) -> Fault {
        match error {
            EncodeError::Limit(reached) => self.explained(Fault::Limit(reached)),
            EncodeError::Mismatch(_) => trap::host(&wasmtime::Error::new(error), self.call),
        }
    }

    /// Ends the call with a fault: what is returned ends the guest.
    pub(crate) fn fail(&self, fault: Fault) -> wasmtime::Error {
        self.failure.lock().get_or_insert(fault);
        wasmtime::Error::msg("the call failed in the host")
    }

    /// Why the call failed, where it was not the guest that did.
    pub(crate) fn failure(&self) -> Option<Fault> {
        self.failure.lock().take()
    }

    /// So many messages went by: the guest may spend the call's fuel anew until the next.
    pub(super) fn passed(
        &self,
        store: &mut StoreContextMut<'_, GuestState>,
        way: Way,
        messages: usize,
    ) -> wasmtime::Result<()> {
        self.module.counters.streamed(way, messages);
        store::refuel(store, self.limits().fuel_per_call)
    }
}

/// Whether more room would help.
pub(super) fn is_room(fault: &Fault) -> bool {
    matches!(fault, Fault::Limit(reached) if reached.limit == LimitKind::HostCopy)
}
