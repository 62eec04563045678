//! The lock: which names and numbers the protobuf packages of a namespace have given out.
//!
//! A [`Lock`] belongs to one protobuf package and is the union over every module and version that
//! was ever published with it, so entries are added and never taken away: what a module no longer
//! has stays reserved. Entries are found by WIT name. A lock also records types, so that a change
//! can be judged without the component that was published before.
//!
//! The same form describes what one version alone offers (see [`crate::Derived::surface`]).

mod slot;
mod text;

use std::collections::BTreeMap;

use indexmap::IndexMap;

pub(crate) use slot::{Item, Slot};
pub use text::LockError;
pub(crate) use text::{KEPT_NUMBERS, LAST_NUMBER};

/// The locks of a namespace, by protobuf package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Locks(pub(crate) BTreeMap<String, Lock>);

/// Everything given out in one protobuf package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// The service's name; none while only types of the package are used.
    pub(crate) service: Option<String>,
    /// Names of the services of resources, by WIT resource.
    pub(crate) resources: BTreeMap<String, String>,
    /// Names of rpcs by function: `find`, `[constructor]crane`, `[method]crane/lift`, and
    /// `[drop]crane` for what is no function.
    pub(crate) methods: BTreeMap<String, String>,
    /// Messages and enums by key: `item` for a named type or resource, `find/request` and
    /// `find/response` for a method's messages, and a parent's key, a dot and a field for what is
    /// nested.
    pub(crate) types: BTreeMap<String, TypeLock>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeLock {
    /// The simple protobuf name.
    pub(crate) name: String,
    pub(crate) kind: TypeKind,
    /// Fields, cases or values by WIT name, in the order in which they were given out. The zero of
    /// an enum stands under [`UNSPECIFIED`].
    pub(crate) members: IndexMap<String, Member>,
}

/// The key of an enum's zero, which no WIT name can be.
pub(crate) const UNSPECIFIED: &str = "";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) number: u32,
    pub(crate) name: String,
    /// None for the values of an enum.
    pub(crate) slot: Option<Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TypeKind {
    Request,
    Response,
    /// The messages that callers stream.
    RequestStream,
    /// The messages that callers are streamed.
    ResponseStream,
    Record,
    Tuple,
    Flags,
    Variant,
    Enum,
    Result,
    Wrapper,
    Handle,
}

impl Locks {
    /// Reads the text of `roadstead.lock`.
    ///
    /// # Errors
    /// [`LockError`] for text that is no lock, is of another format, or gives out a name or number
    /// twice.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        text.parse()
    }

    /// The text of `roadstead.lock`: the same bytes for the same locks.
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn get(&self, package: &str) -> Option<&Lock> {
        self.0.get(package)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn insert(&mut self, package: impl Into<String>, lock: Lock) {
        self.0.insert(package.into(), lock);
    }

    /// Only the packages that `keep` accepts.
    #[must_use]
    pub fn restricted(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(package, _)| keep(package));
        Self(kept.map(|(package, lock)| (package.clone(), lock.clone())).collect())
    }

    /// The locks of `other` take the place of those of the same package.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl IntoIterator for Locks {
    type Item = (String, Lock);
    type IntoIter = std::collections::btree_map::IntoIter<String, Lock>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(String, Lock)> for Locks {
    fn from_iter<I: IntoIterator<Item = (String, Lock)>>(locks: I) -> Self {
        Self(locks.into_iter().collect())
    }
}

/// The resource whose function it is, by the lock's name for the function.
pub(crate) fn resource_of(function: &str) -> Option<&str> {
    let (_, name) = function.strip_prefix('[')?.split_once(']')?;
    Some(name.split_once('/').map_or(name, |(resource, _)| resource))
}

impl Lock {
    /// The name of the service that a function is a method of.
    pub(crate) fn service_of(&self, function: &str) -> Option<&str> {
        match resource_of(function) {
            Some(resource) => self.resources.get(resource).map(String::as_str),
            None => self.service.as_deref(),
        }
    }

    /// The full protobuf name, after the package, of the type under a key; none if a part of the
    /// key is unknown.
    pub(crate) fn path_of(&self, key: &str) -> Option<String> {
        let mut path = String::new();
        let mut end = 0;
        loop {
            end = key.get(end..)?.find('.').map_or(key.len(), |at| end + at);
            path.push_str(&self.types.get(key.get(..end)?)?.name);
            if end == key.len() {
                return Some(path);
            }
            path.push('.');
            end += 1;
        }
    }
}

impl TypeLock {
    pub(crate) fn new(name: String, kind: TypeKind) -> Self {
        Self { name, kind, members: IndexMap::new() }
    }
}
