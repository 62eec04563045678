//! How a worker's task comes to nothing. Texts are for whoever pushed, except those of `Host`.

use std::io;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It cannot be compiled, and why.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Limit(#[from] CompileLimit),
    /// The worker ended of itself or was killed by someone else.
    #[error(
        "the process that was {doing} it ended: {how}; if it does so again, the component is at \
         fault: build it with another toolchain or other options"
    )]
    Crashed { doing: &'static str, how: String },
    /// Nobody waits for the result any more.
    #[error("nobody waits for it")]
    Abandoned,
    /// There is no room for the compiled code.
    #[error("the disk is full")]
    Full,
    /// The worker could not be started, or could not begin.
    #[error("run a compile worker")]
    Host(#[source] io::Error),
}

/// A bound of [`crate::CompileConfig`] that a component does not keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{doing} it takes more than {allowed} of {what}, the most that this host gives to one \
     component: make its functions smaller and fewer, or let the operator raise {setting}"
)]
pub struct CompileLimit {
    /// `checking` or `compiling`.
    pub doing: &'static str,
    pub what: &'static str,
    /// As it is called in the host's settings.
    pub setting: &'static str,
    pub allowed: String,
}
