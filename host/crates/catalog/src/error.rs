//! Why the catalog refused or failed, by meaning.

use std::{error::Error, path::PathBuf};

use roadstead_domain::{Digest, ModuleName, Version};

/// A refused or failed change. Nothing has changed then.
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
    /// The pinned version cannot be deleted: that would send its calls elsewhere unasked.
    #[error("`{name}@{version}` is pinned")]
    Pinned { name: ModuleName, version: Version },
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
