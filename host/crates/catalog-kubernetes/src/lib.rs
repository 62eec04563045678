//! The catalog in a Kubernetes cluster: modules, versions and wire locks as objects.
//!
//! Guarantees:
//! * What is published is decided by the objects alone ([`roadstead_k8s_api::rules`]), the same for
//!   every host, controller and command. Changes of several hosts have one order.
//! * This host's own changes show at once; those of others as soon as the watch tells.
//! * Reading never asks the API server: what was last known is served on without it, after a restart
//!   too (a file keeps it). Changes answer [`CatalogError::Unavailable`] then.
//! * One object that does not say what it must hides no other.
//!
//! [`CatalogError::Unavailable`]: roadstead_catalog::CatalogError::Unavailable

mod assemble;
mod catalog;
mod changes;
mod cluster;
mod convert;
mod disk;
mod error;
mod ground;
mod inner;
mod judge;
mod leases;
mod objects;
mod rollout;
mod settings;
mod state;
mod watching;

pub use catalog::{KubernetesCatalog, OpenError, Report};
pub use convert::{from_object, to_object};
pub use settings::{KubernetesSettings, Namespaces};
