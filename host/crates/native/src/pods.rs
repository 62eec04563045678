//! Native modules that a cluster runs as pods: the controller tells which servers there are, and is
//! told how they are called.
//!
//! Host and server show each other certificates. A server is called once it is connected, says that
//! it serves, and keeps its contract; what the controller makes of it is for it to say.

mod module;
mod tls;
mod watch;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use roadstead_domain::{ModuleId, ModuleName, ModuleSpec, Namespace, NativeSpec, Version};
use roadstead_engine::{
    Attempt, Contract, Isolation, LoadError, LogStore, NativeSecrets, NativeStanding, NativeState,
    Natives, Offers, Remote,
};
use roadstead_proto::v1::{NativeServers, NativeUse};
use tokio::sync::watch::{Receiver, Sender};

use crate::{
    pods::module::Module, processes::shown, remote::ServerRemote, version::Clock,
    version::Version as Registered,
};

/// What a host shows the servers of native modules, as PEM files that are read anew for every
/// connection; and where it writes about them.
#[derive(Debug, Clone)]
pub struct PodsConfig {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub logs: LogStore,
}

/// The native modules of a cluster, as one host calls them.
#[derive(Debug)]
pub struct Pods {
    config: Arc<PodsConfig>,
    clock: Clock,
    modules: Mutex<HashMap<(Namespace, ModuleName), Arc<Module>>>,
    /// Counts what the controller should hear of at once.
    news: Sender<u64>,
}

impl Pods {
    pub fn new(config: PodsConfig) -> Self {
        let (modules, clock) = (Mutex::default(), Clock::new());
        Self { config: Arc::new(config), clock, modules, news: Sender::new(0) }
    }

    /// The controller tells which servers modules have. What makes no sense changes nothing.
    pub fn told(&self, all: Vec<NativeServers>) {
        for servers in all {
            let names = (servers.namespace.parse(), servers.module.parse());
            let (Ok(namespace), Ok(name)) = names else {
                tracing::warn!(module = servers.module, "the controller tells of no module");
                continue;
            };
            self.module(&namespace, &name).told(servers);
        }
    }

    /// How modules are called, for the controller.
    pub fn used(&self) -> Vec<NativeUse> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let modules: Vec<_> = self.modules.lock().values().cloned().collect();
        modules.iter().flat_map(|module| module.used(unix)).collect()
    }

    /// Changes when a module is called that was not, or breaks its contract.
    pub fn news(&self) -> Receiver<u64> {
        self.news.subscribe()
    }

    fn module(&self, namespace: &Namespace, name: &ModuleName) -> Arc<Module> {
        let mut modules = self.modules.lock();
        let module = modules.entry((namespace.clone(), name.clone())).or_insert_with(|| {
            let (config, news) = (Arc::clone(&self.config), self.news.clone());
            Arc::new(Module::new(config, self.clock, news))
        });
        Arc::clone(module)
    }
}

impl Natives for Pods {
    fn accepts(&self, _: &ModuleId, spec: &ModuleSpec) -> Result<(), LoadError> {
        native(spec).map(drop)
    }

    fn remote(
        &self,
        id: &ModuleId,
        spec: &Arc<ModuleSpec>,
        contract: &Arc<Contract>,
    ) -> Result<Arc<dyn Remote>, LoadError> {
        let native = native(spec)?.clone();
        // Servers get their secrets from the cluster.
        let secrets = NativeSecrets::new(&Offers::default(), id, &[])?;
        let log = self.config.logs.servers(id, spec.limits.log_rate, &secrets);
        let (spec, contract) = (Arc::clone(spec), Arc::clone(contract));
        let version = Registered::new(id.clone(), spec, native, contract, secrets, log, self.clock);
        let version = Arc::new(version);
        let module = self.module(&id.namespace, &id.name);
        module.register(&version);
        Ok(Arc::new(ServerRemote::new(module, version)))
    }

    fn begin(&self, _: &[(Namespace, ModuleName)]) {}

    /// Which versions run is the controller's word.
    fn run(&self, _: &Namespace, _: &ModuleName, _: &[Version]) {}

    /// How its servers were is not how those of the next one of its name are.
    fn delete(&self, namespace: &Namespace, name: &ModuleName) {
        self.module(namespace, name).forget();
    }

    /// Kubernetes tries again by itself.
    fn again(&self, _: &ModuleId) {}

    fn standing(&self, id: &ModuleId) -> NativeStanding {
        let module = self.module(&id.namespace, &id.name);
        let standing = crate::place::Place::standing(&*module, &id.version);
        let attempts = module.attempts(&id.version);
        NativeStanding {
            isolation: Isolation::Container,
            confinement: "pods of the cluster, with a network for hosts alone".to_owned(),
            state: standing.map_or(NativeState::Starting, |standing| shown(standing.state)),
            attempts: attempts
                .iter()
                .map(|one| Attempt { epoch: one.epoch, state: shown(one.state()) })
                .collect(),
        }
    }
}

/// What a spec says of servers, if a cluster can run it.
fn native(spec: &ModuleSpec) -> Result<&NativeSpec, LoadError> {
    let never = |why: &str| LoadError::NeverFits(why.to_owned());
    let native = spec.native.as_ref().ok_or_else(|| never("its spec has no `native`"))?;
    let image = native.image.as_ref();
    image.ok_or_else(|| never("native.image is not set, and a cluster runs images"))?;
    Ok(native)
}
