//! The messages and services of `roadstead.v1`, generated and committed.
//!
//! `src/gen` is made from `roadstead/v1/*.proto` by this crate's test, so building needs neither
//! `protoc` nor a build script. After a change of the contract, run the test: it rewrites what is
//! stale and fails once.

/// Package `roadstead.v1`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code keeps its generator's style"
)]
pub mod v1 {
    include!("gen/roadstead.v1.rs");
}

/// The encoded `google.protobuf.FileDescriptorSet` of every file of the contract, with comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/roadstead.v1.fds");
