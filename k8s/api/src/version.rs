//! `ModuleVersion`: one immutable version, with all that a host needs to serve it.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use roadstead_domain::{Digest, ModuleName, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, condition::conditions};

/// A version of a module. Written once; the bytes are found by digest.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "roadstead.dev",
    version = "v1alpha1",
    kind = "ModuleVersion",
    namespaced,
    status = "ModuleVersionStatus",
    derive = "PartialEq",
    shortname = "rsv",
    category = "roadstead",
    selectable = ".spec.module",
    doc = "One version of a module: its component by digest, its limits and capabilities, and the locks of its wire contract.",
    printcolumn(name = "Module", type_ = "string", json_path = ".spec.module"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type=='Accepted')].reason"),
    printcolumn(name = "Serving", type_ = "string", json_path = ".status.conditions[?(@.type=='Serving')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == self.spec.module + '-' + self.spec.version || (self.metadata.name.startsWith(self.spec.module + '-x') && self.metadata.name.size() == self.spec.module.size() + 42)")
        .message("the object's name must be <module>-<version>"),
    validation = Rule::new("self.spec == oldSelf.spec").message("a version never changes: push a new one"),
    validation = Rule::new("!has(self.spec.spec) || !has(self.spec.spec.native)")
        .message("what says spec.native is a NativeModuleVersion"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleVersionSpec {
    /// The module that it is a version of.
    pub module: ModuleName,
    pub version: Version,
    /// The bytes as they were uploaded.
    pub digest: Digest,
    /// Bytes of the upload.
    #[schemars(range(min = 0))]
    pub size: u64,
    /// Bytes of what is stored beside the upload.
    #[serde(default)]
    pub stored_beside: u64,
    /// What runs: the upload itself, or the component made from an uploaded core module.
    pub component: Digest,
    /// The component's interfaces without its code.
    pub interface: Digest,
    /// Instances of components, itself among them, of which an instance of the component consists.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub component_instances: u64,
    /// WIT texts that came beside the component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wit: Option<Digest>,
    /// Limits and capabilities, as in a spec file; name and version stand above.
    #[serde(default)]
    pub spec: roadstead_domain::ModuleSpec,
    /// The gRPC services that it exports.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Exports that cannot be called.
    #[serde(default)]
    pub unmapped: Vec<Export>,
    /// Imports, and what the module gets for them.
    #[serde(default)]
    pub imports: Vec<Import>,
    /// The wire lock of every protobuf package that its files need.
    #[serde(default)]
    pub locks: BTreeMap<String, Digest>,
    /// What it may break for callers with old stubs.
    #[serde(default)]
    pub forced: Vec<Break>,
    /// When it was pushed, in milliseconds since 1970.
    #[serde(default)]
    pub published_unix_ms: i64,
}

fn one() -> u64 {
    1
}

/// A gRPC service by its full name.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    pub name: String,
    pub methods: Vec<Method>,
}

/// A method, and the export behind it.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Method {
    pub name: String,
    pub export: String,
    /// Why the compiled codec does not serve it; none if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic: Option<String>,
}

/// An export that cannot be called, and why.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Export {
    pub export: String,
    pub reason: String,
}

/// An import, and what the module gets for it.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Import {
    pub name: String,
    pub grant: String,
}

/// A change that breaks callers with old stubs.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Break {
    pub subject: String,
    pub description: String,
}

/// What the controller has seen of a version.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModuleVersionStatus {
    /// `Accepted`, `Compiled` and `Serving`.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
