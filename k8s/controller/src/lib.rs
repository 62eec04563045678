//! The controller of a fleet: it says how calls are shared between versions, and what became of
//! what was asked for.
//!
//! observe → plan → apply: the watches fill [`world`], the hosts' streams fill [`hosts`];
//! [`plan`](mod@plan) is pure; what differs from the cluster is written, each write a
//! compare-and-swap. One replica leads, by a Lease, and it alone writes.

mod apply;
mod cluster;
mod controller;
mod fleet;
pub mod hosts;
mod identities;
mod lease;
mod listener;
mod metrics;
mod monitor;
pub mod native;
pub mod objects;
pub mod plan;
mod reconcile;
mod settings;
mod splits;
mod sync;
mod tls;
mod watching;
pub mod world;

pub use cluster::ConnectError;
pub use controller::{Controller, StartError};
pub use lease::{Leadership, Role};
pub use metrics::Metrics;
pub use settings::{LeaseName, LeaseNameError, Namespaces, Settings, Times, TlsFiles};
pub use tls::TlsError;
