//! What can go wrong with stored bytes, by meaning.

use std::{error::Error, io, path::PathBuf};

use roadstead_domain::{ByteSize, Digest};

/// The data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "another host process uses the data directory {0}: end it, or give this one another with --data-dir"
    )]
    InUse(PathBuf),
    #[error("{doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the shared directory {0} is not there: mount it, or make it")]
    NotMounted(PathBuf),
    #[error("open the shared store of blobs")]
    Shared(#[source] object_store::Error),
    #[error("open the blob directory {path}")]
    Store {
        path: PathBuf,
        #[source]
        source: object_store::Error,
    },
}

/// Bytes could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// More bytes than this upload may have.
    #[error("more than the limit of {limit} bytes", limit = .0.0)]
    TooLarge(ByteSize),
    /// No room, or a quota of the file system.
    #[error("the disk is full")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    #[error("{0} is not stored")]
    Missing(Digest),
    /// The stored bytes are not those of the digest.
    #[error("the stored bytes of {0} are damaged")]
    Damaged(Digest),
    /// The store that hosts share does not answer, or refuses: later it may not.
    #[error("the shared store of blobs cannot {doing}")]
    Unavailable {
        doing: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("{doing}")]
    Io {
        doing: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl BlobError {
    pub(crate) fn unavailable(
        doing: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        if is_full(&*source) { Self::Full(source) } else { Self::Unavailable { doing, source } }
    }

    /// Whether the same may work later, without anyone's doing here.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn io(doing: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        if is_full(&*source) { Self::Full(source) } else { Self::Io { doing, source } }
    }
}

/// Whether a full disk stands anywhere in the chain of causes.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
            if matches!(error.kind(), FileTooLarge | QuotaExceeded | StorageFull) {
                return true;
            }
        }
        cause = error.source();
    }
    false
}
