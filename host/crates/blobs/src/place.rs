//! Where hosts keep what they share.

use std::{path::PathBuf, sync::Arc};

use object_store::{ObjectStore, local::LocalFileSystem};

use crate::OpenError;

/// A store that all hosts of a pool can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory that every host has mounted, with renames that are whole or not at all.
    Directory(PathBuf),
}

impl Place {
    /// Opens it. Nothing is asked of it yet, except whether a directory is there.
    pub(crate) fn open(&self) -> Result<Arc<dyn ObjectStore>, OpenError> {
        match self {
            Self::Directory(path) => {
                if !path.is_dir() {
                    return Err(OpenError::NotMounted(path.clone()));
                }
                let store = LocalFileSystem::new_with_prefix(path).map_err(OpenError::Shared)?;
                Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
            }
        }
    }
}
