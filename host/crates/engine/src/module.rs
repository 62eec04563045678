//! One published version of a module, ready to be called.
//!
//! What every module has is in [`Common`]; the guest's part is played by an instance of a component
//! ([`Inner`]) or by a [`crate::Remote`] ([`Served`]).

mod common;
mod inner;
mod served;

use std::{sync::Arc, time::Duration};

use roadstead_domain::{Fault, ModuleId, ModuleSpec};

use crate::{
    Call, CodeSource, CodeState, LoadError, Outcome, Remote, Requests, Responses, Stats, call,
    capability::Granted, engine::Core, logs::VersionLog, scheduler::CpuUsage,
    session::SessionPlace,
};

pub(crate) use self::{common::Common, inner::Inner, served::Served};

/// One import of a component and what serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportGrant {
    pub name: String,
    pub grant: String,
}

/// One version of a module. Cheap while nobody calls it: the code of a component is mapped on the
/// first call and dropped when others need the room.
pub struct Module {
    part: Part,
}

/// Who plays the guest's part.
#[derive(Clone)]
pub(crate) enum Part {
    Component(Arc<Inner>),
    Remote(Arc<Served>),
}

impl Part {
    pub(crate) fn common(&self) -> &Arc<Common> {
        match self {
            Self::Component(inner) => &inner.common,
            Self::Remote(served) => &served.common,
        }
    }
}

impl Module {
    /// One that runs a component.
    pub(crate) fn component(
        id: ModuleId,
        spec: Arc<ModuleSpec>,
        source: Arc<dyn CodeSource>,
        granted: Granted,
        engine: Arc<Core>,
    ) -> Self {
        let common = Common::new(id, spec, granted.log().clone(), engine);
        Self { part: Part::Component(Inner::new(common, source, granted)) }
    }

    /// One that is served outside of the sandbox.
    pub(crate) fn remote(
        id: ModuleId,
        spec: Arc<ModuleSpec>,
        log: VersionLog,
        engine: Arc<Core>,
        remote: Arc<dyn Remote>,
    ) -> Self {
        let common = Common::new(id, spec, log, engine);
        Self { part: Part::Remote(Arc::new(Served { common, remote })) }
    }

    fn common(&self) -> &Arc<Common> {
        self.part.common()
    }

    pub fn id(&self) -> &ModuleId {
        &self.common().id
    }

    pub fn spec(&self) -> &Arc<ModuleSpec> {
        &self.common().spec
    }

    /// Maps the code and links it now instead of on the first call. Blocks. Of a module that is
    /// served outside of the sandbox there is nothing to map.
    ///
    /// # Errors
    /// [`LoadError`]: nobody could call the module.
    pub fn load(&self) -> Result<(), Arc<LoadError>> {
        match &self.part {
            Part::Component(inner) => futures::executor::block_on(inner.code()).map(|_| ()),
            Part::Remote(_) => Ok(()),
        }
    }

    /// Runs one call and answers by its deadline, whatever the guest does. Dropping the future
    /// cancels the call: the guest gets no time after its next tick.
    ///
    /// Must run inside a tokio runtime with timers.
    pub async fn call(&self, call: Call) -> Outcome {
        call::run(&self.part, call).await
    }

    /// Begins a call of a streaming method. Where callers stream requests, `call.request` is empty:
    /// all messages go through the [`Requests`].
    ///
    /// The call lasts until the stream of responses ends: for `limits.stream_deadline` or the
    /// caller's time at the most, and no longer than `limits.stream_idle` after its last message.
    /// Must run inside a tokio runtime with timers.
    pub fn open(&self, call: Call) -> (Requests, Responses) {
        call::open(&self.part, call)
    }

    /// Why a call with this deadline would be refused if it came now, counted as a call that was:
    /// to be asked before anything is spent on it, its message among that.
    pub fn shed(&self, timeout: Option<Duration>) -> Option<Fault> {
        let fault = call::refusal(self.common(), timeout)?;
        self.common().counters.refused(&fault);
        Some(fault)
    }

    /// Drops the idle instances of a module that is not called by default any more. It can be
    /// called all the same.
    pub fn drop_idle(&self) {
        if let Part::Component(inner) = &self.part {
            inner.idle().clear();
        }
    }

    /// Where the session of a call's handle lives, which is where the call must be made; none where
    /// it has no handle. It may be of any module on this host, or on another host of the pool.
    ///
    /// # Errors
    /// [`Fault::NoSuchHandle`] or [`Fault::SessionLost`]; the call would end in the same.
    pub fn session_of(&self, call: &Call) -> Result<Option<SessionPlace>, Fault> {
        self.common().engine.sessions.place(call)
    }

    /// Ends all sessions of a version that is deleted. It opens no more; calls that run finish.
    pub fn retire(&self) {
        if let Part::Component(inner) = &self.part {
            inner.engine.sessions.retire(inner, "its version was deleted");
        }
    }

    /// Puts this version's weight and quota of processor time in force for the module, all its versions
    /// together.
    pub fn govern(&self) {
        self.common().govern();
    }

    /// Processor time of the module, all its versions together.
    pub fn cpu(&self) -> CpuUsage {
        self.common().engine.scheduler.usage(&self.common().parts.account)
    }

    /// How its code stands, also while others have its room in memory; of a module that is served
    /// outside of the sandbox, whether it can be called.
    pub fn code(&self) -> CodeState {
        match &self.part {
            Part::Component(inner) => inner.code_state(),
            Part::Remote(served) => served.remote.state(),
        }
    }

    pub fn stats(&self) -> Stats {
        match &self.part {
            Part::Component(inner) => inner.stats(),
            Part::Remote(served) => served.stats(),
        }
    }
}
