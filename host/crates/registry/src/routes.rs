//! Which version answers a call: an immutable table, computed when something is published.
//!
//! Resolving is one look-up of the namespace and one of the service; it allocates only to refuse.
//! A namespace sees its own modules alone.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use prost_types::FileDescriptorProto;
use roadstead_domain::{Fault, Millicores, ModuleName, ModuleRef, Namespace};
use roadstead_transcode::Locks;

use crate::{
    DamagedLock, LiveModule, LiveVersion, answering::Answering, merge::merge, push::LockBook,
};

/// Everything that serves, as of one revision of the catalog.
#[derive(Default)]
pub struct RouteTable {
    revision: u64,
    namespaces: HashMap<Namespace, Arc<NamespaceRoutes>>,
}

/// When a namespace last changed: no two states of it have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edition {
    /// The catalog's revision; 0 for a namespace that never had a module.
    pub revision: u64,
    /// How often its calls were split another way since.
    steered: u64,
}

#[derive(Default)]
struct NamespaceRoutes {
    edition: Edition,
    modules: BTreeMap<ModuleName, Arc<LiveModule>>,
    /// By service, the versions of every module that answer for it.
    services: HashMap<String, BTreeMap<ModuleName, Answering>>,
    /// By service with methods that take handles, the last version that has it, whether it answers
    /// or not: sessions stay on the version that they began on.
    sessions: HashMap<String, Arc<LiveVersion>>,
    locks: Arc<LockBook>,
    files: OnceLock<Arc<Vec<FileDescriptorProto>>>,
}

impl RouteTable {
    /// The catalog's revision that the table shows.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// When the namespace last changed.
    pub fn edition(&self, namespace: &Namespace) -> Edition {
        self.namespaces.get(namespace).map(|routes| routes.edition).unwrap_or_default()
    }

    /// The version that answers a call of a method; `wanted` is what `roadstead-module` names. Where
    /// a split shares the calls of the module, each look takes a turn.
    ///
    /// # Errors
    /// [`Fault::NoSuchService`], [`Fault::NoSuchModule`], [`Fault::NoSuchVersion`] or
    /// [`Fault::Ambiguous`].
    pub fn resolve(
        &self,
        namespace: &Namespace,
        (service, method): (&str, &str),
        wanted: Option<&ModuleRef>,
    ) -> Result<&Arc<LiveVersion>, Fault> {
        let no_service = || Fault::NoSuchService(service.to_owned());
        let routes = self.namespaces.get(namespace);
        let Some(wanted) = wanted else {
            let serving = routes.and_then(|routes| routes.services.get(service));
            let serving = serving.ok_or_else(no_service)?;
            let mut modules = serving.iter();
            return match (modules.next(), modules.next()) {
                (Some((_, only)), None) => Ok(only.next(service, method)),
                _ => Err(Fault::Ambiguous {
                    service: service.to_owned(),
                    candidates: serving.keys().cloned().collect(),
                }),
            };
        };
        let module = routes.and_then(|routes| routes.modules.get(&wanted.name));
        let (Some(routes), Some(module)) = (routes, module) else {
            return Err(Fault::NoSuchModule(wanted.name.clone()));
        };
        let Some(version) = &wanted.version else {
            let serving = routes.services.get(service);
            let serving = serving.and_then(|modules| modules.get(&wanted.name));
            return serving.map(|serving| serving.next(service, method)).ok_or_else(no_service);
        };
        let live =
            module.versions.get(version).ok_or_else(|| Fault::NoSuchVersion(wanted.clone()))?;
        if live.exports(service) { Ok(live) } else { Err(no_service()) }
    }

    /// Who of a module answers for a service.
    pub(crate) fn answering(
        &self,
        namespace: &Namespace,
        service: &str,
        module: &ModuleName,
    ) -> Option<&Answering> {
        self.namespaces.get(namespace)?.services.get(service)?.get(module)
    }

    /// A version that knows the messages of a service whose methods take handles, also where none
    /// or more than one answers for it: which one is called is for the handle to say.
    pub fn by_handle(&self, namespace: &Namespace, service: &str) -> Option<&Arc<LiveVersion>> {
        self.namespaces.get(namespace)?.sessions.get(service)
    }

    /// Whether any module of the namespace answers for the service.
    pub fn serves(&self, namespace: &Namespace, service: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|routes| routes.services.contains_key(service))
    }

    /// The full names of the namespace's services, sorted.
    pub fn services(&self, namespace: &Namespace) -> Vec<&str> {
        let routes = self.namespaces.get(namespace);
        let mut names: Vec<&str> = routes
            .into_iter()
            .flat_map(|routes| routes.services.keys())
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names
    }

    /// The modules of all namespaces: for who runs the host, not for callers.
    pub fn all(&self) -> impl Iterator<Item = (&Namespace, &Arc<LiveModule>)> {
        self.namespaces.iter().flat_map(|(namespace, routes)| {
            routes.modules.values().map(move |module| (namespace, module))
        })
    }

    /// Whether something does not serve because stored bytes could not be read.
    pub(crate) fn is_wanting(&self) -> bool {
        let unread = |live: &Arc<LiveVersion>| matches!(live.module(), Err(Fault::NotReady(_)));
        self.all_modules().any(|module| module.versions.values().any(unread))
            || self.namespaces.values().any(|routes| routes.locks.damaged().next().is_some())
    }

    /// The namespace's modules by name.
    pub fn modules(&self, namespace: &Namespace) -> impl Iterator<Item = &Arc<LiveModule>> {
        self.namespaces.get(namespace).into_iter().flat_map(|routes| routes.modules.values())
    }

    /// The modules of every namespace, namespaces in no order.
    pub fn all_modules(&self) -> impl Iterator<Item = &Arc<LiveModule>> {
        self.namespaces.values().flat_map(|routes| routes.modules.values())
    }

    pub fn module(&self, namespace: &Namespace, name: &ModuleName) -> Option<&Arc<LiveModule>> {
        self.namespaces.get(namespace)?.modules.get(name)
    }

    /// Processor time that is promised to all modules but one, by the versions that answer for them.
    pub(crate) fn promised(&self, but: Option<(&Namespace, &ModuleName)>) -> Millicores {
        let modules = self.namespaces.iter().flat_map(|(namespace, routes)| {
            routes.modules.values().map(move |module| (namespace, module))
        });
        let others = modules.filter(|(namespace, module)| but != Some((namespace, &module.name)));
        let promised = others.filter_map(|(_, module)| module.current()?.record().spec.quota.cpu);
        Millicores(promised.fold(0, |sum, cpu| sum.saturating_add(cpu.0)))
    }

    /// The files of everything that serves in the namespace, for reflection: where several modules
    /// share a package, the union. `google/protobuf/*` is not among them.
    pub fn files(&self, namespace: &Namespace) -> Arc<Vec<FileDescriptorProto>> {
        let Some(routes) = self.namespaces.get(namespace) else {
            return Arc::default();
        };
        Arc::clone(routes.files.get_or_init(|| Arc::new(routes.merged_files())))
    }

    /// The newest wire locks of the namespace.
    pub(crate) fn locks(&self, namespace: &Namespace) -> Arc<LockBook> {
        self.namespaces.get(namespace).map(|routes| Arc::clone(&routes.locks)).unwrap_or_default()
    }

    /// The newest wire locks of those packages that were published before.
    pub(crate) fn newest_locks<'a>(
        &self,
        namespace: &Namespace,
        packages: impl Iterator<Item = &'a str>,
    ) -> Result<Locks, DamagedLock> {
        let book = self.locks(namespace);
        book.locks(packages).map_err(|(package, digest)| {
            let versions = self.modules(namespace).flat_map(|module| module.versions.values());
            let holds =
                |live: &&Arc<LiveVersion>| live.record().locks.get(package) == Some(&digest);
            let holder = versions.filter(holds).last().map(|live| live.id().clone());
            DamagedLock { package: package.to_owned(), holder }
        })
    }

    /// The table after one module changed, or is gone; with the namespace's locks where they moved.
    pub(crate) fn with_module(
        &self,
        revision: u64,
        namespace: &Namespace,
        name: &ModuleName,
        module: Option<LiveModule>,
        locks: Option<LockBook>,
    ) -> Self {
        let old = self.namespaces.get(namespace);
        let mut modules = old.map(|routes| routes.modules.clone()).unwrap_or_default();
        let locks = locks.map_or_else(|| self.locks(namespace), Arc::new);
        match module {
            Some(module) => modules.insert(name.clone(), Arc::new(module)),
            None => modules.remove(name),
        };
        let mut namespaces = self.namespaces.clone();
        let edition = Edition { revision, steered: 0 };
        let routes = NamespaceRoutes::new(edition, modules, locks);
        namespaces.insert(namespace.clone(), Arc::new(routes));
        Self { revision, namespaces }
    }

    /// The table after the calls of modules were split another way; nothing else of it changed, and
    /// it shows the same revision of the catalog.
    pub(crate) fn steered(&self, modules: Vec<(Namespace, LiveModule)>) -> Self {
        let mut changed: HashMap<Namespace, Vec<LiveModule>> = HashMap::new();
        for (namespace, module) in modules {
            changed.entry(namespace).or_default().push(module);
        }
        let mut namespaces = self.namespaces.clone();
        for (namespace, changed) in changed {
            let Some(old) = namespaces.get(&namespace) else { continue };
            let mut modules = old.modules.clone();
            modules.extend(changed.into_iter().map(|one| (one.name.clone(), Arc::new(one))));
            let Edition { revision, steered } = old.edition;
            let edition = Edition { revision, steered: steered + 1 };
            let routes = NamespaceRoutes::new(edition, modules, Arc::clone(&old.locks));
            namespaces.insert(namespace, Arc::new(routes));
        }
        Self { revision: self.revision, namespaces }
    }

    /// A table of everything at once. What is as in an earlier one is taken from there, so that a
    /// namespace in which nothing changed keeps its revision.
    pub(crate) fn of(
        revision: u64,
        modules: impl IntoIterator<Item = (Namespace, LiveModule)>,
        locks: HashMap<Namespace, LockBook>,
        old: &Self,
    ) -> Self {
        let mut parts: HashMap<Namespace, (BTreeMap<_, _>, LockBook)> = locks
            .into_iter()
            .map(|(namespace, book)| (namespace, (BTreeMap::new(), book)))
            .collect();
        for (namespace, module) in modules {
            let known = old.module(&namespace, &module.name).filter(|known| known.same(&module));
            let module = known.map_or_else(|| Arc::new(module), Arc::clone);
            let (modules, _) = parts.entry(namespace).or_default();
            modules.insert(module.name.clone(), module);
        }
        let edition = Edition { revision, steered: 0 };
        let routes = |(namespace, (modules, book))| {
            let known = old.namespaces.get(&namespace);
            let routes = match known.filter(|known| known.same(&modules, &book)) {
                Some(known) => Arc::clone(known),
                None => Arc::new(NamespaceRoutes::new(edition, modules, Arc::new(book))),
            };
            (namespace, routes)
        };
        Self { revision, namespaces: parts.into_iter().map(routes).collect() }
    }
}

impl NamespaceRoutes {
    fn new(
        edition: Edition,
        modules: BTreeMap<ModuleName, Arc<LiveModule>>,
        locks: Arc<LockBook>,
    ) -> Self {
        let mut services: HashMap<String, BTreeMap<ModuleName, Answering>> = HashMap::new();
        for (name, module) in &modules {
            for (service, serving) in module.serving() {
                let answering = Answering::new(module, service, &serving, &module.given);
                let Some(answering) = answering else { continue };
                services.entry(service.to_owned()).or_default().insert(name.clone(), answering);
            }
        }
        let mut sessions = HashMap::new();
        for live in modules.values().flat_map(|module| module.versions.values()) {
            let services = live.sessions().iter();
            sessions.extend(services.map(|service| (service.clone(), Arc::clone(live))));
        }
        Self { edition, modules, services, sessions, locks, files: OnceLock::new() }
    }

    /// Whether it is made of the very same modules and locks.
    fn same(&self, modules: &BTreeMap<ModuleName, Arc<LiveModule>>, book: &LockBook) -> bool {
        let pairs = self.modules.values().zip(modules.values());
        self.modules.len() == modules.len()
            && pairs.into_iter().all(|(one, other)| Arc::ptr_eq(one, other))
            && self.locks.same(book)
    }

    /// Each version's files are merged once, however many services it answers for.
    fn merged_files(&self) -> Vec<FileDescriptorProto> {
        let serving: BTreeMap<_, _> = self
            .services
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(Answering::all)
            .map(|live| ((&live.id().name, &live.id().version), live))
            .collect();
        let schemas = serving.into_values().filter_map(|live| live.schema().ok());
        merge(schemas.flat_map(|schema| schema.files()))
    }
}
