//! `NativeModule` and `NativeModuleVersion`: what is a [`Module`](crate::Module) and a
//! [`ModuleVersion`](crate::ModuleVersion), of code that runs in containers of its own. They are
//! kinds apart, so that rights can tell who may have the cluster run containers.
//!
//! A name is of one module, of whichever kind.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Condition, ModuleSpec, ModuleVersionSpec, RolloutStatus, ServingVersion, condition::conditions,
};

/// What is wanted of a native module: the same as of any.
#[derive(CustomResource, JsonSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "roadstead.dev",
    version = "v1alpha1",
    kind = "NativeModule",
    namespaced,
    status = "NativeModuleStatus",
    derive = "PartialEq",
    shortname = "rsnm",
    category = "roadstead",
    doc = "A native module by name: its servers run in containers of their own.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Servers", type_ = "string", json_path = ".status.servers"),
    printcolumn(name = "Pinned", type_ = "string", json_path = ".spec.pinned"),
    printcolumn(name = "Serving", type_ = "string", json_path = ".status.serving[*].version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a module's name has 1 to 63 of a-z, 0-9 and -, with a letter or digit first and last"),
    validation = Rule::new("!(self.metadata.name in ['roadstead', 'google', 'grpc'])")
        .message("the names roadstead, google and grpc are reserved"),
)]
#[serde(transparent)]
pub struct NativeModuleSpec(pub ModuleSpec);

/// What the controller has seen of a native module.
#[derive(JsonSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NativeModuleStatus {
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Progressing` and `Degraded`.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The versions that answer, with their part of the calls that name none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub serving: Vec<ServingVersion>,
    /// The rollout that is under way, or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Servers that are ready, of those that are wanted now, like `1/2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<String>,
}

/// A version of a native module. Written once; its server is the image that its spec names.
#[derive(CustomResource, JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "roadstead.dev",
    version = "v1alpha1",
    kind = "NativeModuleVersion",
    namespaced,
    status = "NativeModuleVersionStatus",
    derive = "PartialEq",
    shortname = "rsnv",
    category = "roadstead",
    selectable = ".spec.module",
    doc = "One version of a native module: its image, its resources, and the locks of its wire contract.",
    printcolumn(name = "Module", type_ = "string", json_path = ".spec.module"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.spec.native.image"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type=='Accepted')].reason"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == self.spec.module + '-' + self.spec.version || (self.metadata.name.startsWith(self.spec.module + '-x') && self.metadata.name.size() == self.spec.module.size() + 42)")
        .message("the object's name must be <module>-<version>"),
    validation = Rule::new("self.spec == oldSelf.spec").message("a version never changes: push a new one"),
    validation = Rule::new("has(self.spec.spec.native) && has(self.spec.spec.native.image)")
        .message("a native version needs spec.native.image: a cluster runs images"),
)]
#[serde(transparent)]
pub struct NativeModuleVersionSpec(pub ModuleVersionSpec);

/// What the controller has seen of a native version.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NativeModuleVersionStatus {
    /// `Accepted`, `Ready` and `Serving`.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
