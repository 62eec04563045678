//! Native modules: who answers for a version, and which versions are to run.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use roadstead_catalog::VersionRecord;
use roadstead_domain::{ModuleId, ModuleName, ModuleSpec, Namespace, Version};
use roadstead_engine::{Contract, LoadError, NativeStanding, Natives, Remote};
use roadstead_transcode::{Derived, MethodPlan};

use crate::{LiveModule, LiveVersion, Registry, RouteTable};

/// The native modules that there are, and which versions of each were to run.
type Told = HashMap<(Namespace, ModuleName), Vec<Version>>;

/// Who runs native modules, and what it was told to run last.
pub(crate) struct Runner {
    natives: Arc<dyn Natives>,
    /// None before the first time.
    told: Mutex<Option<Told>>,
}

/// That nobody runs native modules here.
pub(super) fn nobody() -> LoadError {
    let why = "native modules run outside of the sandbox, and this host runs none: its operator \
               allows them with `roadstead serve --native` (`[native] enabled = true`)";
    LoadError::NotOffered(why.to_owned())
}

impl Runner {
    pub(super) fn new(natives: Arc<dyn Natives>) -> Self {
        Self { natives, told: Mutex::default() }
    }

    /// Whether a version that offers `derived` could run here.
    pub(super) fn accepts(
        &self,
        id: &ModuleId,
        spec: &ModuleSpec,
        derived: &Derived,
    ) -> Result<(), LoadError> {
        native_fits(spec, derived).map_err(LoadError::NeverFits)?;
        self.natives.accepts(id, spec)
    }

    /// Who answers the calls of a published version.
    pub(super) fn remote(
        &self,
        id: &ModuleId,
        spec: &Arc<ModuleSpec>,
        derived: &Derived,
    ) -> Result<Arc<dyn Remote>, LoadError> {
        self.accepts(id, spec, derived)?;
        let services = derived.services.iter().map(|service| service.name.clone()).collect();
        let contract = Arc::new(Contract { files: derived.files.clone(), services });
        self.natives.remote(id, spec, &contract)
    }

    /// Says which versions are to run from now on, of each module where that changed, and which
    /// modules are there no more.
    pub(super) fn follow(&self, table: &RouteTable) {
        let key =
            |namespace: &Namespace, module: &LiveModule| (namespace.clone(), module.name.clone());
        let natives = table.all().filter(|(_, module)| is_native(module));
        let wanted: HashMap<_, _> =
            natives.map(|(namespace, module)| (key(namespace, module), to_run(module))).collect();
        let mut told = self.told.lock();
        let told = told.get_or_insert_with(|| {
            self.natives.begin(&wanted.keys().cloned().collect::<Vec<_>>());
            HashMap::new()
        });
        for ((namespace, name), _) in told.extract_if(|key, _| !wanted.contains_key(key)) {
            self.natives.delete(&namespace, &name);
        }
        for (key, versions) in wanted {
            if told.get(&key) != Some(&versions) {
                self.natives.run(&key.0, &key.1, &versions);
                told.insert(key, versions);
            }
        }
    }
}

/// Whether a native version that offers `derived` could be served at all, wherever.
///
/// # Errors
/// Why not, for who wrote it.
pub fn native_fits(spec: &ModuleSpec, derived: &Derived) -> Result<(), String> {
    let handles = |plan: &&Arc<MethodPlan>| plan.takes_handles() || plan.gives_handles();
    let methods = || derived.services.iter().flat_map(|service| &service.methods);
    if let Some(plan) = methods().find(handles) {
        let why = format!("`{}` has resources, which native modules have not", plan.export);
        return Err(why);
    }
    let lists = spec.native.iter().flat_map(|native| {
        [("concurrent", &native.concurrent), ("idempotent", &native.idempotent)]
    });
    for (field, name) in lists.flat_map(|(field, names)| names.iter().map(move |n| (field, n))) {
        if name != "*" && methods().all(|plan| plan.export.function != *name) {
            let mut known: Vec<_> = methods().map(|plan| plan.export.function.as_str()).collect();
            known.sort_unstable();
            known.dedup();
            let known = known.join(", ");
            let why = format!("native.{field}: there is no function `{name}`, but {known}");
            return Err(why);
        }
    }
    Ok(())
}

fn is_native(module: &LiveModule) -> bool {
    module.versions.values().any(|live| live.record().spec.native.is_some())
}

/// The native versions that answer for a module. One that keeps state runs only while it is the
/// version that answers for the module as a whole: two would write the same state.
fn to_run(module: &LiveModule) -> Vec<Version> {
    let native = |live: &LiveVersion| live.record().spec.native.as_ref().map(|spec| spec.stateful);
    let current = module.current().map(|live| &live.id().version);
    let mut versions: Vec<_> = module
        .serving()
        .into_iter()
        .flat_map(|(_, versions)| versions)
        .map(|(live, _)| live)
        .filter(|live| match native(live) {
            Some(stateful) => {
                live.module().is_ok() && (!stateful || Some(&live.id().version) == current)
            }
            None => false,
        })
        .map(|live| live.id().version.clone())
        .collect();
    versions.sort();
    versions.dedup();
    versions
}

impl Registry {
    /// A version was pushed again, as it is.
    pub(crate) fn pushed_again(&self, id: &ModuleId, record: &VersionRecord) {
        if let (Some(_), Some(runner)) = (&record.spec.native, &self.natives) {
            runner.natives.again(id);
        }
    }

    /// How a native version stands; none where nobody runs native modules.
    pub fn native(&self, id: &ModuleId) -> Option<NativeStanding> {
        self.natives.as_ref().map(|runner| runner.natives.standing(id))
    }
}
