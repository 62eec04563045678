//! One call through a binding, from the guest's values to the other module's answer and back.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roadstead_domain::{BindingProblem, Fault};
use roadstead_transcode::{CopyBudget, EncodeError, MethodPlan, decode_response, encode_request};
use wasmtime::{StoreContextMut, component::Val};

use super::{BindingTrap, Caller, Function, Target};
use crate::{Call, room::Room, store::GuestState};

/// A guest that is being made serves nobody's call.
const NO_CALLER: &str = "a module can call others while it serves a call, not when it is made";

/// What the other module said is not what its type says.
const NO_ANSWER: &str = "its answer does not fit its type";

impl Function {
    /// Serves one call of the guest.
    pub(super) async fn call(
        &self,
        store: StoreContextMut<'_, GuestState>,
        params: &[Val],
        results: &mut [Val],
    ) -> wasmtime::Result<()> {
        let (caller, room) = (store.data().caller.clone(), store.data().messages);
        let answered = self.answer(caller, params, room).await;
        let values = answered.map_err(|fault| wasmtime::Error::new(BindingTrap(fault)))?;
        for (result, value) in results.iter_mut().zip(values) {
            *result = value;
        }
        Ok(())
    }

    async fn answer(
        &self,
        caller: Option<Arc<Caller>>,
        params: &[Val],
        room: u64,
    ) -> Result<Vec<Val>, Fault> {
        let module = &self.module;
        let failed = |problem| module.fault(&self.import, None, problem);
        let caller = caller
            .ok_or_else(|| failed(BindingProblem::Fault(Fault::NotReady(NO_CALLER.to_owned()))))?;
        let target = module.bindings.target(&self.import, &self.name).map_err(failed)?;
        let failed = |problem| module.fault(&self.import, Some(&target.module), problem);
        let path = caller.path.through(&module.label, &target.module.id().name).map_err(failed)?;
        let mut budget = CopyBudget::new(room);
        let request = encode_request(&target.method, params, &mut budget);
        let request = request.map_err(|error| match error {
            EncodeError::Limit(reached) => Fault::Limit(reached),
            EncodeError::Mismatch(why) => failed(BindingProblem::Mismatch(why.to_owned())),
        })?;
        let call = Call {
            id: caller.id,
            method: Arc::clone(&target.method),
            request,
            timeout: Some(caller.left()),
            owner: caller.owner.clone(),
            timed: false,
            path,
            traceparent: caller.traceparent.clone(),
        };
        let response = match target.call(call).await {
            Ok(response) => response,
            // The guest's own time is up: its caller is told of that, and it ends.
            Err(Fault::Deadline(_)) if caller.left().is_zero() => pending().await,
            Err(fault) => return Err(failed(BindingProblem::Fault(fault))),
        };
        self.values(&target.method, &response).await.map_err(|fault| match fault {
            Fault::BadInput(_) => {
                let (message, backtrace) = (NO_ANSWER.to_owned(), Vec::new());
                failed(BindingProblem::Fault(Fault::GuestTrap { message, backtrace }))
            }
            own => own,
        })
    }

    /// The values of a response, within this module's room for values.
    async fn values(&self, method: &MethodPlan, response: &Bytes) -> Result<Vec<Val>, Fault> {
        let module = &self.module;
        let mut room = Room::new(&module.parts.values, &module.spec.limits);
        room.begin(response.len()).await?;
        let mut values = decode_response(method, response, &mut room.decoding());
        if values.as_ref().is_err_and(|fault| room.may_widen(fault)) {
            room.widen().await?;
            values = decode_response(method, response, &mut room.decoding());
        }
        values.map_err(|fault| match fault {
            Fault::Limit(reached) => room.exceeded(reached),
            other => other,
        })
    }
}

impl Caller {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl Target {
    async fn call(&self, call: Call) -> Result<Bytes, Fault> {
        let result = self.module.call(call).await.result;
        self.outcomes.count(result.as_ref().err());
        result
    }
}
