//! The objects of Roadstead in a Kubernetes cluster, and the rules by which everyone reads them.
//!
//! * [`Module`]: one module by name: which version is pinned, how a new one rolls out.
//! * [`ModuleVersion`]: one immutable version: all that a host needs to serve it.
//! * [`NativeModule`] and [`NativeModuleVersion`]: the same of code that runs in containers.
//! * [`WireLocks`]: the wire locks of a namespace, by protobuf package.
//!
//! Hosts write these; only the controller writes status. Which versions exist and which of them are
//! published is decided by [`rules`] alone, so that hosts, controller and command line agree
//! without a mark that one of them would have to write. `k8s/crds` holds the definitions made from
//! these types.

mod condition;
mod definitions;
#[allow(unreachable_pub, reason = "the derived schema repeats each struct within a function")]
mod locks;
#[allow(unreachable_pub, reason = "the derived schema repeats each struct within a function")]
mod module;
mod names;
#[allow(unreachable_pub, reason = "the derived schema repeats each struct within a function")]
mod native;
pub mod rules;
#[allow(unreachable_pub, reason = "the derived schema repeats each struct within a function")]
mod version;

pub use condition::{Condition, ConditionKind, ConditionStatus, Reason};
pub use definitions::{definitions, yaml};
pub use locks::{LOCKS, WireLocks, WireLocksSpec};
pub use module::{
    Decision, DecisionAction, Module, ModuleSpec, ModuleStatus, Rollout, RolloutPhase,
    RolloutStatus, ServingVersion,
};
pub use names::version_object;
pub use native::{
    NativeModule, NativeModuleSpec, NativeModuleStatus, NativeModuleVersion,
    NativeModuleVersionSpec, NativeModuleVersionStatus,
};
pub use version::{
    Break, Export, Import, Method, ModuleVersion, ModuleVersionSpec, ModuleVersionStatus, Service,
};

/// The group of all objects.
pub const GROUP: &str = "roadstead.dev";

/// On a [`Module`] or [`NativeModule`]: the highest version number that was ever given out.
pub const HIGHEST: &str = "roadstead.dev/highest";

/// On a [`Module`] or [`NativeModule`]: versions that are deleted and whose objects may still be there, separated by
/// commas; `*` for the module with all its versions.
pub const DELETED: &str = "roadstead.dev/deleted";

/// On a version of either kind: the pool whose host pushed it. Without it, it was applied by hand.
pub const PUSHED_BY: &str = "roadstead.dev/pushed-by";

/// On a namespace: `true` lets hosts serve the modules in it.
pub const ENABLED: &str = "roadstead.dev/enabled";
