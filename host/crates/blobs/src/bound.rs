//! The most compiled code that is kept of what hosts share: what was not opened for longest goes.
//! Code that is mapped stays mapped.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::durable;

/// Remembers that code was opened now, across restarts too.
pub(crate) fn touch(code: &File) {
    if let Err(error) = code.set_modified(SystemTime::now()) {
        tracing::debug!(%error, "note that code is used");
    }
}

/// Deletes what was not used for longest of the code in these directories, with its signatures,
/// until no more than `limit` bytes are left.
pub(crate) fn keep_within(limit: u64, directories: &[PathBuf]) -> io::Result<()> {
    let mut found = Vec::new();
    for directory in directories {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "code")
                && let Ok(metadata) = fs::metadata(&path)
            {
                found.push((metadata.modified()?, metadata.len(), path));
            }
        }
    }
    let mut total: u64 = found.iter().map(|(_, size, _)| size).sum();
    found.sort_unstable();
    for (_, size, path) in found {
        if total <= limit {
            break;
        }
        remove(&path)?;
        total -= size;
    }
    Ok(())
}

fn remove(code: &Path) -> io::Result<()> {
    durable::remove(code)?;
    durable::remove(&code.with_extension("sig"))
}
