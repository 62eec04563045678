//! The objects that are known: what the watches have told, and this host's own writes at once.
//!
//! Pure but for the clock that callers bring. Of each object the newest revision counts, whoever
//! brings it; what this host deleted stays deleted until the watch says so too.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use roadstead_domain::Namespace;
use serde::{Deserialize, Serialize};

use crate::objects::{Kind, Object, Read};

/// Everything known, as of one revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The highest revision that anything told.
    pub(crate) revision: u64,
    /// Counts this host's own changes.
    own: u64,
    pub(crate) namespaces: BTreeMap<Namespace, Objects>,
}

/// The objects of one namespace, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Objects(BTreeMap<(Kind, String), Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) revision: u64,
    /// None for what this host deleted, until the watch says so.
    object: Option<Object>,
    /// This host's change that it came by; 0 if the watch brought it.
    own: u64,
    /// When this host first saw it, whatever the cluster's clock says.
    seen: Instant,
}

/// What is kept on disk of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) revision: u64,
    pub(crate) object: Object,
}

/// Who tells of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Watch,
    /// The API server's answer to this host's own request.
    Answer,
}

impl Objects {
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<(&Object, u64)> {
        let entry = self.0.get(&(kind, name.to_owned()))?;
        entry.object.as_ref().map(|object| (object, entry.revision))
    }

    /// The objects of a kind by name.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Object, Instant)> {
        let of_kind = self.0.iter().filter(move |((of, _), _)| *of == kind);
        of_kind.filter_map(|((_, name), entry)| {
            Some((name.as_str(), entry.object.as_ref()?, entry.seen))
        })
    }

    /// The revision at which an object, or that it is gone, is known.
    pub(crate) fn known(&self, kind: Kind, name: &str) -> Option<u64> {
        self.0.get(&(kind, name.to_owned())).map(|entry| entry.revision)
    }

    fn put(&mut self, kind: Kind, read: Read, own: u64, now: Instant) -> bool {
        let Read { name, revision, object } = read;
        let key = (kind, name);
        let before = self.0.get(&key);
        if before.is_some_and(|before| revision < before.revision) {
            return false;
        }
        // The very revision that this host has deleted is an echo.
        if before.is_some_and(|before| before.object.is_none() && revision == before.revision) {
            return false;
        }
        let object = better(before, object);
        let same = before.and_then(|before| before.object.as_ref());
        let seen = match before {
            Some(before) if same.is_some_and(|same| same.uid() == object.uid()) => before.seen,
            _ => now,
        };
        self.0.insert(key, Entry { revision, object: Some(object), own, seen });
        true
    }
}

/// A module or the locks that do not read any more stay what they were: calls go on.
fn better(before: Option<&Entry>, object: Object) -> Object {
    let Object::Malformed { uid, why } = &object else { return object };
    match before.and_then(|before| before.object.as_ref()) {
        Some(known @ (Object::Module(_) | Object::Locks(_))) if known.uid() == uid => {
            tracing::error!(%why, "an object does not read any more: keeping what it said before");
            known.clone()
        }
        _ => object,
    }
}

impl State {
    /// The namespaces, without objects yet.
    pub(crate) fn enable(&mut self, namespace: &Namespace) {
        self.namespaces.entry(namespace.clone()).or_default();
    }

    /// Forgets a namespace that is no longer to be served.
    pub(crate) fn disable(&mut self, namespace: &Namespace) {
        if self.namespaces.remove(namespace).is_some() {
            self.revision += 1;
        }
    }

    /// The mark of now among this host's own changes; see [`State::replace`].
    pub(crate) fn mark(&self) -> u64 {
        self.own
    }

    /// Takes in one object; older news than what is known is none.
    pub(crate) fn put(
        &mut self,
        namespace: &Namespace,
        kind: Kind,
        read: Read,
        by: By,
        now: Instant,
    ) {
        let Some(objects) = self.namespaces.get_mut(namespace) else { return };
        let own = match by {
            By::Watch => 0,
            By::Answer => {
                self.own += 1;
                self.own
            }
        };
        let revision = read.revision;
        if objects.put(kind, read, own, now) {
            self.revision = self.revision.max(revision);
        }
    }

    /// The watch says that an object is gone, as of a revision.
    pub(crate) fn gone(&mut self, namespace: &Namespace, kind: Kind, name: &str, revision: u64) {
        let Some(objects) = self.namespaces.get_mut(namespace) else { return };
        let key = (kind, name.to_owned());
        if objects.0.get(&key).is_some_and(|entry| entry.revision <= revision) {
            objects.0.remove(&key);
            self.revision = self.revision.max(revision);
        }
    }

    /// This host has deleted an object, of which `uid` was the last that it knew.
    pub(crate) fn deleted(&mut self, namespace: &Namespace, kind: Kind, name: &str, uid: &str) {
        let Some(objects) = self.namespaces.get_mut(namespace) else { return };
        self.own += 1;
        if let Some(entry) = objects.0.get_mut(&(kind, name.to_owned()))
            && entry.object.as_ref().is_some_and(|object| object.uid() == uid)
        {
            (entry.object, entry.own) = (None, self.own);
        }
    }

    /// The API server says that an object is not there, when at `known` was the last news of it.
    pub(crate) fn absent(
        &mut self,
        namespace: &Namespace,
        kind: Kind,
        name: &str,
        known: Option<u64>,
    ) {
        let Some(objects) = self.namespaces.get_mut(namespace) else { return };
        if objects.known(kind, name) == known
            && objects
                .0
                .remove(&(kind, name.to_owned()))
                .is_some_and(|entry| entry.object.is_some())
        {
            self.revision += 1;
        }
    }

    /// All objects of a kind, as one list; whatever is not in it is gone. Kept beside are the
    /// answers that this host got after `mark`, when the list was asked for: their names are
    /// returned, to be looked at again.
    pub(crate) fn replace(
        &mut self,
        namespace: &Namespace,
        kind: Kind,
        list: Vec<Read>,
        mark: u64,
        now: Instant,
    ) -> Vec<String> {
        let Some(objects) = self.namespaces.get_mut(namespace) else { return Vec::new() };
        let listed: BTreeSet<String> = list.iter().map(|read| read.name.clone()).collect();
        let mut unsure = Vec::new();
        let mut lost = false;
        objects.0.retain(|(of, name), entry| {
            if *of != kind {
                return true;
            }
            if mark < entry.own {
                unsure.push(name.clone());
                return true;
            }
            if listed.contains(name) {
                // The list counts, also where its revisions are lower: etcd came from a backup.
                entry.revision = 0;
                return entry.object.is_some();
            }
            lost |= entry.object.is_some();
            false
        });
        let before = self.revision;
        for read in list {
            let revision = read.revision;
            if objects.put(kind, read, 0, now) {
                self.revision = self.revision.max(revision);
            }
        }
        // What is gone has told no revision.
        if lost && self.revision == before {
            self.revision += 1;
        }
        unsure
    }

    /// What is kept on disk.
    pub(crate) fn keep(&self) -> BTreeMap<Namespace, Vec<Kept>> {
        let kept = |objects: &Objects| -> Vec<Kept> {
            let entries = objects.0.iter();
            let known = entries.filter_map(|((_, name), entry)| {
                let (name, revision) = (name.clone(), entry.revision);
                Some(Kept { name, revision, object: entry.object.clone()? })
            });
            known.collect()
        };
        self.namespaces.iter().map(|(name, objects)| (name.clone(), kept(objects))).collect()
    }

    /// The state that was kept.
    pub(crate) fn restore(
        revision: u64,
        kept: BTreeMap<Namespace, Vec<Kept>>,
        now: Instant,
    ) -> Self {
        let mut state = Self::default();
        for (namespace, objects) in kept {
            state.enable(&namespace);
            for Kept { name, revision, object } in objects {
                let kind = match &object {
                    Object::Module(module) => module.kind(),
                    Object::Version(version) => version.kind(),
                    Object::Locks(_) => Kind::Locks,
                    // What it was is asked for again.
                    Object::Malformed { .. } => continue,
                };
                state.put(&namespace, kind, Read { name, revision, object }, By::Watch, now);
            }
        }
        state.revision = state.revision.max(revision);
        state
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
