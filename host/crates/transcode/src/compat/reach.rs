//! Which messages and enums callers with old stubs send and receive.

use std::collections::{HashMap, HashSet};

use crate::lock::{Item, Locks};

/// Whether values of a type go to the module, come from it, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Directions {
    pub(super) sent: bool,
    pub(super) received: bool,
}

/// Types by package and key.
pub(super) struct Reach<'a> {
    sent: HashSet<(&'a str, &'a str)>,
    received: HashSet<(&'a str, &'a str)>,
}

impl<'a> Reach<'a> {
    /// Follows the old types from the requests and responses of the functions that `now` still
    /// offers.
    pub(super) fn of(baseline: &'a Locks, now: &Locks) -> Self {
        let types = by_name(baseline);
        let follow = |message: &str| {
            let mut seen: HashSet<(&'a str, &'a str)> = HashSet::new();
            let mut open: Vec<(&'a str, &'a str)> = roots(baseline, now, message);
            while let Some(at) = open.pop() {
                let members = baseline.get(at.0).and_then(|lock| lock.types.get(at.1));
                if !seen.insert(at) {
                    continue;
                }
                let slots = members.into_iter().flat_map(|one| one.members.values());
                open.extend(slots.filter_map(|member| match member.slot.as_ref()?.item() {
                    Item::Type(name) => types.get(name).copied(),
                    _ => None,
                }));
            }
            seen
        };
        Self { sent: follow("request"), received: follow("response") }
    }

    pub(super) fn directions(&self, package: &str, key: &str) -> Directions {
        Directions {
            sent: self.sent.contains(&(package, key)),
            received: self.received.contains(&(package, key)),
        }
    }
}

fn roots<'a>(baseline: &'a Locks, now: &Locks, message: &str) -> Vec<(&'a str, &'a str)> {
    let mut roots = Vec::new();
    for (package, lock) in &baseline.0 {
        let Some(now) = now.get(package) else { continue };
        for function in lock.methods.keys().filter(|name| now.methods.contains_key(*name)) {
            let key = lock.types.get_key_value(&format!("{function}/{message}"));
            roots.extend(key.map(|(key, _)| (package.as_str(), key.as_str())));
        }
    }
    roots
}

/// Package and key of every message and enum, by full protobuf name.
pub(super) fn by_name(locks: &Locks) -> HashMap<String, (&str, &str)> {
    let mut types = HashMap::new();
    for (package, lock) in &locks.0 {
        for key in lock.types.keys() {
            if let Some(path) = lock.path_of(key) {
                types.insert(format!("{package}.{path}"), (package.as_str(), key.as_str()));
            }
        }
    }
    types
}
