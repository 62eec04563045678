//! The client of the controller against a real server that plays it, over mutual TLS.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a panic is how a test reports"
)]

mod controller;
mod host;
mod stream;
mod trust;

roadstead_worker::worker_in_tests!();
