//! What the catalog reads of each object. Of status it reads how a module's calls are split, loosely;
//! the rest of it, and whatever newer releases add, is left alone.
//!
//! An object that does not say what it must is kept as malformed with the reason: one bad object
//! hides no other.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use roadstead_catalog::VersionRecord;
use roadstead_domain::{ModuleName, Traffic, Version};
use roadstead_k8s_api::{
    ModuleVersionSpec, PUSHED_BY, WireLocksSpec,
    rules::{self, Deleted},
    version_object,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::convert;

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Module,
    NativeModule,
    Version,
    NativeVersion,
    Locks,
}

impl Kind {
    pub(crate) const MODULES: [Self; 2] = [Self::Module, Self::NativeModule];
    pub(crate) const VERSIONS: [Self; 2] = [Self::Version, Self::NativeVersion];
    pub(crate) const ALL: [Self; 5] =
        [Self::Module, Self::NativeModule, Self::Version, Self::NativeVersion, Self::Locks];

    pub(crate) fn module(native: bool) -> Self {
        if native { Self::NativeModule } else { Self::Module }
    }

    pub(crate) fn version(native: bool) -> Self {
        if native { Self::NativeVersion } else { Self::Version }
    }
}

/// A module's object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModuleObject {
    pub(crate) uid: String,
    /// Whether its versions are native.
    #[serde(default)]
    pub(crate) native: bool,
    /// In seconds since 1970.
    #[serde(default)]
    pub(crate) created: i64,
    pub(crate) name: ModuleName,
    pub(crate) pinned: Option<Version>,
    pub(crate) highest: Option<Version>,
    pub(crate) deleted: Deleted,
    /// How its calls are split, or the word that they are not.
    #[serde(default)]
    pub(crate) traffic: Option<Traffic>,
    /// The plan of its rollouts, as it is written.
    #[serde(default)]
    pub(crate) rollout: Option<Value>,
    /// What the controller says of its rollout: `rollout` and `conditions` of the status.
    #[serde(default)]
    pub(crate) progress: Option<Value>,
    /// Kubernetes is deleting it.
    pub(crate) leaving: bool,
}

/// A version's object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionObject {
    pub(crate) uid: String,
    pub(crate) module: ModuleName,
    /// The uid of the module that it belongs to.
    pub(crate) owner: Option<String>,
    /// The pool that pushed it; none if it was applied by hand.
    pub(crate) pushed_by: Option<String>,
    pub(crate) leaving: bool,
    #[serde(serialize_with = "write_record", deserialize_with = "read_record")]
    pub(crate) record: Arc<VersionRecord>,
}

impl ModuleObject {
    pub(crate) fn kind(&self) -> Kind {
        Kind::module(self.native)
    }

    /// Whether nobody has deleted it.
    pub(crate) fn stands(&self) -> bool {
        self.deleted != Deleted::All
    }
}

impl VersionObject {
    pub(crate) fn kind(&self) -> Kind {
        Kind::version(self.is_native())
    }

    pub(crate) fn is_native(&self) -> bool {
        self.record.is_native()
    }
}

fn write_record<S: Serializer>(record: &Arc<VersionRecord>, to: S) -> Result<S::Ok, S::Error> {
    VersionRecord::serialize(record, to)
}

fn read_record<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<VersionRecord>, D::Error> {
    VersionRecord::deserialize(from).map(Arc::new)
}

/// The locks' object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LocksObject {
    pub(crate) uid: String,
    pub(crate) spec: WireLocksSpec,
}

/// What an object is, for this catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Object {
    Module(ModuleObject),
    Version(VersionObject),
    Locks(LocksObject),
    Malformed { uid: String, why: String },
}

impl Object {
    pub(crate) fn uid(&self) -> &str {
        match self {
            Self::Module(ModuleObject { uid, .. })
            | Self::Version(VersionObject { uid, .. })
            | Self::Locks(LocksObject { uid, .. })
            | Self::Malformed { uid, .. } => uid,
        }
    }
}

/// An object by name, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) name: String,
    pub(crate) revision: u64,
    pub(crate) object: Object,
}

/// Reads an object. None without a name or a comparable revision, which Kubernetes always gives.
pub(crate) fn read(kind: Kind, object: DynamicObject) -> Option<Read> {
    let DynamicObject { metadata, data, .. } = object;
    let name = metadata.name.clone()?;
    let revision = metadata.resource_version.as_deref()?.parse().ok()?;
    let spec = data.get("spec").cloned().unwrap_or_default();
    let object = match kind {
        Kind::Module | Kind::NativeModule => {
            let native = kind == Kind::NativeModule;
            module(native, &metadata, revision, &spec, data.get("status")).map(Object::Module)
        }
        Kind::Version => version(false, &metadata, spec).map(Object::Version),
        Kind::NativeVersion => version(true, &metadata, spec).map(Object::Version),
        Kind::Locks => locks(&metadata, spec).map(Object::Locks),
    };
    let uid = metadata.uid.unwrap_or_default();
    let object = object.unwrap_or_else(|why| Object::Malformed { uid, why });
    Some(Read { name, revision, object })
}

fn module(
    native: bool,
    metadata: &ObjectMeta,
    revision: u64,
    spec: &Value,
    status: Option<&Value>,
) -> Result<ModuleObject, String> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let pinned = match spec.get("pinned") {
        None | Some(Value::Null) => None,
        Some(pinned) => Some(serde_json::from_value(pinned.clone()).map_err(text)?),
    };
    let rollout = spec.get("rollout").filter(|rollout| !rollout.is_null()).cloned();
    let split = status.filter(|_| rollout.is_some()).and_then(|status| split(revision, status));
    let progress = status.map(|status| {
        let said = ["rollout", "conditions"];
        said.map(|key| (key.to_owned(), status.get(key).cloned().unwrap_or_default()))
    });
    Ok(ModuleObject {
        uid: metadata.uid.clone().unwrap_or_default(),
        native,
        created: rules::created(metadata),
        name: name.parse().map_err(text)?,
        pinned,
        highest: rules::highest(metadata),
        deleted: rules::deleted(metadata),
        traffic: Some(split.unwrap_or(Traffic::none(revision))),
        progress: progress.map(|said| Value::Object(said.into_iter().collect())),
        rollout,
        leaving: metadata.deletion_timestamp.is_some(),
    })
}

/// The split that a module's status tells; none if it tells none that is whole.
fn split(revision: u64, status: &Value) -> Option<Traffic> {
    let serving = status.get("serving")?.as_array()?;
    let share = |serving: &Value| {
        let version = serving.get("version")?.as_str()?.parse().ok()?;
        Some((version, serving.get("percent")?.as_u64()?.try_into().ok()?))
    };
    let shares: Option<Vec<(Version, u8)>> = serving.iter().map(share).collect();
    Traffic::new(revision, shares?).ok()
}

fn version(native: bool, metadata: &ObjectMeta, spec: Value) -> Result<VersionObject, String> {
    let spec: ModuleVersionSpec = serde_json::from_value(spec).map_err(text)?;
    spec.spec.validate().map_err(text)?;
    if spec.spec.native.is_some() != native {
        return Err("what says spec.native, and nothing else, is a NativeModuleVersion".to_owned());
    }
    let expected = version_object(&spec.module, &spec.version);
    if metadata.name.as_ref() != Some(&expected) {
        return Err(format!("its name must be {expected}"));
    }
    let (module, record) = convert::from_object(spec);
    Ok(VersionObject {
        uid: metadata.uid.clone().unwrap_or_default(),
        module,
        owner: rules::owner(metadata).map(str::to_owned),
        pushed_by: metadata.annotations.as_ref().and_then(|all| all.get(PUSHED_BY)).cloned(),
        leaving: metadata.deletion_timestamp.is_some(),
        record: Arc::new(record),
    })
}

fn locks(metadata: &ObjectMeta, spec: Value) -> Result<LocksObject, String> {
    let spec = match spec {
        Value::Null => WireLocksSpec::default(),
        spec => serde_json::from_value(spec).map_err(text)?,
    };
    let mut packages: BTreeMap<_, _> = spec.packages;
    packages.retain(|_, chain| !chain.is_empty());
    let uid = metadata.uid.clone().unwrap_or_default();
    Ok(LocksObject { uid, spec: WireLocksSpec { packages } })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::tests::full;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn version(name: &str, spec: Value) -> Object {
        let metadata = json!({"name": name, "uid": "u", "resourceVersion": "7"});
        let value = json!({"metadata": metadata, "spec": spec});
        let read = read(Kind::Version, object(value)).unwrap();
        assert_eq!((read.name.as_str(), read.revision), (name, 7));
        read.object
    }

    #[test]
    fn a_version_says_all_that_it_must_or_is_malformed() {
        let spec =
            serde_json::to_value(convert::to_object(&"m".parse().unwrap(), &full())).unwrap();
        let Object::Version(read) = version("m-1.2.3-rc.1", spec.clone()) else { panic!() };
        assert_eq!(*read.record, full());
        let malformed = |name: &str, spec: Value, part: &str| match version(name, spec) {
            Object::Malformed { why, .. } => assert!(why.contains(part), "{why}"),
            object => panic!("{object:?}"),
        };
        malformed("m-1.2.3", spec.clone(), "m-1.2.3-rc.1");
        malformed("m-1.2.3", json!(null), "invalid type");
        let mut unknown = spec.clone();
        unknown["spec"]["limits"]["memry"] = 1.into();
        malformed("m-1.2.3-rc.1", unknown, "memry");
        let mut zero = spec;
        zero["spec"]["limits"]["memory"] = 0.into();
        malformed("m-1.2.3-rc.1", zero, "limits.memory");
        let native = convert::to_object(&"m".parse().unwrap(), &convert::tests::native());
        malformed("m-1.2.3-rc.1", serde_json::to_value(native).unwrap(), "NativeModuleVersion");
    }

    #[test]
    fn what_newer_releases_say_of_a_module_is_left_alone() {
        let metadata = json!({
            "name": "m", "uid": "u", "resourceVersion": "7",
            "annotations": {"roadstead.dev/highest": "0.4.0", "roadstead.dev/deleted": "0.1.0"},
        });
        let spec = json!({"pinned": "0.2.0", "rollout": {"newer": 1}, "newer": 2});
        let value = json!({"metadata": metadata, "spec": spec, "status": {"newer": 3}});
        let Object::Module(module) = read(Kind::Module, object(value)).unwrap().object else {
            panic!()
        };
        assert_eq!(module.pinned, Some("0.2.0".parse().unwrap()));
        assert_eq!(module.highest, Some("0.4.0".parse().unwrap()));
        assert!(module.deleted.holds(&"0.1.0".parse().unwrap()));
        let nameless = json!({"metadata": {"resourceVersion": "7"}});
        assert_eq!(read(Kind::Module, object(nameless)), None);
    }

    #[test]
    fn a_split_is_read_where_a_rollout_is_wanted_and_the_status_is_whole() {
        let shares = |spec: Value, serving: Value| {
            let metadata = json!({"name": "m", "uid": "u", "resourceVersion": "7"});
            let status = json!({"serving": serving, "newer": 1});
            let value = json!({"metadata": metadata, "spec": spec, "status": status});
            let Object::Module(module) = read(Kind::Module, object(value)).unwrap().object else {
                panic!()
            };
            let traffic = module.traffic.unwrap();
            assert_eq!(traffic.revision(), 7);
            traffic.shares().iter().map(|(version, part)| format!("{version} {part}")).collect()
        };
        let shares = |spec, serving| -> Vec<String> { shares(spec, serving) };
        let wanted = json!({"rollout": {"newer": 1}});
        let split = json!([
            {"version": "0.1.0", "percent": 95},
            {"version": "0.2.0", "percent": 5, "newer": true},
        ]);
        assert_eq!(shares(wanted.clone(), split.clone()), ["0.1.0 95", "0.2.0 5"]);
        for none in [json!({}), json!({"rollout": null}), json!(null)] {
            assert_eq!(shares(none, split.clone()), [""; 0]);
        }
        let mut wrong = vec![json!(null), json!({}), json!([]), json!(7)];
        for (key, value) in [
            ("percent", json!(94)),
            ("percent", json!("95")),
            ("percent", json!(null)),
            ("percent", json!(951)),
            ("version", json!("1")),
            ("version", json!(null)),
        ] {
            let mut changed = split.clone();
            changed[0][key] = value;
            wrong.push(changed);
        }
        for wrong in wrong {
            assert_eq!(shares(wanted.clone(), wrong.clone()), [""; 0], "{wrong}");
        }
    }
}
