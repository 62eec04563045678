//! Modules and versions as calls see them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, OnceLock},
};

use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use roadstead_catalog::VersionRecord;
use roadstead_domain::{Candidate, Fault, ModuleId, ModuleName, Traffic, Version, select_versions};
use roadstead_engine::{CodeState, Module};
use roadstead_transcode::{Interface, Locks, MethodPlan};

use crate::{BindingState, Outcomes, answering::Given, bindings::BoundImports};

/// A published version, ready to be called. It lives as long as anyone calls it.
pub struct LiveVersion {
    id: ModuleId,
    label: Arc<str>,
    record: Arc<VersionRecord>,
    /// Full names of what it exports.
    services: HashSet<String>,
    /// Those of them with methods that take handles.
    sessions: Vec<String>,
    /// A version that this host cannot run stays published: it says why when it is called.
    parts: Result<Parts, Fault>,
    outcomes: Arc<Outcomes>,
    bindings: Option<Arc<BoundImports>>,
}

/// How a version stands on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its code is there.
    Ready,
    /// Its code is to be made.
    Compiling,
    /// Every call of it ends in a fault, and why.
    Failing(String),
}

struct Parts {
    module: Arc<Module>,
    schema: Arc<Schema>,
}

/// The gRPC side of a version.
#[derive(Debug)]
pub struct Schema {
    files: Vec<FileDescriptorProto>,
    /// By service, then by method.
    methods: HashMap<String, HashMap<String, LiveMethod>>,
    /// What the version offers alone: what a later one is compared with.
    surface: Locks,
    interfaces: Vec<Interface>,
    pool: OnceLock<Option<DescriptorPool>>,
}

/// A method that can be called.
#[derive(Debug, Clone)]
pub struct LiveMethod {
    pub plan: Arc<MethodPlan>,
    /// Whether the compiled codec serves it, on which the bounds of its messages depend.
    pub compiled: bool,
}

impl LiveVersion {
    pub(crate) fn new(
        id: ModuleId,
        record: Arc<VersionRecord>,
        parts: Result<(Arc<Module>, Arc<Schema>), Fault>,
    ) -> Self {
        let label = id.to_string().into();
        let services = record.services.iter().map(|service| service.name.clone()).collect();
        let sessions = parts.as_ref().map_or_else(|_| Vec::new(), |(_, schema)| schema.sessions());
        let parts = parts.map(|(module, schema)| Parts { module, schema });
        let outcomes = Arc::default();
        Self { id, label, record, services, sessions, parts, outcomes, bindings: None }
    }

    pub(crate) fn with_bindings(self, bindings: Option<Arc<BoundImports>>) -> Self {
        Self { bindings, ..self }
    }

    /// How its bindings stand, those of a version that cannot run here not among them.
    pub fn bindings(&self) -> Vec<BindingState> {
        self.bindings.as_ref().map(|bound| bound.states()).unwrap_or_default()
    }

    /// The same version, loaded anew: it goes on counting.
    pub(crate) fn after(self, before: &Self) -> Self {
        Self { outcomes: Arc::clone(&before.outcomes), ..self }
    }

    pub fn id(&self) -> &ModuleId {
        &self.id
    }

    /// `name@version`, as the trailer `roadstead-module` says it.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    pub fn record(&self) -> &Arc<VersionRecord> {
        &self.record
    }

    /// The module to call.
    ///
    /// # Errors
    /// The fault that every call of this version ends in, on this host.
    pub fn module(&self) -> Result<&Arc<Module>, Fault> {
        self.parts.as_ref().map(|parts| &parts.module).map_err(Clone::clone)
    }

    /// The fault that every call of this version ends in, on this host, if it does.
    pub fn problem(&self) -> Option<&Fault> {
        self.parts.as_ref().err()
    }

    /// How it stands on this host. Looks at the disk where its code is not in memory.
    pub fn standing(&self) -> Standing {
        let parts = match &self.parts {
            Ok(parts) => parts,
            Err(fault) => return Standing::Failing(fault.to_string()),
        };
        match parts.module.code() {
            CodeState::There => Standing::Ready,
            CodeState::Missing => Standing::Compiling,
            CodeState::Failed(why) => Standing::Failing(why),
        }
    }

    /// Counts a call that ended. A caller who gave it less time than its spec does says nothing
    /// about the version.
    pub fn count(&self, fault: Option<&Fault>) {
        let own = self.record.spec.limits.deadline.duration();
        if !matches!(fault, Some(Fault::Deadline(given)) if *given < own) {
            self.outcomes.count(fault);
        }
    }

    /// How its calls ended.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// # Errors
    /// The fault that every call of this version ends in, on this host.
    pub fn schema(&self) -> Result<&Arc<Schema>, Fault> {
        self.parts.as_ref().map(|parts| &parts.schema).map_err(Clone::clone)
    }

    /// How one method is called.
    ///
    /// # Errors
    /// [`Fault::NoSuchService`], [`Fault::NoSuchMethod`], or what is wrong with the version.
    pub fn method(&self, service: &str, method: &str) -> Result<&LiveMethod, Fault> {
        let methods = self
            .schema()?
            .methods
            .get(service)
            .ok_or_else(|| Fault::NoSuchService(service.to_owned()))?;
        methods.get(method).ok_or_else(|| Fault::NoSuchMethod {
            service: service.to_owned(),
            method: method.to_owned(),
        })
    }

    /// The services with methods that take handles.
    pub(crate) fn sessions(&self) -> &[String] {
        &self.sessions
    }

    /// Whether it exports the service of this full name.
    pub fn exports(&self, service: &str) -> bool {
        self.services.contains(service)
    }
}

impl Schema {
    pub(crate) fn new(
        files: Vec<FileDescriptorProto>,
        methods: impl IntoIterator<Item = LiveMethod>,
        surface: Locks,
        interfaces: Vec<Interface>,
    ) -> Self {
        let mut by_service: HashMap<String, HashMap<String, LiveMethod>> = HashMap::new();
        for method in methods {
            let service = by_service.entry(method.plan.service.clone()).or_default();
            service.insert(method.plan.method.clone(), method);
        }
        Self { files, methods: by_service, surface, interfaces, pool: OnceLock::new() }
    }

    /// The version's files, imported ones before those that import them. `google/protobuf/*` is
    /// not among them.
    pub fn files(&self) -> &[FileDescriptorProto] {
        &self.files
    }

    /// The version's plan as JSON, for clients that make their own stubs.
    pub fn plan(&self) -> String {
        let methods = self.methods.values().flat_map(HashMap::values);
        roadstead_transcode::describe(&self.interfaces, methods.map(|method| &*method.plan))
    }

    pub(crate) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    fn sessions(&self) -> Vec<String> {
        let takes = |methods: &HashMap<String, LiveMethod>| {
            methods.values().any(|method| method.plan.takes_handles())
        };
        let services = self.methods.iter().filter(|(_, methods)| takes(methods));
        services.map(|(service, _)| service.clone()).collect()
    }

    pub(crate) fn surface(&self) -> &Locks {
        &self.surface
    }

    /// The version's messages, for JSON. None if they do not link, which is a fault of the host.
    pub fn pool(&self) -> Option<&DescriptorPool> {
        let build = || {
            let mut pool = DescriptorPool::global();
            match pool.add_file_descriptor_protos(self.files.iter().cloned()) {
                Ok(()) => Some(pool),
                Err(error) => {
                    tracing::error!(%error, "link a version's descriptors");
                    None
                }
            }
        };
        self.pool.get_or_init(build).as_ref()
    }
}

impl fmt::Debug for LiveVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveVersion").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A version, and its part of the calls.
pub(crate) type Weighted<'a> = (&'a Arc<LiveVersion>, u8);

/// A module with all its versions.
#[derive(Debug, Clone)]
pub struct LiveModule {
    pub name: ModuleName,
    pub pinned: Option<Version>,
    /// How its calls are split, or the word that they are not.
    pub traffic: Option<Traffic>,
    pub(crate) given: Arc<Given>,
    /// The highest version that ever was.
    pub highest: Version,
    pub versions: BTreeMap<Version, Arc<LiveVersion>>,
}

impl LiveModule {
    /// The version that answers for the module as a whole: the pinned one, or the one with the most
    /// calls where they are split, or the newest release, or the newest pre-release where there is
    /// no release.
    pub fn current(&self) -> Option<&Arc<LiveVersion>> {
        if let Some(pinned) = &self.pinned {
            return self.versions.get(pinned);
        }
        let most = self.split().max_by_key(|(live, percent)| (*percent, &live.id().version));
        if let Some((live, _)) = most {
            return Some(live);
        }
        let release = self.versions.iter().rev().find(|(version, _)| !version.is_prerelease());
        release.or_else(|| self.versions.last_key_value()).map(|(_, live)| live)
    }

    /// Versions that a split gives calls to, unless one is pinned. Empty where calls are not split.
    fn split(&self) -> impl Iterator<Item = Weighted<'_>> {
        let traffic = self.traffic.as_ref().filter(|_| self.pinned.is_none());
        let shares = traffic.into_iter().flat_map(Traffic::shares);
        shares.filter_map(|(version, percent)| Some((self.versions.get(version)?, *percent)))
    }

    /// Of each 100 calls that name no version, how many a version gets; of services that not all
    /// versions export, it may be others.
    pub fn percent(&self, version: &Version) -> u32 {
        let total: u32 = self.split().map(|(_, percent)| u32::from(percent)).sum();
        if total == 0 {
            let current = self.current().is_some_and(|live| live.id().version == *version);
            return if current { 100 } else { 0 };
        }
        let mut own = self.split().filter(|(live, _)| live.id().version == *version);
        // Of a split that lost a version, the others take what it had.
        own.next().map_or(0, |(_, percent)| (u32::from(percent) * 100 + total / 2) / total)
    }

    /// Whether a split keeps a version from calls.
    pub fn holds_back(&self, version: &Version) -> bool {
        self.split().next().is_some() && self.split().all(|(live, _)| live.id().version != *version)
    }

    /// Whether it has the very same versions, the same pin and the same split.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let versions = self.versions.values().zip(other.versions.values());
        self.name == other.name
            && self.pinned == other.pinned
            && self.traffic == other.traffic
            && self.highest == other.highest
            && self.versions.len() == other.versions.len()
            && versions.into_iter().all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// Whether a version that is published now would answer for the module as a whole.
    pub(crate) fn gives_way_to(&self, version: &Version) -> bool {
        if self.pinned.is_some() || self.split().next().is_some() {
            return false;
        }
        let rank = |version: &Version| (!version.is_prerelease(), version.clone());
        self.versions.keys().all(|other| rank(other) < rank(version))
    }

    /// Every service that the module answers for, with the versions that do and their weights.
    pub(crate) fn serving(&self) -> Vec<(&str, Vec<Weighted<'_>>)> {
        let mut exporters: BTreeMap<&str, Vec<&Version>> = BTreeMap::new();
        for (version, live) in &self.versions {
            for service in &live.services {
                exporters.entry(service).or_default().push(version);
            }
        }
        let chosen = exporters.into_iter().filter_map(|(service, exporters)| {
            let mut versions = exporters.into_iter().map(|version| (version, true));
            let candidate = Candidate {
                module: &self.name,
                pinned: self.pinned.as_ref(),
                traffic: self.traffic.as_ref(),
                versions: &mut versions,
            };
            let selected = select_versions(candidate).ok()?;
            let live = selected
                .into_iter()
                .filter_map(|(version, weight)| Some((self.versions.get(&version)?, weight)));
            Some((service, live.collect()))
        });
        chosen.collect()
    }
}
