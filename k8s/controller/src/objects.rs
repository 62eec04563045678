//! What the controller reads of each object. Whatever newer or older releases say besides is left
//! alone: a field that does not read is as good as none, and hides no other.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use roadstead_domain::{Digest, ModuleName, Version};
use roadstead_k8s_api::{
    Condition, ModuleSpec, ModuleStatus, Rollout, WireLocksSpec,
    rules::{self, Deleted},
    version_object,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Module,
    Version,
    Locks,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Module, Self::Version, Self::Locks];
}

/// Which object it is, and how new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub uid: String,
    /// The resourceVersion as the number that it is.
    pub revision: u64,
    pub generation: Option<i64>,
}

/// A module's object.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleObject {
    pub id: Identity,
    pub deleted: Deleted,
    /// Or why it is not understood.
    pub spec: Result<ModuleSpec, String>,
    pub status: ModuleStatus,
}

/// A version's object.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionObject {
    pub id: Identity,
    /// The module that it says it is of, whatever else it says.
    pub module: String,
    /// The uid of the module that it belongs to.
    pub owner: Option<String>,
    pub leaving: bool,
    /// Or why it is none.
    pub says: Result<Said, String>,
    pub conditions: Vec<Condition>,
}

/// What the controller needs to know of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub version: Version,
    pub locks: BTreeMap<String, Digest>,
}

/// An object, as the controller reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    Module(ModuleObject),
    Version(VersionObject),
    Locks(Identity, WireLocksSpec),
}

impl Object {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Module(_) => Kind::Module,
            Self::Version(_) => Kind::Version,
            Self::Locks(..) => Kind::Locks,
        }
    }

    pub fn id(&self) -> &Identity {
        match self {
            Self::Module(ModuleObject { id, .. })
            | Self::Version(VersionObject { id, .. })
            | Self::Locks(id, _) => id,
        }
    }
}

/// Reads an object. None without a name or a comparable revision, which Kubernetes always gives.
pub fn read(kind: Kind, object: &DynamicObject) -> Option<Object> {
    let metadata = &object.metadata;
    let id = Identity {
        name: metadata.name.clone()?,
        uid: metadata.uid.clone().unwrap_or_default(),
        revision: metadata.resource_version.as_deref()?.parse().ok()?,
        generation: metadata.generation,
    };
    let part = |name: &str| object.data.get(name).unwrap_or(&Value::Null);
    Some(match kind {
        Kind::Module => Object::Module(ModuleObject {
            deleted: rules::deleted(metadata),
            spec: module_spec(part("spec")),
            status: module_status(part("status")),
            id,
        }),
        Kind::Version => Object::Version(version(id, metadata, part("spec"), part("status"))),
        Kind::Locks => Object::Locks(id, locks(part("spec"))),
    })
}

fn module_spec(spec: &Value) -> Result<ModuleSpec, String> {
    let rollout = match present(spec, "rollout") {
        Some(Value::Object(rollout)) => Some(known::<Rollout>(
            rollout,
            &["steps", "interval", "minimumCalls", "maxFailureRatio", "paused", "decision"],
        )?),
        Some(_) => return Err("rollout: it is no object".to_owned()),
        None => None,
    };
    let pinned = present(spec, "pinned").map(|pinned| parse(pinned, "pinned")).transpose()?;
    Ok(ModuleSpec { pinned, rollout })
}

/// Reads an object by the fields that this release knows.
fn known<T: DeserializeOwned>(from: &Map<String, Value>, fields: &[&str]) -> Result<T, String> {
    let fields = from.iter().filter(|(name, _)| fields.contains(&name.as_str()));
    let fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
    serde_json::from_value(Value::Object(fields)).map_err(|error| format!("rollout: {error}"))
}

fn module_status(status: &Value) -> ModuleStatus {
    let serving = present(status, "serving").and_then(Value::as_array);
    ModuleStatus {
        observed_generation: present(status, "observedGeneration").and_then(Value::as_i64),
        conditions: conditions(status),
        serving: serving.into_iter().flatten().filter_map(loose).collect(),
        rollout: present(status, "rollout").and_then(loose),
    }
}

fn conditions(status: &Value) -> Vec<Condition> {
    let all = present(status, "conditions").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(loose).collect()
}

fn version(id: Identity, metadata: &ObjectMeta, spec: &Value, status: &Value) -> VersionObject {
    let module = present(spec, "module").and_then(Value::as_str).unwrap_or_default();
    VersionObject {
        module: module.to_owned(),
        owner: rules::owner(metadata).map(str::to_owned),
        leaving: metadata.deletion_timestamp.is_some(),
        says: said(&id.name, spec),
        conditions: conditions(status),
        id,
    }
}

fn said(object: &str, spec: &Value) -> Result<Said, String> {
    let field = |name: &str| spec.get(name).ok_or_else(|| format!("it does not say `{name}`"));
    let module: ModuleName = parse(field("module")?, "module")?;
    let version: Version = parse(field("version")?, "version")?;
    let locks = present(spec, "locks").map(|locks| parse(locks, "locks")).transpose()?;
    let expected = version_object(&module, &version);
    if object != expected {
        return Err(format!("its name must be {expected}"));
    }
    Ok(Said { version, locks: locks.unwrap_or_default() })
}

fn locks(spec: &Value) -> WireLocksSpec {
    let packages = present(spec, "packages").and_then(Value::as_object);
    let packages = packages.into_iter().flatten();
    let read = packages.filter_map(|(name, chain)| Some((name.clone(), loose(chain)?)));
    WireLocksSpec { packages: read.collect() }
}

fn present<'a>(of: &'a Value, field: &str) -> Option<&'a Value> {
    of.get(field).filter(|value| !value.is_null())
}

fn parse<T: DeserializeOwned>(value: &Value, field: &str) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| format!("{field}: {error}"))
}

fn loose<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
