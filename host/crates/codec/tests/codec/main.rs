//! The compiled codec beside the dynamic one, through real guests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

mod differential;
mod flat;
mod guest;
mod hostile;
mod numbers;
mod real;

// The dynamic codec is tested with the same types and values.
#[allow(dead_code, reason = "the dynamic codec's tests use the rest")]
#[path = "../../../transcode/tests/codec/soup.rs"]
mod soup;
#[allow(dead_code, reason = "the dynamic codec's tests use the rest")]
#[path = "../../../transcode/tests/codec/types.rs"]
mod types;
#[allow(dead_code, reason = "the dynamic codec's tests use the rest")]
#[path = "../../../transcode/tests/codec/values.rs"]
mod values;
