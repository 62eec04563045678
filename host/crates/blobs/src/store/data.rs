//! The data directory of one host: whose it is, and what a former process left in it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use super::Kind;
use crate::{OpenError, durable::remove};

/// What lies inside is for this user alone; the directory's own permissions are the operator's.
pub(super) fn warn_if_open(data: &Path) {
    let mode = fs::metadata(data).map(|metadata| metadata.permissions().mode() & 0o777);
    if let Ok(mode) = mode
        && mode & 0o077 != 0
    {
        tracing::warn!(path = %data.display(), mode = format!("{mode:o}"),
            "other users may look into the data directory: chmod 700 closes it");
    }
}

/// How long a lock is waited for. A process that was killed while it started a worker leaves one
/// behind that holds its lock until it has become that worker.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// The lock lies beside the data, so that it holds for all of it.
pub(super) fn lock(data: &Path) -> Result<File, OpenError> {
    let path = data.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = match file {
        Ok(file) => file,
        Err(source) => return Err(OpenError::Io { doing: "open", path, source }),
    };
    let until = Instant::now() + LEFT_BEHIND;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                std::thread::sleep(LEFT_BEHIND / 100);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse(data.to_owned())),
            Err(error) => return Err(OpenError::Io { doing: "lock", path, source: error.into() }),
        }
    }
}

pub(super) fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        remove(&entry?.path())?;
    }
    Ok(())
}

/// The object store writes beside the target, under a name with `#`.
pub(super) fn remove_half_written(blobs: &Path) -> io::Result<()> {
    for kind in Kind::ALL {
        let Ok(entries) = fs::read_dir(blobs.join(kind.directory())) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().contains('#') {
                remove(&entry.path())?;
            }
        }
    }
    Ok(())
}
