//! The lock as text: `roadstead.lock`, JSON with one line a member, the same bytes for the same
//! lock.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    marker::PhantomData,
    str::FromStr,
};

use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
};

use super::{Lock, Locks, Member, Slot, TypeKind, TypeLock, resource_of, slot::is_identifier};

const FORMAT: u32 = 1;
/// Protobuf's highest field number.
pub(crate) const LAST_NUMBER: u32 = (1 << 29) - 1;
/// Numbers that protobuf keeps for itself.
pub(crate) const KEPT_NUMBERS: std::ops::RangeInclusive<u32> = 19_000..=19_999;

/// Why a lock was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    #[error("the lock does not read: {0}")]
    Syntax(String),
    #[error("the lock has format {0}, which this version of roadstead does not know; it knows 1")]
    Format(u32),
    #[error("the lock contradicts itself in package `{package}`: {problem}")]
    Contradiction { package: String, problem: String },
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    #[serde(deserialize_with = "unique")]
    packages: BTreeMap<String, LockText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique")]
    resources: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique")]
    methods: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique")]
    types: BTreeMap<String, TypeText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeText {
    name: String,
    kind: TypeKind,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty", deserialize_with = "unique")]
    members: IndexMap<String, Member>,
}

impl fmt::Display for Locks {
    /// The text of `roadstead.lock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packages = self.0.iter().map(|(name, lock)| (name.clone(), lock.into())).collect();
        let file: File = File { format: FORMAT, packages };
        let text = serde_json::to_string_pretty(&file).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

impl FromStr for Locks {
    type Err = LockError;

    fn from_str(text: &str) -> Result<Self, LockError> {
        let syntax = |error: serde_json::Error| LockError::Syntax(error.to_string());
        let Header { format } = serde_json::from_str(text).map_err(syntax)?;
        if format != FORMAT {
            return Err(LockError::Format(format));
        }
        let file: File = serde_json::from_str(text).map_err(syntax)?;
        let locks: BTreeMap<String, Lock> =
            file.packages.into_iter().map(|(name, lock)| (name, lock.into())).collect();
        for (package, lock) in &locks {
            let contradiction =
                |problem| LockError::Contradiction { package: package.clone(), problem };
            if !package.split('.').all(is_identifier) {
                return Err(contradiction("its name is not a protobuf package".to_owned()));
            }
            check(lock).map_err(contradiction)?;
        }
        Ok(Self(locks))
    }
}

impl From<&Lock> for LockText {
    fn from(lock: &Lock) -> Self {
        let types = lock.types.iter().map(|(key, one)| {
            let TypeLock { name, kind, members } = one.clone();
            (key.clone(), TypeText { name, kind, members })
        });
        Self {
            service: lock.service.clone(),
            resources: lock.resources.clone(),
            methods: lock.methods.clone(),
            types: types.collect(),
        }
    }
}

impl From<LockText> for Lock {
    fn from(text: LockText) -> Self {
        let types = text
            .types
            .into_iter()
            .map(|(key, TypeText { name, kind, members })| (key, TypeLock { name, kind, members }));
        Self {
            service: text.service,
            resources: text.resources,
            methods: text.methods,
            types: types.collect(),
        }
    }
}

/// A lock is edited by hand and merged by git now and then: no number and no name may stand twice.
fn check(lock: &Lock) -> Result<(), String> {
    let mut names = Unique::default();
    if let Some(service) = &lock.service {
        named(service, "the service")?;
        names.add(service, "the service")?;
    }
    for (resource, service) in &lock.resources {
        named(service, &format!("resource `{resource}`"))?;
        names.add(service, &format!("resource `{resource}`"))?;
    }
    let mut rpcs = Unique::default();
    for (function, rpc) in &lock.methods {
        let what = format!("method `{function}`");
        named(rpc, &what)?;
        let resource = resource_of(function).unwrap_or_default();
        if !resource.is_empty() && !lock.resources.contains_key(resource) {
            return Err(format!("{what} is of the resource `{resource}`, which is missing"));
        }
        rpcs.add(format!("{resource}.{rpc}").trim_start_matches('.'), &what)?;
    }
    for (key, one) in &lock.types {
        named(&one.name, &format!("`{key}`"))?;
        let parent = key.rsplit_once('.').map_or("", |(parent, _)| parent);
        if !parent.is_empty() && !lock.types.contains_key(parent) {
            return Err(format!("`{key}` is nested in `{parent}`, which is missing"));
        }
        names.add(format!("{parent}.{}", one.name).trim_start_matches('.'), key)?;
        let mut numbers = Unique::default();
        let mut members = Unique::default();
        for (wit, member) in &one.members {
            let what = format!("member `{wit}` of `{key}`");
            if member.slot.is_none() != (one.kind == TypeKind::Enum) {
                return Err(format!("{what} must have a type exactly if it is not of an enum"));
            }
            numbers.add(&member.number.to_string(), &what)?;
            members.add(&member.name, &what)?;
            if one.kind == TypeKind::Enum {
                names.add(&member.name, &what)?;
            } else if member.number == 0 || KEPT_NUMBERS.contains(&member.number) {
                return Err(format!("{what} has the number {}, which no field can", member.number));
            }
        }
    }
    Ok(())
}

fn named(name: &str, of: &str) -> Result<(), String> {
    if is_identifier(name) {
        Ok(())
    } else {
        Err(format!("{of} has the name `{name}`, which protobuf does not allow"))
    }
}

/// What was seen, and where.
#[derive(Default)]
struct Unique(BTreeMap<String, String>);

impl Unique {
    fn add(&mut self, name: &str, of: &str) -> Result<(), String> {
        match self.0.insert(name.to_owned(), of.to_owned()) {
            Some(other) => Err(format!("{other} and {of} both have `{name}`")),
            None => Ok(()),
        }
    }
}

/// A map whose keys stand once: a merge of two locks can leave a name twice, and the last one
/// silently winning would lose a number.
fn unique<'de, D, M, V>(from: D) -> Result<M, D::Error>
where
    D: Deserializer<'de>,
    M: FromIterator<(String, V)>,
    V: Deserialize<'de>,
{
    struct Entries<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
        type Value = Vec<(String, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            let mut keys = HashSet::new();
            while let Some((key, value)) = map.next_entry::<String, V>()? {
                if !keys.insert(key.clone()) {
                    return Err(de::Error::custom(format!("`{key}` stands twice")));
                }
                entries.push((key, value));
            }
            Ok(entries)
        }
    }

    Ok(from.deserialize_map(Entries(PhantomData))?.into_iter().collect())
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.slot {
            Some(slot) => to.collect_str(&format_args!("{} {} {slot}", self.number, self.name)),
            None => to.collect_str(&format_args!("{} {}", self.number, self.name)),
        }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_member(&text).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is not NUMBER NAME TYPE (or NUMBER NAME)"))
        })
    }
}

fn parse_member(text: &str) -> Option<Member> {
    let mut parts = text.split(' ');
    let number = parts.next()?.parse().ok().filter(|number| *number <= LAST_NUMBER)?;
    let name = parts.next().filter(|name| is_identifier(name))?.to_owned();
    let slot = parts.next().map(Slot::from_str).transpose().ok()?;
    parts.next().is_none().then_some(Member { number, name, slot })
}
