//! The objects of all namespaces that are looked after, as the watches last told.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_k8s_api::{LOCKS, WireLocksSpec};

use crate::objects::{Identity, Kind, ModuleObject, Object, VersionObject};

/// A module by name, whether its object is there or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleKey {
    pub namespace: String,
    pub module: String,
}

impl std::fmt::Display for ModuleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.module)
    }
}

#[derive(Debug, Default)]
struct Objects {
    modules: BTreeMap<String, ModuleObject>,
    versions: BTreeMap<String, VersionObject>,
    /// Objects of versions by the module that they say.
    by_module: BTreeMap<String, BTreeSet<String>>,
    locks: Option<(Identity, WireLocksSpec)>,
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
                objects.modules.insert(name.clone(), module);
                one(namespace, name)
            }
            Object::Version(version) => {
                let mut touched = objects.forget_version(&version.id.name);
                touched.insert(version.module.clone());
                let names = objects.by_module.entry(version.module.clone()).or_default();
                names.insert(version.id.name.clone());
                objects.versions.insert(version.id.name.clone(), version);
                touched.into_iter().flat_map(|module| one(namespace, module)).collect()
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
            Kind::Module => {
                objects.modules.remove(name);
                one(namespace, name.to_owned())
            }
            Kind::Version => {
                let modules = objects.forget_version(name);
                modules.into_iter().flat_map(|module| one(namespace, module)).collect()
            }
            Kind::Locks => {
                objects.locks = None;
                self.keys(namespace)
            }
        }
    }

    /// All modules of a namespace, those too of which only versions are there.
    pub fn keys(&self, namespace: &str) -> BTreeSet<ModuleKey> {
        let Some(objects) = self.namespaces.get(namespace) else { return BTreeSet::new() };
        let names = objects.modules.keys().chain(objects.by_module.keys());
        names.cloned().flat_map(|module| one(namespace, module)).collect()
    }

    pub fn all_keys(&self) -> BTreeSet<ModuleKey> {
        self.namespaces.keys().flat_map(|namespace| self.keys(namespace)).collect()
    }

    pub fn module(&self, key: &ModuleKey) -> Option<&ModuleObject> {
        self.namespaces.get(&key.namespace)?.modules.get(&key.module)
    }

    /// The objects of versions that say that they are of the module.
    pub fn versions(&self, key: &ModuleKey) -> Vec<&VersionObject> {
        let Some(objects) = self.namespaces.get(&key.namespace) else { return Vec::new() };
        let names = objects.by_module.get(&key.module).into_iter().flatten();
        names.filter_map(|name| objects.versions.get(name)).collect()
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
            Kind::Module => self.modules.get(name).map(|module| &module.id),
            Kind::Version => self.versions.get(name).map(|version| &version.id),
            Kind::Locks => self.locks.as_ref().map(|(id, _)| id).filter(|id| id.name == name),
        }
    }

    fn names(&self, kind: Kind) -> Vec<String> {
        match kind {
            Kind::Module => self.modules.keys().cloned().collect(),
            Kind::Version => self.versions.keys().cloned().collect(),
            Kind::Locks => self.locks.iter().map(|(id, _)| id.name.clone()).collect(),
        }
    }

    /// Returns the module that the version said it is of.
    fn forget_version(&mut self, name: &str) -> BTreeSet<String> {
        let Some(version) = self.versions.remove(name) else { return BTreeSet::new() };
        if let Some(names) = self.by_module.get_mut(&version.module) {
            names.remove(name);
            if names.is_empty() {
                self.by_module.remove(&version.module);
            }
        }
        BTreeSet::from([version.module])
    }
}

fn one(namespace: &str, module: String) -> BTreeSet<ModuleKey> {
    BTreeSet::from([ModuleKey { namespace: namespace.to_owned(), module }])
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
