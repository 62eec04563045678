//! Servers of native modules as pods: what may run is the operator's word, what runs is planned
//! here, and Kubernetes itself begins pods again that end.
//!
//! * [`rules`]: what operators allow; without a word of theirs, nothing.
//! * [`observed`]: what is seen of workloads and pods.
//! * [`standing`]: how many servers a version should have, and how it stands; pure.
//! * [`workload`]: the objects that its servers are made of; pure.
//! * [`authority`]: certificates and keys by which hosts and servers know each other.
//! * [`endpoints`]: which servers hosts are told of.

pub mod authority;
pub mod endpoints;
pub mod observed;
pub mod rules;
pub mod standing;
pub mod workload;

pub use rules::{Rules, RulesError};
