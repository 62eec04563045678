//! What the calls of every module share, whoever plays the guest's part in them.

use std::sync::Arc;

use roadstead_domain::{ModuleId, ModuleSpec};

use crate::{
    Stats, breaker::Breaker, engine::Core, logs::VersionLog, parts::Parts, scheduler::Share,
    stats::Counters,
};

/// The part of a module that admits, bounds, cuts off and counts calls.
pub(crate) struct Common {
    pub(crate) id: ModuleId,
    pub(crate) spec: Arc<ModuleSpec>,
    /// Where the host writes about this version's calls.
    pub(crate) log: VersionLog,
    pub(crate) engine: Arc<Core>,
    pub(crate) parts: Arc<Parts>,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) counters: Counters,
}

impl Common {
    pub(crate) fn new(
        id: ModuleId,
        spec: Arc<ModuleSpec>,
        log: VersionLog,
        engine: Arc<Core>,
    ) -> Arc<Self> {
        let parts = engine.budgets.of(&id, &spec.quota);
        let breaker = Breaker::new(engine.config.breaker);
        let counters = Counters::default();
        Arc::new(Self { id, spec, log, engine, parts, breaker, counters })
    }

    /// Puts this version's weight and quota of processor time in force for the module.
    pub(crate) fn govern(&self) {
        let share = Share::from(&self.spec.quota);
        self.parts.set_weight(self.spec.quota.weight);
        self.engine.scheduler.set_share(&self.parts.account, share);
    }

    /// What is counted of every module.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            queued: self.parts.admission.waiting(),
            cpu: self.parts.account.total(),
            memory: self.parts.memory.taken(),
            breaker: self.breaker.state(),
            ..self.counters.read()
        }
    }
}
