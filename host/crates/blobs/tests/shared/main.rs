//! What hosts of a pool share, in every kind of place: a directory, a server that speaks S3, and one
//! that speaks as Google Cloud Storage does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a panic is how a test reports"
)]

mod away;
mod cloud;
mod directory;
mod suite;
