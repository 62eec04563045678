//! What the controller reads of each object. Whatever newer or older releases say besides is left
//! alone: a field that does not read is as good as none, and hides no other.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use roadstead_domain::{Digest, ModuleName, NativeSpec, Version};
use roadstead_k8s_api::{
    Condition, ModuleSpec, ModuleStatus, Rollout, WireLocksSpec,
    rules::{self, Deleted},
    version_object,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::native::observed::{Workload, workload};

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    Module,
    NativeModule,
    Version,
    NativeVersion,
    Locks,
    Pod,
    Deployment,
    StatefulSet,
    Service,
    NetworkPolicy,
    Claim,
}

/// What is asked for, and what servers are made of.
pub const EVERY_KIND: [Kind; 11] = [
    Kind::Module,
    Kind::NativeModule,
    Kind::Version,
    Kind::NativeVersion,
    Kind::Locks,
    Kind::Pod,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::Service,
    Kind::NetworkPolicy,
    Kind::Claim,
];

impl Kind {
    /// What is asked for.
    pub const CATALOG: [Self; 5] =
        [Self::Module, Self::NativeModule, Self::Version, Self::NativeVersion, Self::Locks];

    /// What the servers of native modules are made of.
    pub const WORKLOADS: [Self; 6] = [
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::Service,
        Self::NetworkPolicy,
        Self::Claim,
    ];

    pub fn module(native: bool) -> Self {
        if native { Self::NativeModule } else { Self::Module }
    }

    pub fn version(native: bool) -> Self {
        if native { Self::NativeVersion } else { Self::Version }
    }
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
    pub native: bool,
    /// In seconds since 1970.
    pub created: i64,
    pub deleted: Deleted,
    /// Or why it is not understood.
    pub spec: Result<ModuleSpec, String>,
    pub status: ModuleStatus,
    /// Servers that are ready, of those that are wanted; of native modules.
    pub servers: Option<String>,
}

/// A version's object.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionObject {
    pub id: Identity,
    pub native: bool,
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
    /// Of a native version; or why it is not understood.
    pub native: Option<Result<Arc<NativeSpec>, String>>,
}

/// An object, as the controller reads it.
#[expect(clippy::large_enum_variant, reason = "they are taken in one by one, and kept apart")]
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    Module(ModuleObject),
    Version(VersionObject),
    Locks(Identity, WireLocksSpec),
    Workload(Workload),
}

impl Object {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Module(module) => Kind::module(module.native),
            Self::Version(version) => Kind::version(version.native),
            Self::Locks(..) => Kind::Locks,
            Self::Workload(workload) => workload.kind,
        }
    }

    pub fn id(&self) -> &Identity {
        match self {
            Self::Module(ModuleObject { id, .. })
            | Self::Version(VersionObject { id, .. })
            | Self::Locks(id, _)
            | Self::Workload(Workload { id, .. }) => id,
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
        Kind::Module | Kind::NativeModule => Object::Module(ModuleObject {
            native: kind == Kind::NativeModule,
            created: rules::created(metadata),
            deleted: rules::deleted(metadata),
            spec: module_spec(part("spec")),
            status: module_status(part("status")),
            servers: present(part("status"), "servers").and_then(loose),
            id,
        }),
        Kind::Version | Kind::NativeVersion => {
            let native = kind == Kind::NativeVersion;
            Object::Version(version(native, id, metadata, part("spec"), part("status")))
        }
        Kind::Locks => Object::Locks(id, locks(part("spec"))),
        Kind::Pod
        | Kind::Deployment
        | Kind::StatefulSet
        | Kind::Service
        | Kind::NetworkPolicy
        | Kind::Claim => Object::Workload(workload(kind, id, metadata, part("status"))),
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

fn version(
    native: bool,
    id: Identity,
    metadata: &ObjectMeta,
    spec: &Value,
    status: &Value,
) -> VersionObject {
    let module = present(spec, "module").and_then(Value::as_str).unwrap_or_default();
    VersionObject {
        module: module.to_owned(),
        owner: rules::owner(metadata).map(str::to_owned),
        native,
        leaving: metadata.deletion_timestamp.is_some(),
        says: said(native, &id.name, spec),
        conditions: conditions(status),
        id,
    }
}

fn said(native: bool, object: &str, spec: &Value) -> Result<Said, String> {
    let field = |name: &str| spec.get(name).ok_or_else(|| format!("it does not say `{name}`"));
    let module: ModuleName = parse(field("module")?, "module")?;
    let version: Version = parse(field("version")?, "version")?;
    let locks = present(spec, "locks").map(|locks| parse(locks, "locks")).transpose()?;
    let expected = version_object(&module, &version);
    if object != expected {
        return Err(format!("its name must be {expected}"));
    }
    let native = native.then(|| native_spec(spec));
    Ok(Said { version, locks: locks.unwrap_or_default(), native })
}

/// Read whole: what this release does not know of how something runs, it does not run.
fn native_spec(spec: &Value) -> Result<Arc<NativeSpec>, String> {
    let inner = present(spec, "spec").ok_or("it does not say `spec`")?;
    let inner: roadstead_domain::ModuleSpec = parse(inner, "spec")?;
    inner.validate().map_err(|error| error.to_string())?;
    inner.native.map(Arc::new).ok_or_else(|| "it does not say `spec.native`".to_owned())
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
