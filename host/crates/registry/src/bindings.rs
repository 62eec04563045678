//! The other modules that serve a version's imports: found anew for each call, in its namespace alone.
//!
//! Whether one fits is looked at once for each of its versions.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock, Weak},
};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use roadstead_domain::{
    Binding, BindingProblem, Fault, ModuleName, ModuleRef, ModuleSpec, Namespace,
};
use roadstead_engine::{BadBinding, Bindings, CountsOutcomes, Target};
use roadstead_transcode::{Import, MethodPlan};

use crate::{LiveModule, LiveVersion, RouteTable};

/// The bound imports of one version of a module.
pub(crate) struct BoundImports {
    /// It serves for as long as the registry lives.
    routes: Weak<ArcSwap<RouteTable>>,
    namespace: Namespace,
    imports: BTreeMap<String, BoundImport>,
}

struct BoundImport {
    wanted: ModuleRef,
    import: Import,
    /// Full name of the service that stands for the interface; it never changes in a namespace.
    service: OnceLock<String>,
    /// How versions fit that were looked at and may still serve.
    known: RwLock<Vec<(Weak<LiveVersion>, Fit)>>,
}

/// The methods of a version that serves, by function; or why it does not fit.
type Fit = Result<Arc<HashMap<String, Arc<MethodPlan>>>, Arc<str>>;

/// How a binding stands on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingState {
    /// The interface that is imported.
    pub import: String,
    /// What the spec names, as `name` or `name@version`.
    pub module: String,
    pub standing: BindingStanding,
}

/// Whether calls through a binding find somebody who serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingStanding {
    /// To this version, as `name@version`.
    Bound(String),
    /// The module or version is not there, and why calls fail until it is.
    Missing(String),
    /// It exports other functions or types.
    Mismatch(String),
    /// It is there and this host cannot run it.
    Failing(String),
}

impl BoundImports {
    /// None for a spec without bindings.
    pub(crate) fn new(
        routes: &Arc<ArcSwap<RouteTable>>,
        namespace: &Namespace,
        spec: &ModuleSpec,
        imports: &[Import],
    ) -> Option<Arc<Self>> {
        let bound = imports.iter().filter_map(|import| {
            let binding = spec.bindings.get(import.id())?;
            Some((import.id().to_owned(), BoundImport::new(binding, import.clone())))
        });
        let imports: BTreeMap<_, _> = bound.collect();
        let (routes, namespace) = (Arc::downgrade(routes), namespace.clone());
        (!imports.is_empty()).then(|| Arc::new(Self { routes, namespace, imports }))
    }

    /// How each binding stands now.
    pub(crate) fn states(&self) -> Vec<BindingState> {
        let Some(routes) = self.routes.upgrade() else { return Vec::new() };
        let table = routes.load();
        let state = |(import, bound): (&String, &BoundImport)| BindingState {
            import: import.clone(),
            module: bound.wanted.to_string(),
            standing: bound.standing(&table, &self.namespace),
        };
        self.imports.iter().map(state).collect()
    }
}

impl Bindings for BoundImports {
    fn target(&self, import: &str, function: &str) -> Result<Target, BindingProblem> {
        let gone = || BindingProblem::Fault(Fault::Draining);
        let routes = self.routes.upgrade().ok_or_else(gone)?;
        let bound = self.imports.get(import).ok_or_else(gone)?;
        let live = bound.serving(&routes.load(), &self.namespace)?;
        let module = Arc::clone(live.module().map_err(BindingProblem::Fault)?);
        let methods = bound.fit(&live).map_err(|why| BindingProblem::Mismatch(why.to_string()))?;
        let method = methods.get(function).cloned();
        let method = method.ok_or_else(|| BindingProblem::Mismatch(no_function(function)))?;
        Ok(Target { module, method, outcomes: live })
    }
}

impl CountsOutcomes for LiveVersion {
    fn count(&self, fault: Option<&Fault>) {
        Self::count(self, fault);
    }
}

/// The bindings of a version that is about to be published which cannot be, as things are now.
pub(crate) fn misfits(
    table: &RouteTable,
    (namespace, name): (&Namespace, &ModuleName),
    spec: &ModuleSpec,
    imports: &[Import],
) -> Vec<BadBinding> {
    let problem = |import: &Import| {
        let binding = spec.bindings.get(import.id())?;
        if binding.module == *name {
            return Some("a module cannot serve its own imports".to_owned());
        }
        if let Some(circle) = circle(table, namespace, name, binding) {
            return Some(format!("its calls would come back to `{name}`: {circle}"));
        }
        let bound = BoundImport::new(binding, import.clone());
        match bound.prospect(table, namespace) {
            BindingStanding::Mismatch(why) => Some(format!("`{binding}` does not fit: {why}")),
            _ => None,
        }
    };
    let found = imports.iter().filter_map(|import| {
        Some(BadBinding { import: import.id().to_owned(), problem: problem(import)? })
    });
    found.collect()
}

/// The way by which calls through `binding` come back to `name`, as things are now: by the versions
/// that bindings name, else by the current ones.
fn circle(
    table: &RouteTable,
    namespace: &Namespace,
    name: &ModuleName,
    binding: &Binding,
) -> Option<String> {
    let mut ways: Vec<(&Binding, Option<usize>)> = vec![(binding, None)];
    let mut seen = BTreeSet::from([(&binding.module, &binding.version)]);
    let mut at = 0;
    while let Some((through, _)) = ways.get(at) {
        for next in bindings_of(table, namespace, through) {
            if next.module == *name {
                return Some(told(name, &ways, at));
            }
            if seen.insert((&next.module, &next.version)) {
                ways.push((next, Some(at)));
            }
        }
        at += 1;
    }
    None
}

/// What the module that a binding leads to is bound to itself.
fn bindings_of<'t>(
    table: &'t RouteTable,
    namespace: &Namespace,
    binding: &Binding,
) -> impl Iterator<Item = &'t Binding> {
    let module = table.module(namespace, &binding.module);
    let live = module.and_then(|module| match &binding.version {
        Some(version) => module.versions.get(version),
        None => module.current(),
    });
    live.into_iter().flat_map(|live| live.record().spec.bindings.values())
}

/// The way up to the one that leads back to `name`.
fn told(name: &ModuleName, ways: &[(&Binding, Option<usize>)], last: usize) -> String {
    let from = |at: &usize| ways.get(*at).and_then(|(_, from)| *from);
    let back = std::iter::successors(Some(last), from).filter_map(|at| ways.get(at));
    let mut stops: Vec<String> = back.map(|(binding, _)| binding.to_string()).collect();
    stops.push(name.to_string());
    stops.reverse();
    stops.push(name.to_string());
    stops.join(" → ")
}

impl BoundImport {
    fn new(binding: &Binding, import: Import) -> Self {
        let wanted = ModuleRef { name: binding.module.clone(), version: binding.version.clone() };
        Self { wanted, import, service: OnceLock::new(), known: RwLock::default() }
    }

    /// The version that answers the next call: where a native one has no server that is ready,
    /// another that has one and fits, as for any caller.
    fn serving(
        &self,
        table: &RouteTable,
        namespace: &Namespace,
    ) -> Result<Arc<LiveVersion>, BindingProblem> {
        self.chosen(table, namespace, |live| self.fit(live).is_ok())
    }

    /// The version that is to answer calls; `stands_in` says who may instead.
    fn chosen(
        &self,
        table: &RouteTable,
        namespace: &Namespace,
        stands_in: impl Fn(&Arc<LiveVersion>) -> bool,
    ) -> Result<Arc<LiveVersion>, BindingProblem> {
        let module = self.module(table, namespace)?;
        if let Some(version) = &self.wanted.version {
            let live = module.versions.get(version);
            return live.cloned().ok_or_else(|| {
                BindingProblem::Absent(Fault::NoSuchVersion(self.wanted.clone()).to_string())
            });
        }
        let service = match self.service.get() {
            Some(service) => Some(service),
            None => self.service_of(module).map(|service| self.service.get_or_init(|| service)),
        };
        let answering =
            service.and_then(|service| table.answering(namespace, service, &self.wanted.name));
        let live = answering.map(|answering| answering.chosen(stands_in));
        // One that does not export it says so.
        live.or_else(|| module.current()).cloned().ok_or_else(|| self.absent())
    }

    fn module<'t>(
        &self,
        table: &'t RouteTable,
        namespace: &Namespace,
    ) -> Result<&'t LiveModule, BindingProblem> {
        let module = table.module(namespace, &self.wanted.name);
        module.map(|module| &**module).ok_or_else(|| self.absent())
    }

    fn absent(&self) -> BindingProblem {
        BindingProblem::Absent(Fault::NoSuchModule(self.wanted.name.clone()).to_string())
    }

    fn service_of(&self, module: &LiveModule) -> Option<String> {
        let newest_first = module.versions.values().rev();
        newest_first
            .filter_map(|live| live.schema().ok())
            .find_map(|schema| self.import.service_in(schema.interfaces()).map(str::to_owned))
    }

    fn fit(&self, live: &Arc<LiveVersion>) -> Fit {
        let same = |(known, _): &&(Weak<LiveVersion>, Fit)| known.as_ptr() == Arc::as_ptr(live);
        if let Some((_, fit)) = self.known.read().iter().find(same) {
            return fit.clone();
        }
        let fit = self.look(live);
        let mut known = self.known.write();
        known.retain(|(version, _)| 0 < version.strong_count());
        if !known.iter().any(|one| same(&one)) {
            known.push((Arc::downgrade(live), fit.clone()));
        }
        fit
    }

    fn look(&self, live: &LiveVersion) -> Fit {
        let schema = live.schema().map_err(|fault| fault.to_string())?;
        let served = self.import.served_by(schema.interfaces());
        let served = served.map_err(|misfit| misfit.to_string())?;
        let methods = served.into_iter().map(|one| {
            let method = live.method(&one.service, &one.method);
            let method = method.map_err(|fault| Arc::from(fault.to_string()))?;
            Ok((one.function, Arc::clone(&method.plan)))
        });
        methods.collect::<Result<_, _>>().map(Arc::new)
    }

    /// How it stands now.
    fn standing(&self, table: &RouteTable, namespace: &Namespace) -> BindingStanding {
        self.judged(self.serving(table, namespace))
    }

    /// How it stands once whoever is to answer does.
    fn prospect(&self, table: &RouteTable, namespace: &Namespace) -> BindingStanding {
        self.judged(self.chosen(table, namespace, |_| false))
    }

    fn judged(&self, serving: Result<Arc<LiveVersion>, BindingProblem>) -> BindingStanding {
        let live = match serving {
            Ok(live) => live,
            Err(BindingProblem::Absent(why)) => return BindingStanding::Missing(why),
            Err(other) => return BindingStanding::Failing(other.to_string()),
        };
        if let Some(problem) = live.problem() {
            return BindingStanding::Failing(problem.to_string());
        }
        match self.fit(&live) {
            Ok(_) => BindingStanding::Bound(live.label().to_string()),
            Err(why) => BindingStanding::Mismatch(why.to_string()),
        }
    }
}

fn no_function(function: &str) -> String {
    format!("it has no function `{function}`")
}
