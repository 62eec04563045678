//! `Module`: a module by name, and how its versions share the calls.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use roadstead_domain::{Span, Version};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{Condition, condition::conditions};

/// What is wanted of a module. Its versions are objects of their own.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "roadstead.dev",
    version = "v1alpha1",
    kind = "Module",
    namespaced,
    status = "ModuleStatus",
    derive = "PartialEq",
    shortname = "rsm",
    category = "roadstead",
    doc = "A module by name: which version is pinned, and how a new one rolls out.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Pinned", type_ = "string", json_path = ".spec.pinned"),
    printcolumn(name = "Serving", type_ = "string", json_path = ".status.serving[*].version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a module's name has 1 to 63 of a-z, 0-9 and -, with a letter or digit first and last"),
    validation = Rule::new("!(self.metadata.name in ['roadstead', 'google', 'grpc'])")
        .message("the names roadstead, google and grpc are reserved"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleSpec {
    /// The version that answers every call that names none, whatever is newer. Pinning is the
    /// rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Version>,
    /// How calls move to a new version; without it they all do at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// Calls move to a new version step by step, and back if too many fail.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// Percent of the calls that the new version gets, step by step. After the last step it gets
    /// all.
    #[serde(default = "steps")]
    #[schemars(length(min = 1, max = 20), inner(range(min = 1, max = 100)))]
    #[x_kube(validation = Rule::new("self.isSorted() && self.all(step, self.exists_one(other, other == step))")
        .message("each step must be more than the one before"))]
    pub steps: Vec<u8>,
    /// How long each step lasts at least.
    #[serde(default = "interval")]
    pub interval: Span,
    /// Calls that the new version must have answered before a step is judged.
    #[serde(default = "minimum_calls")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub minimum_calls: u32,
    /// The part of its calls that may fail by its fault, 0 to 1; with more it gets none.
    #[serde(default = "max_failure_ratio")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_failure_ratio: f64,
    /// Stays at the step where it is.
    #[serde(default)]
    pub paused: bool,
    /// What a person decided about one version, whatever its calls say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// A person's word on the rollout of one version. It says nothing of others.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decision {
    pub version: Version,
    pub action: DecisionAction,
}

/// What becomes of a version.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecisionAction {
    /// It gets all calls at once.
    Promote,
    /// It gets none: the version before it answers.
    Abort,
}

fn steps() -> Vec<u8> {
    vec![5, 25, 50, 100]
}

fn interval() -> Span {
    Span::secs(300)
}

fn minimum_calls() -> u32 {
    100
}

fn max_failure_ratio() -> f64 {
    0.01
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            steps: steps(),
            interval: interval(),
            minimum_calls: minimum_calls(),
            max_failure_ratio: max_failure_ratio(),
            paused: false,
            decision: None,
        }
    }
}

/// What the controller has seen of a module.
#[derive(JsonSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModuleStatus {
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
}

/// How far a rollout got.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The version that answered before.
    pub from: Version,
    pub to: Version,
    pub phase: RolloutPhase,
    /// Which of the steps it is at, counted from 0.
    pub step: u32,
    /// When it came to this step or phase.
    #[schemars(schema_with = "time")]
    pub since: Time,
}

fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// What a rollout is about.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RolloutPhase {
    /// It goes on when its step was good.
    Progressing,
    /// It stays at its step.
    Paused,
    /// The new version has all calls.
    Completed,
    /// Too many calls failed: the version before answers.
    RolledBack,
    /// A person ended it: the version before answers.
    Aborted,
}

/// One version that answers.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServingVersion {
    pub version: Version,
    #[schemars(range(min = 0, max = 100))]
    pub percent: u8,
}
