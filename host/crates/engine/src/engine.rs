//! The engine: one per host.

use std::{sync::Arc, time::Instant};

use roadstead_domain::{ByteSize, Millicores, ModuleId, ModuleSpec};
use wasmtime::component::Linker;

use crate::{
    CodeSource, EngineConfig, EngineError, ImportGrant, InspectError, LoadError, LogStore, Module,
    Offers, Remote, capability,
    capability::{Granted, Shares},
    code_cache::CodeCache,
    config,
    idle::IdleModules,
    inspect,
    parts::Budgets,
    scheduler::Scheduler,
    session::{self, Sessions},
    store::GuestState,
};

/// Loads and runs modules that a [`crate::Compiler`] made. Made once; [`Engine::shutdown`] ends its
/// threads.
pub struct Engine {
    core: Arc<Core>,
    fingerprint: String,
    logs: Arc<LogStore>,
}

/// What every module of an engine shares.
pub(crate) struct Core {
    pub(crate) config: EngineConfig,
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) linker: Linker<GuestState>,
    pub(crate) scheduler: Scheduler,
    pub(crate) budgets: Budgets,
    pub(crate) codes: Arc<CodeCache>,
    pub(crate) idle: Arc<IdleModules>,
    pub(crate) began: Instant,
    pub(crate) sessions: Arc<Sessions>,
    shares: Shares,
}

impl Core {
    /// Whether somebody waits for what instances hold: what lies idle must go.
    pub(crate) fn contended(&self) -> bool {
        self.budgets.slots.contended() || self.budgets.memory.contended()
    }
}

impl Engine {
    /// Sets everything up: the pool of instance slots, the linker, the guests' threads.
    ///
    /// # Errors
    /// [`EngineError`] names the setting that does not work on this machine.
    pub fn new(config: EngineConfig) -> Result<Arc<Self>, EngineError> {
        config.validate()?;
        let wasm = config::build(&config)?;
        let mut linker = Linker::new(&wasm.engine);
        capability::link(&mut linker).map_err(EngineError::Linker)?;
        let scheduler = Scheduler::new(&config, &wasm.engine)?;
        let codes = CodeCache::new(config.code_budget.0, scheduler.handle().clone());
        let idle = Arc::new(IdleModules::default());
        drop(scheduler.handle().spawn(crate::idle::sweep(Arc::downgrade(&idle))));
        let sessions = Sessions::new(&config.session_key);
        drop(scheduler.handle().spawn(session::sweep(Arc::downgrade(&sessions))));
        let logs = Arc::new(LogStore::new(config.log_budget));
        let core = Arc::new(Core {
            linker,
            scheduler,
            budgets: Budgets::new(
                wasm.slots,
                config.memory_budget.0,
                config.value_budget.0,
                config.namespace,
            ),
            codes,
            idle,
            began: Instant::now(),
            sessions,
            shares: Shares::default(),
            wasm: wasm.engine,
            config,
        });
        Ok(Arc::new(Self { core, fingerprint: wasm.fingerprint, logs }))
    }

    /// Names what compiled code depends on besides the component: code of another fingerprint
    /// must be compiled again. Fit for a file name.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Stack of a guest, on which compiled code depends.
    pub fn stack(&self) -> ByteSize {
        self.core.config.stack
    }

    /// Looks at a component and its spec before anything is compiled: what each import would get.
    ///
    /// # Errors
    /// [`InspectError`] if it could never run here.
    pub fn inspect(
        &self,
        component: &[u8],
        spec: &ModuleSpec,
    ) -> Result<Vec<ImportGrant>, InspectError> {
        inspect(&self.core.config, component, spec)
    }

    /// A module ready to be called. Opens nothing: the code is mapped on the first call, or by
    /// [`Module::load`].
    ///
    /// # Errors
    /// [`LoadError::NeverFits`] if the spec asks for what this host cannot give,
    /// [`LoadError::NotOffered`] for what its operator does not offer to the module.
    pub fn prepare(
        self: &Arc<Self>,
        id: ModuleId,
        spec: Arc<ModuleSpec>,
        code: Arc<dyn CodeSource>,
    ) -> Result<Arc<Module>, LoadError> {
        if let Some(why) = self.core.config.never_fits(&spec) {
            return Err(LoadError::NeverFits(why));
        }
        let granted = {
            let Core { config, shares, .. } = &*self.core;
            Granted::new(&id, &spec, &config.offers, shares, &self.logs)?
        };
        Ok(Arc::new(Module::component(id, spec, code, granted, Arc::clone(&self.core))))
    }

    /// Whether [`Engine::remote`] takes such a spec.
    ///
    /// # Errors
    /// [`LoadError::NeverFits`] if it asks for what this host cannot give.
    pub fn accepts_remote(&self, spec: &ModuleSpec) -> Result<(), LoadError> {
        self.core.config.lasts_too_long(spec).map_or(Ok(()), |why| Err(LoadError::NeverFits(why)))
    }

    /// A module whose calls `remote` answers, within the same limits of time and size, queue,
    /// breaker and counters as any other's. What a spec says of instances does not count.
    ///
    /// # Errors
    /// Those of [`Engine::accepts_remote`].
    pub fn remote(
        self: &Arc<Self>,
        id: ModuleId,
        spec: Arc<ModuleSpec>,
        remote: Arc<dyn Remote>,
    ) -> Result<Arc<Module>, LoadError> {
        self.accepts_remote(&spec)?;
        let log = self.logs.version(&id, spec.limits.log_rate);
        Ok(Arc::new(Module::remote(id, spec, log, Arc::clone(&self.core), remote)))
    }

    /// What the operator offers to modules.
    pub fn offers(&self) -> &Offers {
        &self.core.config.offers
    }

    pub fn logs(&self) -> &LogStore {
        &self.logs
    }

    /// What can be promised to modules of processor time, together.
    pub fn cpu(&self) -> Millicores {
        self.core.config.cpu()
    }

    pub fn config(&self) -> &EngineConfig {
        &self.core.config
    }

    /// Places for instances that are taken.
    pub fn slots_taken(&self) -> u32 {
        u32::try_from(self.core.budgets.slots.taken()).unwrap_or(u32::MAX)
    }

    /// Memories and tables of all instances, reservations included.
    pub fn memory_taken(&self) -> u64 {
        self.core.budgets.memory.taken()
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.core.sessions.open_now()
    }

    /// Room reserved for the values of all calls.
    pub fn values_taken(&self) -> u64 {
        self.core.budgets.values.taken()
    }

    /// Ends every call and the guests' threads. Calls after it are answered with DRAINING.
    pub async fn shutdown(&self) {
        const WHY: &str = "the host stopped";
        self.core.idle.clear();
        self.core.sessions.clear(WHY);
        let core = Arc::clone(&self.core);
        let joining = tokio::task::spawn_blocking(move || core.scheduler.join());
        if let Err(error) = joining.await {
            tracing::error!(%error, "end the guest threads");
        }
        self.core.idle.clear();
        self.core.sessions.clear(WHY);
    }
}
