//! What one module version may touch, worked out once from its spec and the host's offers.

use std::{collections::BTreeMap, sync::Arc};

use roadstead_domain::{Limits, ModuleId, ModuleSpec};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtxBuilder, filesystem::WasiFilesystemCtx};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::WasiHttpCtx;

use super::{
    CallContext, GuestCapabilities,
    clocks::Clock,
    environment::Environment,
    files,
    files::OpenFiles,
    limit::{Account, Places},
    network::{Network, Policy},
    random::RandomSource,
};
use crate::{
    LogStore, OfferedDirectory,
    logs::{Source, VersionLog},
};

/// Bounds that no spec can exceed: each handle, socket and file costs the host something before
/// any other limit sees it.
const MOST: Most = Most { handles: 8_192, sockets: 1_024, open_files: 4_096 };

struct Most {
    handles: u64,
    sockets: u64,
    open_files: u64,
}

/// Why a spec's capabilities cannot be granted on this host; meant for who pushes the module.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct GrantError(pub(crate) String);

/// What one module version may touch. Made once per module.
pub(crate) struct Granted {
    limits: Limits,
    spec: roadstead_domain::Capabilities,
    environment: Environment,
    config: Arc<WasiConfigVariables>,
    filesystem: WasiFilesystemCtx,
    policy: Arc<Policy>,
    log: VersionLog,
    host: HostPlaces,
}

/// Descriptors of the whole host that guests may have, so that the gateway never lacks them.
#[derive(Debug, Clone)]
pub(crate) struct HostPlaces {
    pub(crate) descriptors: Arc<Places>,
}

impl HostPlaces {
    /// Half of what the process may open.
    fn of_process() -> Self {
        static PLACES: std::sync::OnceLock<HostPlaces> = std::sync::OnceLock::new();
        PLACES
            .get_or_init(|| {
                let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
                let most = limit.current.unwrap_or(1 << 20);
                Self { descriptors: Places::new(most / 2) }
            })
            .clone()
    }
}

impl Granted {
    /// Works out what a version gets; opens its directories.
    ///
    /// # Errors
    /// [`GrantError`] names the field of the spec and what this host offers.
    pub(crate) fn new(
        id: &ModuleId,
        spec: &ModuleSpec,
        offered: &BTreeMap<String, OfferedDirectory>,
        logs: &Arc<LogStore>,
    ) -> Result<Self, GrantError> {
        let limits = &spec.limits;
        at_most("handles", limits.handles, MOST.handles)?;
        at_most("sockets", limits.sockets, MOST.sockets)?;
        at_most("open_files", limits.open_files, MOST.open_files)?;
        let capabilities = &spec.capabilities;
        let pairs = |map: &BTreeMap<String, String>| -> Vec<(String, String)> {
            map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Ok(Self {
            limits: limits.clone(),
            spec: capabilities.clone(),
            environment: Environment(pairs(&capabilities.env).into()),
            config: Arc::new(pairs(&capabilities.config).into_iter().collect()),
            filesystem: files::preopen(&capabilities.files, offered)?,
            policy: Arc::new(Policy::new(&capabilities.network)),
            log: VersionLog::new(
                logs.module(&id.namespace, &id.name),
                id.version.clone(),
                limits.log_rate,
            ),
            host: HostPlaces::of_process(),
        })
    }

    /// The capabilities of a new instance, for its first call. Once per instance; opens nothing.
    pub(crate) fn guest(&self, call: &CallContext) -> wasmtime::Result<GuestCapabilities> {
        let account = Account::new(&self.limits);
        let log = self.log.guest(call.id);
        let network = Network::new(
            &self.policy,
            &account,
            &self.limits,
            &self.host.descriptors,
            call.deadline,
        );
        let mut builder = WasiCtxBuilder::new();
        builder.stdout(log.output(Source::Stdout)).stderr(log.output(Source::Stderr));
        network.configure(&mut builder);
        let mut wasi = builder.build();
        *wasi.filesystem() = self.filesystem.clone();
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(self.limits.handles)?);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(network.largest_fields());
        Ok(GuestCapabilities {
            wasi,
            http,
            table,
            environment: self.environment.clone(),
            config: Arc::clone(&self.config),
            clock: Clock::new(self.spec.clocks),
            random: RandomSource::new(self.spec.random, Arc::clone(&account)),
            files: OpenFiles::new(
                self.limits.open_files,
                Arc::clone(&self.host.descriptors),
                Arc::clone(&account),
            ),
            network,
            log,
            account,
        })
    }
}

fn at_most(field: &str, asked: u64, most: u64) -> Result<(), GrantError> {
    if asked > most {
        return Err(GrantError(format!(
            "limits.{field} of {asked} is more than {most}, the most that this host gives"
        )));
    }
    Ok(())
}
