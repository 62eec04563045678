//! What one module version may touch, worked out once from its spec and the host's offers.

use std::sync::Arc;

use roadstead_domain::{Grantee, Limits, ModuleId, ModuleSpec};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi_http::WasiHttpCtx;

use super::{
    CallContext, GuestCapabilities,
    clocks::Clock,
    environment::Environment,
    files,
    files::{Directories, OpenFiles},
    limit::{Account, Places},
    network::{Network, Policy, Shared},
    offers::{Offer, OfferKind},
    random::{LARGEST, RandomSource},
    secrets::Secrets,
    shares::{Egress, Shares},
};
use crate::{
    LoadError, LogStore, Offers,
    logs::{Source, VersionLog},
};

/// Bounds that no spec can exceed: each handle, socket and file costs the host something before
/// any other limit sees it.
const MOST: Most = Most { handles: 8_192, sockets: 1_024, open_files: 4_096, random: LARGEST };

struct Most {
    handles: u64,
    sockets: u64,
    open_files: u64,
    random: u64,
}

/// What one module version may touch. Made once per module.
pub(crate) struct Granted {
    limits: Limits,
    spec: roadstead_domain::Capabilities,
    environment: Environment,
    secrets: Arc<Secrets>,
    directories: Directories,
    policy: Arc<Policy>,
    log: VersionLog,
    shared: Shared,
}

impl Granted {
    /// Works out what a version gets; opens its directories.
    ///
    /// # Errors
    /// [`LoadError::NeverFits`] and [`LoadError::NotOffered`] name the field of the spec and what
    /// this host gives; meant for who pushes the module.
    pub(crate) fn new(
        id: &ModuleId,
        spec: &ModuleSpec,
        offers: &Offers,
        shares: &Shares,
        logs: &Arc<LogStore>,
    ) -> Result<Self, LoadError> {
        let limits = &spec.limits;
        at_most("handles", limits.handles, MOST.handles)?;
        at_most("sockets", limits.sockets, MOST.sockets)?;
        at_most("open_files", limits.open_files, MOST.open_files)?;
        at_most("random", limits.random.0, MOST.random)?;
        let capabilities = &spec.capabilities;
        let asking = Asking { id, offers };
        let share = shares.of(id);
        let (names, config) = (&capabilities.secrets, &capabilities.config);
        let secrets = Arc::new(Secrets::new(names, config, &asking, "capabilities.secrets")?);
        Ok(Self {
            limits: limits.clone(),
            spec: capabilities.clone(),
            environment: Environment(capabilities.env.clone().into_iter().collect()),
            directories: files::preopen(&capabilities.files, &spec.quota, &asking)?,
            policy: Arc::new(Policy::new(&capabilities.network, &asking, &share.lookups)?),
            log: logs.version(id, limits.log_rate).without(&secrets),
            secrets,
            shared: Shared {
                connections: Places::sharing(spec.quota.connections, share.connections.clone()),
                descriptors: Arc::clone(&share.descriptors),
                egress: Egress::new(spec.quota.egress, &share),
            },
        })
    }

    /// Where the host writes about this version's calls.
    pub(crate) fn log(&self) -> &VersionLog {
        &self.log
    }

    /// The capabilities of a new instance, for its first call. Once per instance; opens nothing.
    pub(crate) fn guest(&self, call: &CallContext) -> wasmtime::Result<GuestCapabilities> {
        let account = Account::new(&self.limits);
        let log = self.log.guest(call.id);
        let network =
            Network::new(&self.policy, &account, &self.limits, &self.shared, call.deadline);
        let mut builder = WasiCtxBuilder::new();
        builder.stdout(log.output(Source::Stdout)).stderr(log.output(Source::Stderr));
        network.configure(&mut builder);
        let mut wasi = builder.build();
        *wasi.filesystem() = self.directories.context.clone();
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(self.limits.handles)?);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(network.largest_fields());
        Ok(GuestCapabilities {
            wasi,
            http,
            table,
            environment: self.environment.clone(),
            config: self.secrets.variables(),
            secrets: Arc::clone(&self.secrets),
            clock: Clock::new(self.spec.clocks),
            random: RandomSource::new(self.spec.random, Arc::clone(&account)),
            files: OpenFiles::new(
                self.limits.open_files,
                Arc::clone(&self.shared.descriptors),
                Arc::clone(&account),
                Arc::clone(&self.directories.writable),
            ),
            network,
            log,
            account,
        })
    }
}

/// A module that asks for what is offered to it.
pub(crate) struct Asking<'a> {
    pub(crate) id: &'a ModuleId,
    pub(crate) offers: &'a Offers,
}

impl Asking<'_> {
    pub(crate) fn is_among(&self, to: &[Grantee]) -> bool {
        to.iter().any(|grantee| grantee.is(&self.id.namespace, &self.id.name))
    }

    /// The names of the offers of a kind that this module may ask for, in words.
    pub(crate) fn offered(&self, of_kind: fn(OfferKind) -> bool) -> String {
        let offers = self.offers.to(&self.id.namespace, &self.id.name);
        let names: Vec<_> =
            offers.iter().filter(|offer| of_kind(offer.kind)).map(Offer::name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

fn at_most(field: &str, asked: u64, most: u64) -> Result<(), LoadError> {
    if asked > most {
        return Err(LoadError::NeverFits(format!(
            "limits.{field} of {asked} is more than {most}, the most that this host gives"
        )));
    }
    Ok(())
}
