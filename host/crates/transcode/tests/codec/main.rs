//! The codec against the reference, through real components, and under attack.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

mod differential;
mod echo;
mod handles;
mod hostile;
mod pair;
mod reference;
mod shapes;
mod soup;
mod types;
mod values;
