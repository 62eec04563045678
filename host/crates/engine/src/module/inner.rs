//! A module that runs a component: its code, its instances and its sessions.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use futures::FutureExt as _;
use roadstead_domain::{CallId, Fault, with_causes};

use super::Common;
use crate::{
    Bindings, CodeError, CodeSource, CodeState, LoadError, Stats,
    binding::Bound,
    capability::Granted,
    code::Loaded,
    code_cache::{CodeSlot, HoldsCode},
    gate::{Ask, Lane, Level, Taken},
    instance::{Guest, besides},
    instances::{IdleInstances, Owner},
    limiter::MakesRoom,
    room::LITTLE,
    spares::Spares,
    standing::Standing,
};

/// What the calls of a component share.
pub(crate) struct Inner {
    pub(crate) common: Arc<Common>,
    source: Arc<dyn CodeSource>,
    /// None where it has no bindings.
    bindings: Option<Arc<dyn Bindings>>,
    pub(crate) granted: Granted,
    pub(crate) standing: Standing,
    pub(crate) spares: Spares,
    /// Sessions of this version.
    pub(crate) sessions: Arc<AtomicU64>,
    /// Whether it opens no more sessions. Changed by [`crate::session::Sessions`] alone.
    pub(crate) retired: AtomicBool,
    code: CodeSlot,
    idle: IdleInstances,
    /// Memory that instances had lately.
    usual_memory: AtomicU64,
}

impl Inner {
    pub(super) fn new(
        common: Arc<Common>,
        source: Arc<dyn CodeSource>,
        bindings: Option<Arc<dyn Bindings>>,
        granted: Granted,
    ) -> Arc<Self> {
        let inner = Arc::new(Self {
            common,
            source,
            bindings,
            granted,
            standing: Standing::default(),
            spares: Spares::default(),
            sessions: Arc::default(),
            retired: AtomicBool::new(false),
            code: CodeSlot::default(),
            idle: IdleInstances::default(),
            usual_memory: AtomicU64::new(0),
        });
        inner.engine.idle.add(&inner);
        inner
    }

    /// How its code stands, also while others have its room in memory.
    pub(super) fn code_state(&self) -> CodeState {
        if self.code.is_loaded() { CodeState::There } else { self.source.state() }
    }
}

impl Deref for Inner {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Inner {
    pub(super) fn stats(&self) -> Stats {
        Stats {
            memory_limit: self.parts.memory.largest().min(self.memory()),
            idle_instances: u64::try_from(self.idle.len()).unwrap_or(u64::MAX),
            spare_instances: u64::try_from(self.idle.spares()).unwrap_or(u64::MAX),
            sessions: self.sessions.load(Ordering::Relaxed),
            loaded: self.code.is_loaded(),
            ..self.common.stats()
        }
    }

    /// The code, mapped by now; the fault of a failure is the host's.
    pub(crate) async fn loaded(self: &Arc<Self>, call: CallId) -> Result<Arc<Loaded>, Fault> {
        self.code().await.map_err(|error| {
            if let LoadError::NeverFits(why) = &*error {
                return Fault::NeverFits(why.clone());
            }
            tracing::error!(module = %self.id, %call, error = with_causes(&*error), "load a module");
            match &*error {
                LoadError::Code(CodeError::Lost(_)) => {
                    Fault::NotReady("its stored parts are damaged: push it again".to_owned())
                }
                LoadError::Code(CodeError::Unavailable(_)) => {
                    Fault::NotReady("its stored parts cannot be read now: try again".to_owned())
                }
                LoadError::Code(CodeError::Uncompilable(why)) => Fault::NotReady(why.clone()),
                _ => Fault::Host { log_id: call.to_string() },
            }
        })
    }

    pub(super) async fn code(self: &Arc<Self>) -> Result<Arc<Loaded>, Arc<LoadError>> {
        if let Some(loaded) = self.engine.codes.ready(&**self) {
            return Ok(loaded);
        }
        let load = || {
            let module = Arc::clone(self);
            let handle = self.engine.scheduler.handle().clone();
            async move {
                let loading = handle.spawn_blocking(move || {
                    let (engine, limits) = (&module.engine, &module.spec.limits);
                    let bound = module.bindings.as_ref().map(|one| Bound::new(&module, one));
                    let (wasm, linker) = (&engine.wasm, &engine.linker);
                    Loaded::load(wasm, linker, limits, &*module.source, bound.as_ref())
                });
                loading.await.unwrap_or_else(|error| Err(LoadError::Interrupted(error)))
            }
            .boxed()
        };
        Box::pin(self.engine.codes.get(self, load)).await
    }

    /// An idle instance of `owner`, unless its code is gone or it was idle for too long.
    pub(crate) fn take_idle(&self, owner: &Owner) -> Option<Box<Guest>> {
        self.drop_expired(Instant::now());
        self.idle.take(owner).filter(|guest| self.holds(&guest.loaded))
    }

    /// Whether code is that which the next call would get.
    pub(crate) fn holds(&self, loaded: &Arc<Loaded>) -> bool {
        self.code.holds(loaded)
    }

    /// Keeps an instance that no call has used.
    pub(crate) fn keep_spare(&self, mut guest: Box<Guest>) {
        if !self.holds(&guest.loaded) || self.engine.scheduler.closing() {
            return;
        }
        guest.settle();
        self.idle.put_spare(guest);
        if self.engine.contended() {
            self.idle.drop_oldest();
        }
        self.engine.idle.kept();
    }

    /// Keeps an instance for the owner's next call if it may serve one.
    pub(crate) fn keep_idle(&self, mut guest: Box<Guest>, owner: Owner) {
        let instances = &self.spec.instances;
        let worn = instances.max_uses <= guest.uses();
        if worn || !self.code.holds(&guest.loaded) || self.engine.scheduler.closing() {
            return;
        }
        guest.settle();
        self.idle.put(guest, owner, usize::try_from(instances.warm).unwrap_or(usize::MAX));
        // Whoever waits since before the instance lay there did not find it.
        if self.engine.contended() {
            self.idle.drop_oldest();
        }
        self.engine.idle.kept();
    }

    pub(crate) fn idle(&self) -> &IdleInstances {
        &self.idle
    }

    pub(crate) fn drop_expired(&self, now: Instant) {
        let idle = self.spec.limits.session_idle.duration();
        self.idle.drop_expired(now, now.checked_sub(idle));
    }

    /// Takes of a resource that instances hold. Idle ones go for it before anyone waits.
    pub(crate) async fn take(&self, lane: &Lane, ask: Ask) -> Option<Taken> {
        match lane.try_take(ask) {
            Ok(taken) => Some(taken),
            Err(_) => Box::pin(self.wait(lane, ask)).await,
        }
    }

    async fn wait(&self, lane: &Lane, ask: Ask) -> Option<Taken> {
        // Whoever keeps an instance from now on sees that somebody waits.
        let waiting = lane.join(ask, u64::MAX)?;
        while waiting.pending() {
            if !lane.lacks(ask).is_some_and(|level| self.make_room(level)) {
                break;
            }
        }
        waiting.granted().await
    }

    /// What the module's instances may have together, as this version's spec says.
    pub(crate) fn memory(&self) -> u64 {
        self.spec.quota.memory.map_or(u64::MAX, |memory| memory.0)
    }

    /// What each instance may take besides its memories and tables.
    pub(crate) fn besides(&self, stacks: u64) -> u64 {
        let instance = besides(self.engine.config.stack, stacks);
        if self.bindings.is_none() {
            return instance;
        }
        // A small call of another module has values, too.
        instance.saturating_add(LITTLE)
    }

    pub(crate) fn usual_memory(&self) -> u64 {
        self.usual_memory.load(Ordering::Relaxed)
    }

    /// Raises the mark at once and lowers it slowly.
    pub(crate) fn used_memory(&self, bytes: u64) {
        let mark = self.usual_memory.load(Ordering::Relaxed);
        let lowered = mark - mark / 16;
        self.usual_memory.store(lowered.max(bytes), Ordering::Relaxed);
    }
}

impl MakesRoom for Inner {
    fn make_room(&self, level: Level) -> bool {
        self.engine.idle.drop_oldest(|id| match level {
            Level::Module => id.namespace == self.id.namespace && id.name == self.id.name,
            Level::Namespace => id.namespace == self.id.namespace,
            Level::Whole => true,
        })
    }
}

impl HoldsCode for Inner {
    fn slot(&self) -> &CodeSlot {
        &self.code
    }

    fn evicted(&self) {
        self.idle.clear();
    }
}
