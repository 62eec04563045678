//! One published version of a module, ready to be called.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use roadstead_domain::{CallId, Digest, Fault, ModuleId, ModuleSpec};

use crate::{
    Bindings, Call, CodeError, CodeSource, CodeState, LoadError, Outcome, Requests, Responses,
    Stats,
    binding::Bound,
    breaker::Breaker,
    call,
    capability::Granted,
    code::Loaded,
    code_cache::{CodeSlot, HoldsCode},
    engine::Core,
    gate::{Ask, Lane, Level, Taken},
    instance::{Guest, besides},
    instances::{IdleInstances, Owner},
    limiter::MakesRoom,
    parts::Parts,
    room::LITTLE,
    scheduler::{CpuUsage, Share},
    session::SessionPlace,
    spares::Spares,
    standing::Standing,
    stats::Counters,
};

/// One import of a component and what serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportGrant {
    pub name: String,
    pub grant: String,
}

/// One version of a module. Cheap while nobody calls it: its code is mapped on the first call and
/// dropped when others need the room.
pub struct Module {
    inner: Arc<Inner>,
}

/// What a module's calls share.
pub(crate) struct Inner {
    pub(crate) id: ModuleId,
    digest: Digest,
    pub(crate) spec: Arc<ModuleSpec>,
    source: Arc<dyn CodeSource>,
    /// None where it has no bindings.
    bindings: Option<Arc<dyn Bindings>>,
    pub(crate) granted: Granted,
    pub(crate) engine: Arc<Core>,
    pub(crate) parts: Arc<Parts>,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) counters: Counters,
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

impl Module {
    pub(crate) fn new(
        id: ModuleId,
        digest: Digest,
        spec: Arc<ModuleSpec>,
        source: Arc<dyn CodeSource>,
        bindings: Option<Arc<dyn Bindings>>,
        granted: Granted,
        engine: Arc<Core>,
    ) -> Self {
        let parts = engine.budgets.of(&id, &spec.quota);
        let breaker = Breaker::new(engine.config.breaker);
        let inner = Arc::new(Inner {
            id,
            digest,
            spec,
            source,
            bindings,
            granted,
            engine,
            parts,
            breaker,
            counters: Counters::default(),
            standing: Standing::default(),
            spares: Spares::default(),
            sessions: Arc::default(),
            retired: AtomicBool::new(false),
            code: CodeSlot::default(),
            idle: IdleInstances::default(),
            usual_memory: AtomicU64::new(0),
        });
        inner.engine.idle.add(&inner);
        Self { inner }
    }

    pub fn id(&self) -> &ModuleId {
        &self.inner.id
    }

    /// The component that the code was made of.
    pub fn digest(&self) -> &Digest {
        &self.inner.digest
    }

    pub fn spec(&self) -> &Arc<ModuleSpec> {
        &self.inner.spec
    }

    /// Maps the code and links it now instead of on the first call. Blocks.
    ///
    /// # Errors
    /// [`LoadError`]: nobody could call the module.
    pub fn load(&self) -> Result<(), Arc<LoadError>> {
        futures::executor::block_on(self.inner.code()).map(|_| ())
    }

    /// Runs one call and answers by its deadline, whatever the guest does. Dropping the future
    /// cancels the call: the guest gets no time after its next tick.
    ///
    /// Must run inside a tokio runtime with timers.
    pub async fn call(&self, call: Call) -> Outcome {
        call::run(&self.inner, call).await
    }

    /// Begins a call of a streaming method. Where callers stream requests, `call.request` is empty:
    /// all messages go through the [`Requests`].
    ///
    /// The call lasts until the stream of responses ends: for `limits.stream_deadline` or the
    /// caller's time at the most, and no longer than `limits.stream_idle` after its last message.
    /// Must run inside a tokio runtime with timers.
    pub fn open(&self, call: Call) -> (Requests, Responses) {
        call::open(&self.inner, call)
    }

    /// Why a call with this deadline would be refused if it came now, counted as a call that was:
    /// to be asked before anything is spent on it, its message among that.
    pub fn shed(&self, timeout: Option<Duration>) -> Option<Fault> {
        let fault = call::refusal(&self.inner, timeout)?;
        self.inner.counters.refused(&fault);
        Some(fault)
    }

    /// Drops the idle instances of a module that is not called by default any more. It can be
    /// called all the same.
    pub fn drop_idle(&self) {
        self.inner.idle.clear();
    }

    /// Where the session of a call's handle lives, which is where the call must be made; none where
    /// it has no handle. It may be of any module on this host, or on another host of the pool.
    ///
    /// # Errors
    /// [`Fault::NoSuchHandle`] or [`Fault::SessionLost`]; the call would end in the same.
    pub fn session_of(&self, call: &Call) -> Result<Option<SessionPlace>, Fault> {
        self.inner.engine.sessions.place(call)
    }

    /// Ends all sessions of a version that is deleted. It opens no more; calls that run finish.
    pub fn retire(&self) {
        self.inner.engine.sessions.retire(&self.inner, "its version was deleted");
    }

    /// Puts this version's weight and quota of processor time in force for the module, all its versions
    /// together.
    pub fn govern(&self) {
        let share = Share::from(&self.inner.spec.quota);
        self.inner.parts.set_weight(self.inner.spec.quota.weight);
        self.inner.engine.scheduler.set_share(&self.inner.parts.account, share);
    }

    /// Processor time of the module, all its versions together.
    pub fn cpu(&self) -> CpuUsage {
        self.inner.engine.scheduler.usage(&self.inner.parts.account)
    }

    /// How its code stands: also there while others have its room in memory.
    pub fn code(&self) -> CodeState {
        if self.inner.code.is_loaded() { CodeState::There } else { self.inner.source.state() }
    }

    pub fn stats(&self) -> Stats {
        Stats {
            queued: self.inner.parts.admission.waiting(),
            cpu: self.inner.parts.account.total(),
            memory: self.inner.parts.memory.taken(),
            memory_limit: self.inner.parts.memory.largest().min(self.inner.memory()),
            idle_instances: u64::try_from(self.inner.idle.len()).unwrap_or(u64::MAX),
            spare_instances: u64::try_from(self.inner.idle.spares()).unwrap_or(u64::MAX),
            sessions: self.inner.sessions.load(Ordering::Relaxed),
            loaded: self.inner.code.is_loaded(),
            breaker: self.inner.breaker.state(),
            ..self.inner.counters.read()
        }
    }
}

impl Inner {
    /// The code, mapped by now; the fault of a failure is the host's.
    pub(crate) async fn loaded(self: &Arc<Self>, call: CallId) -> Result<Arc<Loaded>, Fault> {
        self.code().await.map_err(|error| {
            if let LoadError::NeverFits(why) = &*error {
                return Fault::NeverFits(why.clone());
            }
            tracing::error!(module = %self.id, %call, error = chain(&*error), "load a module");
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

    async fn code(self: &Arc<Self>) -> Result<Arc<Loaded>, Arc<LoadError>> {
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

/// An error with all its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
