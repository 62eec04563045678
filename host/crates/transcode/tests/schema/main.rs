//! The derived schema: golden files, every row of the contract, locks and compatibility.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod binary;
mod bounds;
mod compat;
mod described;
mod golden;
mod hostile;
mod import;
mod locks;
mod names;
mod random;
mod resources;
mod streams;
mod support;
mod types;
