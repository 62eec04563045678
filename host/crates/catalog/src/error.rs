//! Why the catalog refused or failed, by meaning.

use std::{error::Error, path::PathBuf};

use roadstead_domain::{Digest, ModuleName, Namespace, Version};

/// A refused or failed change. Nothing has changed then, except perhaps after
/// [`CatalogError::Unavailable`].
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("no module `{0}`")]
    NoSuchModule(ModuleName),
    #[error("module `{name}` has no version {version}")]
    NoSuchVersion { name: ModuleName, version: Version },
    /// Versions are immutable, and this one has other content.
    #[error("`{name}@{version}` exists with other content")]
    VersionExists { name: ModuleName, version: Version },
    /// The publication was made for another version than the next one.
    #[error("the next version of `{name}` is {next}")]
    NotNext { name: ModuleName, next: Version },
    /// The publication was derived from another lock than the one that holds now.
    #[error("the lock of `{package}` has changed")]
    LockMoved { package: String, now: Option<Digest> },
    /// All versions of a module are native, or none.
    #[error(
        "`{name}` is a module {}: delete it first, or push under another name",
        if *.native { "with native versions" } else { "without native versions" }
    )]
    NameTaken { name: ModuleName, native: bool },
    /// The pinned version cannot be deleted: that would send its calls elsewhere unasked.
    #[error("`{name}@{version}` is pinned")]
    Pinned { name: ModuleName, version: Version },
    /// Of this host alone nobody moves calls.
    #[error(
        "rollouts need a cluster's catalog with its controller: here, new versions get all calls at once"
    )]
    RolloutUnsupported,
    /// The change makes no sense as things are.
    #[error("{0}")]
    RolloutRefused(String),
    /// Where the catalog is beyond a network and does not answer. What is published serves on; a
    /// change that was on its way when the answer stayed out may have happened.
    #[error(
        "the catalog cannot be reached ({doing}): what is published serves on, try again later"
    )]
    Unavailable {
        doing: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The host's own account lacks a right.
    #[error("the cluster does not let this host {doing}: {message}")]
    Forbidden { doing: &'static str, message: String },
    /// The cluster takes no such object.
    #[error("the cluster refuses to {doing}: {message}")]
    Refused { doing: &'static str, message: String },
    /// The record of the version, or the locks of its namespace, are larger than the cluster keeps.
    #[error("too large for the cluster to keep: {0}")]
    TooLarge(String),
    /// Nobody let hosts serve this namespace.
    #[error("namespace `{0}` is not enabled for this host")]
    NotEnabled(Namespace),
    /// Others changed the same module again and again, or are still about to.
    #[error("`{0}` is being changed elsewhere: try again")]
    Contended(ModuleName),
    #[error("another process uses the catalog {0}")]
    InUse(PathBuf),
    #[error("the catalog {path} was written by a newer release (format {format})")]
    NewerFormat { path: PathBuf, format: u64 },
    #[error("the disk is full")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    #[error("{doing}")]
    Storage {
        doing: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}
