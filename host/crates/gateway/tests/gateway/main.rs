//! A real gateway on a loopback port, over a real registry and engine, with real clients.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

mod abuse;
mod auth;
mod built;
mod compiled;
mod fleet;
mod grpc;
mod guest;
mod health;
mod json;
mod leaving;
mod life;
mod limits;
mod metrics;
mod modules;
mod pool;
mod raw;
mod reflection;
mod sessions;
mod streams;
mod support;
mod traffic;

roadstead_worker::worker_in_tests!();
