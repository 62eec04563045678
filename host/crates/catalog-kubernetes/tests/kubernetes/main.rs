//! The catalog against a real API server and etcd.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

mod control_plane;
mod fleet;
mod leases;
mod outage;
mod schemas;
mod suite;
mod traffic;
