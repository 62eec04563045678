//! The objects of all namespaces that are looked after, as the watches last told.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_k8s_api::{
    LOCKS, WireLocksSpec,
    rules::{self, Deleted},
};

use crate::{
    native::observed::Workload,
    objects::{Identity, Kind, ModuleObject, Object, VersionObject},
};

/// A module of a kind by name, whether its object is there or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleKey {
    pub namespace: String,
    pub module: String,
    pub native: bool,
}

impl ModuleKey {
    /// That of the other kind with the same name.
    #[must_use]
    pub fn rival(&self) -> Self {
        Self { native: !self.native, ..self.clone() }
    }

    /// By which hosts speak of it: for them a name is of one module.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { native: false, ..self.clone() }
    }
}

impl std::fmt::Display for ModuleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let native = if self.native { " (native)" } else { "" };
        write!(f, "{}/{}{native}", self.namespace, self.module)
    }
}

/// A name of objects of one of two kinds, native or not.
type Named = (bool, String);

#[derive(Debug, Default)]
struct Objects {
    modules: BTreeMap<Named, ModuleObject>,
    versions: BTreeMap<Named, VersionObject>,
    /// Objects of versions by the module that they say.
    by_module: BTreeMap<Named, BTreeSet<String>>,
    locks: Option<(Identity, WireLocksSpec)>,
    workloads: BTreeMap<(Kind, String), Workload>,
}

/// Everything that is known. Changes answer with the modules that they concern.
#[derive(Debug, Default)]
pub struct World {
    namespaces: BTreeMap<String, Objects>,
    none: WireLocksSpec,
}

impl World {
    pub fn enable(&mut self, namespace: &str) {
        self.namespaces.entry(namespace.to_owned()).or_default();
    }

    pub fn disable(&mut self, namespace: &str) -> BTreeSet<ModuleKey> {
        let keys = self.keys(namespace);
        self.namespaces.remove(namespace);
        keys
    }

    /// Takes in what a watch or an answer says, unless something newer is known.
    pub fn put(&mut self, namespace: &str, object: Object) -> BTreeSet<ModuleKey> {
        let Some(objects) = self.namespaces.get_mut(namespace) else { return BTreeSet::new() };
        let kind = object.kind();
        let old = objects.id(kind, &object.id().name);
        if old.is_some_and(|old| object.id().revision < old.revision) {
            return BTreeSet::new();
        }
        match object {
            Object::Module(module) => {
                let name = module.id.name.clone();
                let native = module.native;
                objects.modules.insert((native, name.clone()), module);
                objects.rivals(namespace, &name, native)
            }
            Object::Version(version) => {
                let native = version.native;
                let mut touched = objects.forget_version(native, &version.id.name);
                touched.insert(version.module.clone());
                let names = objects.by_module.entry((native, version.module.clone())).or_default();
                names.insert(version.id.name.clone());
                objects.versions.insert((native, version.id.name.clone()), version);
                touched.into_iter().flat_map(|module| one(namespace, module, native)).collect()
            }
            Object::Workload(workload) => {
                let module = workload.module.clone();
                objects.workloads.insert((kind, workload.id.name.clone()), workload);
                one(namespace, module, true)
            }
            Object::Locks(id, chains) => {
                if id.name != LOCKS {
                    return BTreeSet::new();
                }
                let same = objects.locks.as_ref().is_some_and(|(_, old)| *old == chains);
                objects.locks = Some((id, chains));
                if same { BTreeSet::new() } else { self.keys(namespace) }
            }
        }
    }

    /// Takes in the answer to an own write, if the object is still there.
    pub fn learn(&mut self, namespace: &str, object: Object) -> BTreeSet<ModuleKey> {
        let known = self.namespaces.get(namespace);
        let known = known.and_then(|all| all.id(object.kind(), &object.id().name));
        match known {
            Some(known) if known.uid == object.id().uid => self.put(namespace, object),
            _ => BTreeSet::new(),
        }
    }

    /// Takes in what was just read, even where something newer seemed to be known: a cluster that
    /// was restored counts anew.
    pub fn believe(&mut self, namespace: &str, object: Object) -> BTreeSet<ModuleKey> {
        let mut touched = self.forget(namespace, object.kind(), &object.id().name);
        touched.extend(self.put(namespace, object));
        touched
    }

    pub fn gone(&mut self, namespace: &str, gone: &Object) -> BTreeSet<ModuleKey> {
        let Some(objects) = self.namespaces.get_mut(namespace) else { return BTreeSet::new() };
        let (kind, id) = (gone.kind(), gone.id());
        if objects.id(kind, &id.name).is_none_or(|old| id.revision < old.revision) {
            return BTreeSet::new();
        }
        self.forget(namespace, kind, &id.name)
    }

    /// Takes in a whole list of a kind; what is not in it is gone.
    pub fn replace(
        &mut self,
        namespace: &str,
        kind: Kind,
        list: Vec<Object>,
    ) -> BTreeSet<ModuleKey> {
        let Some(objects) = self.namespaces.get(namespace) else { return BTreeSet::new() };
        let listed: BTreeSet<&str> = list.iter().map(|object| object.id().name.as_str()).collect();
        let gone: Vec<String> = objects
            .names(kind)
            .into_iter()
            .filter(|name| !listed.contains(name.as_str()))
            .collect();
        let mut touched = BTreeSet::new();
        for name in gone {
            touched.extend(self.forget(namespace, kind, &name));
        }
        for object in list {
            touched.extend(self.put(namespace, object));
        }
        touched
    }

    fn forget(&mut self, namespace: &str, kind: Kind, name: &str) -> BTreeSet<ModuleKey> {
        let Some(objects) = self.namespaces.get_mut(namespace) else { return BTreeSet::new() };
        match kind {
            Kind::Module | Kind::NativeModule => {
                let native = kind == Kind::NativeModule;
                objects.modules.remove(&(native, name.to_owned()));
                objects.rivals(namespace, name, native)
            }
            Kind::Version | Kind::NativeVersion => {
                let native = kind == Kind::NativeVersion;
                let modules = objects.forget_version(native, name);
                modules.into_iter().flat_map(|module| one(namespace, module, native)).collect()
            }
            Kind::Locks => {
                objects.locks = None;
                self.keys(namespace)
            }
            _ => {
                let gone = objects.workloads.remove(&(kind, name.to_owned()));
                gone.into_iter().flat_map(|gone| one(namespace, gone.module, true)).collect()
            }
        }
    }

    /// All modules of a namespace, those too of which only versions are there.
    pub fn keys(&self, namespace: &str) -> BTreeSet<ModuleKey> {
        let Some(objects) = self.namespaces.get(namespace) else { return BTreeSet::new() };
        let names = objects.modules.keys().chain(objects.by_module.keys()).cloned();
        let workloads = objects.workloads.values().map(|one| (true, one.module.clone()));
        names.chain(workloads).flat_map(|(native, module)| one(namespace, module, native)).collect()
    }

    pub fn all_keys(&self) -> BTreeSet<ModuleKey> {
        self.namespaces.keys().flat_map(|namespace| self.keys(namespace)).collect()
    }

    pub fn module(&self, key: &ModuleKey) -> Option<&ModuleObject> {
        self.namespaces.get(&key.namespace)?.modules.get(&named(key))
    }

    /// The module of the other kind that keeps the name of this one.
    pub fn rival(&self, key: &ModuleKey) -> Option<&ModuleObject> {
        let rival = self.module(&key.rival()).filter(|rival| rival.deleted != Deleted::All)?;
        match self.module(key).filter(|module| module.deleted != Deleted::All) {
            Some(module) => {
                let keeps = rules::keeps_name(key.native, module.created, rival.created);
                (!keeps).then_some(rival)
            }
            None => Some(rival),
        }
    }

    /// What the servers of a native module are made of.
    pub fn workloads<'a>(&'a self, key: &'a ModuleKey) -> impl Iterator<Item = &'a Workload> {
        let objects = self.namespaces.get(&key.namespace).filter(|_| key.native);
        let all = objects.into_iter().flat_map(|objects| objects.workloads.values());
        all.filter(|workload| workload.module == key.module)
    }

    /// The objects of versions that say that they are of the module.
    pub fn versions(&self, key: &ModuleKey) -> Vec<&VersionObject> {
        let Some(objects) = self.namespaces.get(&key.namespace) else { return Vec::new() };
        let names = objects.by_module.get(&named(key)).into_iter().flatten();
        names.filter_map(|name| objects.versions.get(&(key.native, name.clone()))).collect()
    }

    pub fn chains(&self, namespace: &str) -> &WireLocksSpec {
        let locks = self.namespaces.get(namespace).and_then(|objects| objects.locks.as_ref());
        locks.map_or(&self.none, |(_, chains)| chains)
    }

    /// Objects of modules and of versions.
    pub fn size(&self) -> (usize, usize) {
        let all = self.namespaces.values();
        all.fold((0, 0), |(modules, versions), objects| {
            (modules + objects.modules.len(), versions + objects.versions.len())
        })
    }
}

impl Objects {
    fn id(&self, kind: Kind, name: &str) -> Option<&Identity> {
        match kind {
            Kind::Module | Kind::NativeModule => {
                let named = (kind == Kind::NativeModule, name.to_owned());
                self.modules.get(&named).map(|module| &module.id)
            }
            Kind::Version | Kind::NativeVersion => {
                let named = (kind == Kind::NativeVersion, name.to_owned());
                self.versions.get(&named).map(|version| &version.id)
            }
            Kind::Locks => self.locks.as_ref().map(|(id, _)| id).filter(|id| id.name == name),
            _ => self.workloads.get(&(kind, name.to_owned())).map(|workload| &workload.id),
        }
    }

    fn names(&self, kind: Kind) -> Vec<String> {
        let of = |named: &Named, native: bool| (named.0 == native).then(|| named.1.clone());
        match kind {
            Kind::Module | Kind::NativeModule => {
                let native = kind == Kind::NativeModule;
                self.modules.keys().filter_map(|named| of(named, native)).collect()
            }
            Kind::Version | Kind::NativeVersion => {
                let native = kind == Kind::NativeVersion;
                self.versions.keys().filter_map(|named| of(named, native)).collect()
            }
            Kind::Locks => self.locks.iter().map(|(id, _)| id.name.clone()).collect(),
            _ => {
                let of_kind = self.workloads.keys().filter(|(of, _)| *of == kind);
                of_kind.map(|(_, name)| name.clone()).collect()
            }
        }
    }

    /// A module that changed, and the one of the other kind: the name is of one of them.
    fn rivals(&self, namespace: &str, module: &str, native: bool) -> BTreeSet<ModuleKey> {
        let rival = self.modules.contains_key(&(!native, module.to_owned()));
        let kinds = [Some(native), rival.then_some(!native)];
        let kinds = kinds.into_iter().flatten();
        kinds.flat_map(|native| one(namespace, module.to_owned(), native)).collect()
    }

    /// Returns the module that the version said it is of.
    fn forget_version(&mut self, native: bool, name: &str) -> BTreeSet<String> {
        let Some(version) = self.versions.remove(&(native, name.to_owned())) else {
            return BTreeSet::new();
        };
        let module = (native, version.module.clone());
        if let Some(names) = self.by_module.get_mut(&module) {
            names.remove(name);
            if names.is_empty() {
                self.by_module.remove(&module);
            }
        }
        BTreeSet::from([version.module])
    }
}

fn one(namespace: &str, module: String, native: bool) -> BTreeSet<ModuleKey> {
    BTreeSet::from([ModuleKey { namespace: namespace.to_owned(), module, native }])
}

fn named(key: &ModuleKey) -> Named {
    (key.native, key.module.clone())
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
