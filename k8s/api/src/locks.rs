//! `WireLocks`: which names and numbers the protobuf packages of a namespace have given out.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use roadstead_domain::Digest;
use serde::{Deserialize, Serialize};

/// The name of the one object of a namespace.
pub const LOCKS: &str = "locks";

/// The locks of a namespace. They outlive the modules that they came with.
#[derive(
    CustomResource, KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize,
)]
#[kube(
    group = "roadstead.dev",
    version = "v1alpha1",
    kind = "WireLocks",
    plural = "wirelocks",
    namespaced,
    derive = "PartialEq",
    category = "roadstead",
    doc = "The wire locks of a namespace: what its protobuf packages promise callers' stubs.",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == 'locks'").message("a namespace has one object, `locks`"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(oldSelf.packages) || (has(self.packages) && oldSelf.packages.all(p, p in self.packages && self.packages[p].size() >= oldSelf.packages[p].size()))")
    .message("locks are added, never taken away"))]
pub struct WireLocksSpec {
    /// By protobuf package, the digests of its locks in the order in which they followed each
    /// other: the last one holds.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 10_000))]
    pub packages: BTreeMap<String, Vec<Digest>>,
}

impl WireLocksSpec {
    /// The lock that holds now.
    pub fn newest(&self, package: &str) -> Option<Digest> {
        self.packages.get(package)?.last().copied()
    }

    /// Whether the lock held at any time.
    pub fn held(&self, package: &str, lock: &Digest) -> bool {
        self.packages.get(package).is_some_and(|chain| chain.contains(lock))
    }
}
