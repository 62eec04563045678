//! The controller against a real API server and etcd, and hosts' streams over mutual TLS.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

mod authority;
mod control_plane;
mod election;
mod hosts;
mod native;
mod outage;
mod rollout;
mod status;
mod support;
