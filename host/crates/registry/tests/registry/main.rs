//! The registry with a real engine and real files: pushes, routes, restarts, crashes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a panic is how a test reports"
)]

mod codec;
mod crash;
mod follow;
mod harness;
mod model;
mod native;
mod pool;
mod quota;
mod refusal;
mod repair;
mod restart;
mod routing;
mod steer;
mod versions;

roadstead_worker::worker_in_tests!();
