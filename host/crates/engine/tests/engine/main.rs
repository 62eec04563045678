//! The engine through its public face, with guests written inline.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

mod admission;
mod basics;
mod breaker;
mod budgets;
mod code;
mod codec;
mod instances;
mod limits;
mod remote;
mod sessions;
mod spares;
mod streams;
mod support;
mod traps;
mod waiting;
