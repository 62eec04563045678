//! The native modules of a host, as processes of its machine.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::join_all;

use parking_lot::Mutex;
use roadstead_domain::{ModuleId, ModuleName, ModuleSpec, Namespace, NativeSpec, Version};
use roadstead_engine::{
    Attempt, Contract, Isolation, LoadError, NativeSecrets, NativeStanding, NativeState, Natives,
    Remote, machine_memory,
};
use roadstead_native_plan::State;
use tokio::time::{sleep, timeout};

use crate::{
    ProcessesConfig,
    cgroup::{self, Cgroups},
    deletion::mark_but,
    environment::private,
    helper::{Layers, Order, probe},
    module::{Ground, Module},
    process::blocking,
    records::{self, Record},
    remote::ServerRemote,
    removal::remove,
    spawner::Spawner,
    supervisor::{end, hidden, stop, supervise},
    version::{Clock, Version as Registered},
    watchdog,
};

/// A longer one leaves no room for the paths of sockets.
const LONGEST: usize = 80;
/// For servers to be gone that were killed.
const LAST: Duration = Duration::from_secs(10);
/// Before another try to end what an earlier host left.
const PAUSE: Duration = Duration::from_secs(1);

/// Why native modules cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the directory of native modules `{0}` has more than 80 bytes: sockets lie in it")]
    TooLong(PathBuf),
    #[error("another host uses the directory of native modules `{0}`")]
    Locked(PathBuf),
    #[error("open the directory of native modules: {0}")]
    Io(#[from] io::Error),
}

/// Runs native modules as processes.
#[derive(Debug)]
pub struct Processes {
    ground: Arc<Ground>,
    modules: Mutex<HashMap<(Namespace, ModuleName), Arc<Module>>>,
    confinement: String,
    /// Of the directory, for as long as this is there.
    _lock: File,
}

impl Processes {
    /// Opens the directory, and ends what an earlier host left running; blocks for some seconds at
    /// most for each. What does not end by then is ended later, and only what would share its state
    /// waits for that. Within a runtime.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: ProcessesConfig) -> Result<Arc<Self>, OpenError> {
        let mut config = config;
        private(&config.directory)?;
        config.directory = config.directory.canonicalize()?;
        config.working = config.working.canonicalize()?;
        let lock = lock(&config.directory)?;
        for directory in ["records", "run", "modules"] {
            private(&config.directory.join(directory))?;
        }
        let left = clear(&config.directory)?;
        let cgroups = if config.cgroups { Cgroups::find(&config.directory) } else { None };
        let layers = if config.namespaces { layers(&config)? } else { Layers::default() };
        let confinement = confinement(layers, cgroups.as_ref());
        tracing::info!(confinement, "native modules run as processes");
        let limited = cgroups.as_ref().is_some_and(Cgroups::ends);
        let spawner = Spawner::new()?;
        let ground = Ground {
            config,
            clock: Clock::new(),
            spawner,
            layers,
            cgroups,
            left: Mutex::new(left),
        };
        let processes = Arc::new(Self {
            ground: Arc::new(ground),
            modules: Mutex::default(),
            confinement,
            _lock: lock,
        });
        tokio::spawn(clear_left(Arc::downgrade(&processes)));
        if !limited {
            let weak = Arc::downgrade(&processes);
            watchdog::watch(move || modules(&weak))?;
        }
        Ok(processes)
    }

    /// Ends all servers, each with its grace, but within so long. None begins any more.
    pub async fn shutdown(&self, within: Duration) {
        let modules: Vec<_> = self.modules.lock().values().cloned().collect();
        let stopped = join_all(modules.iter().map(|module| stop(module)));
        if timeout(within, stopped).await.is_ok() {
            return;
        }
        tracing::warn!("native modules have more grace than their host: they are ended");
        if timeout(LAST, join_all(modules.iter().map(|module| end(module)))).await.is_err() {
            tracing::error!("servers of native modules do not end: the next host ends them");
        }
    }

    /// What a version that can run here asks for.
    fn accepted(
        &self,
        id: &ModuleId,
        spec: &ModuleSpec,
    ) -> Result<(NativeSpec, NativeSecrets), LoadError> {
        let never = |why: &str| Err(LoadError::NeverFits(why.to_owned()));
        let Some(native) = spec.native.clone() else { return never("its spec has no `native`") };
        if native.command.is_empty() {
            return never("native.command is not set, and this host runs no images");
        }
        if native.resources.tpu.is_some() {
            return never("native.resources.tpu is what a cluster has");
        }
        if native.resources.memory > machine_memory() {
            return never("native.resources.memory is more than this machine has");
        }
        let secrets = NativeSecrets::new(&self.ground.config.offers, id, &native.secrets)?;
        Ok((native, secrets))
    }

    /// Where a module's epoch and state lie.
    fn directory(&self, (namespace, name): &(Namespace, ModuleName)) -> PathBuf {
        // Neither name has a dot.
        self.ground.config.directory.join("modules").join(format!("{namespace}.{name}"))
    }

    fn module(&self, namespace: &Namespace, name: &ModuleName) -> io::Result<Arc<Module>> {
        let mut modules = self.modules.lock();
        let key = (namespace.clone(), name.clone());
        if let Some(module) = modules.get(&key) {
            return Ok(Arc::clone(module));
        }
        let directory = self.directory(&key);
        let ground = Arc::clone(&self.ground);
        let module = Arc::new(Module::new(ground, name.clone(), directory)?);
        modules.insert(key, Arc::clone(&module));
        tokio::spawn(supervise(Arc::clone(&module)));
        Ok(module)
    }
}

impl Natives for Processes {
    fn accepts(&self, id: &ModuleId, spec: &ModuleSpec) -> Result<(), LoadError> {
        self.accepted(id, spec).map(drop)
    }

    fn remote(
        &self,
        id: &ModuleId,
        spec: &Arc<ModuleSpec>,
        contract: &Arc<Contract>,
    ) -> Result<Arc<dyn Remote>, LoadError> {
        let (native, secrets) = self.accepted(id, spec)?;
        let log = self.ground.config.logs.servers(id, spec.limits.log_rate, &secrets);
        let (spec, contract) = (Arc::clone(spec), Arc::clone(contract));
        let clock = self.ground.clock;
        let version = Registered::new(id.clone(), spec, native, contract, secrets, log, clock);
        let version = Arc::new(version);
        let module = self.module(&id.namespace, &id.name).map_err(|error| {
            tracing::error!(module = %id, %error, "open a native module's directory");
            LoadError::NeverFits(
                "its directory on this host cannot be read: see its log".to_owned(),
            )
        })?;
        module.register(&version);
        Ok(Arc::new(ServerRemote::new(module, version)))
    }

    fn begin(&self, modules: &[(Namespace, ModuleName)]) {
        let there: HashSet<_> = modules.iter().map(|key| self.directory(key)).collect();
        if let Err(error) = mark_but(&self.ground.config.directory.join("modules"), &there) {
            tracing::error!(%error, "mark the state of native modules that are deleted");
        }
    }

    fn run(&self, namespace: &Namespace, name: &ModuleName, versions: &[Version]) {
        match self.module(namespace, name) {
            Ok(module) => module.want(versions),
            Err(error) => {
                tracing::error!(module = %name, %error, "open a native module's directory");
            }
        }
    }

    fn delete(&self, namespace: &Namespace, name: &ModuleName) {
        match self.module(namespace, name) {
            Ok(module) => module.delete(),
            Err(error) => {
                tracing::error!(module = %name, %error, "open a deleted native module's directory");
            }
        }
    }

    fn again(&self, id: &ModuleId) {
        let key = (id.namespace.clone(), id.name.clone());
        let module = self.modules.lock().get(&key).cloned();
        if let Some(module) = module {
            module.again(&id.version);
        }
    }

    fn standing(&self, id: &ModuleId) -> NativeStanding {
        let key = (id.namespace.clone(), id.name.clone());
        let module = self.modules.lock().get(&key).cloned();
        let state = module.as_ref().and_then(|module| module.standing(&id.version));
        let attempts = module.map(|module| module.attempts(&id.version)).unwrap_or_default();
        let attempt = |one: &roadstead_native_plan::Attempt| Attempt {
            epoch: one.epoch,
            state: shown(one.state()),
        };
        NativeStanding {
            isolation: Isolation::Process,
            confinement: self.confinement.clone(),
            state: shown(state.map_or(State::Off, |standing| standing.state)),
            attempts: attempts.iter().map(attempt).collect(),
        }
    }
}

pub(crate) fn shown(state: State) -> NativeState {
    match state {
        State::Off => NativeState::Off,
        State::Idle => NativeState::Idle,
        State::Starting => NativeState::Starting,
        State::Ready => NativeState::Ready,
        State::Draining => NativeState::Draining,
        State::BackingOff(why) => NativeState::BackingOff(why),
        State::Failed(why) => NativeState::Failed(why),
    }
}

/// None once nobody has them any more.
fn modules(processes: &Weak<Processes>) -> Option<Vec<Arc<Module>>> {
    let processes = processes.upgrade()?;
    let modules = processes.modules.lock();
    Some(modules.values().cloned().collect())
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    if directory.as_os_str().len() > LONGEST {
        return Err(OpenError::TooLong(directory.to_owned()));
    }
    let file = File::create(directory.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Ends the servers that an earlier host left, and takes away what belonged to them. Gives the
/// records of those that do not end.
fn clear(directory: &Path) -> io::Result<Vec<Record>> {
    let mut alive = Vec::new();
    for record in records::all(&directory.join("records"))? {
        tracing::info!(record = %record.order.file.display(), "end a server of an earlier host");
        if let Err(error) = record.clear() {
            tracing::error!(record = %record.order.file.display(), %error, "it does not end");
            alive.push(record);
        }
    }
    let homes: Vec<_> = alive.iter().map(|record| record.directory.clone()).collect();
    for left in std::fs::read_dir(directory.join("run"))? {
        let left = left?.path();
        if homes.contains(&left) {
            continue;
        }
        if let Err(error) = remove(&left) {
            tracing::warn!(directory = %left.display(), %error, "left behind");
        }
    }
    Ok(alive)
}

/// Tries again to end what an earlier host left, until nothing of it is left.
async fn clear_left(processes: Weak<Processes>) {
    loop {
        sleep(PAUSE).await;
        let Some(processes) = processes.upgrade() else { return };
        let records = processes.ground.left.lock().clone();
        if records.is_empty() {
            return;
        }
        for record in records {
            let file = record.order.file.clone();
            if blocking(move || record.clear()).await.is_ok() {
                processes.ground.left.lock().retain(|one| one.order.file != file);
            }
        }
        let modules = processes.modules.lock();
        modules.values().for_each(|module| module.changed.notify_one());
    }
}

/// What the kernel lets servers have, as tried with one that does nothing.
fn layers(config: &ProcessesConfig) -> io::Result<Layers> {
    let home = config.directory.join("run/probe");
    private(&home)?;
    let order = Order {
        file: config.directory.join("records/probe"),
        host: std::process::id(),
        working: config.working.clone(),
        own: vec![home.clone()],
        temporary: home.clone(),
        hidden: hidden(config),
        pids: 16,
        files: 64,
        ..Order::default()
    };
    let write = |order: &Order| {
        let order = order.clone();
        Record { order, ..Record::default() }.write()
    };
    let found = probe(&order, write);
    std::fs::remove_file(&order.file).ok();
    if let Err(error) = remove(&home) {
        tracing::warn!(directory = %home.display(), %error, "left behind");
    }
    Ok(found)
}

fn confinement(layers: Layers, cgroups: Option<&Cgroups>) -> String {
    format!("{}; {}", cgroup::describe(cgroups), layers.describe())
}
