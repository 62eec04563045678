//! Files that are there whole or not at all, whatever happens to the machine.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A file that is deleted with this value unless it was put in place.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    armed: bool,
}

impl Temporary {
    /// A new, empty file in `directory`, for this user alone.
    pub(crate) fn create(directory: &Path) -> io::Result<(Self, File)> {
        let path = directory.join(format!("{:032x}", rand::random::<u128>()));
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((Self { path, armed: true }, file))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs `file`, renames it to `target` and syncs the directory.
    pub(crate) fn persist(mut self, file: &File, target: &Path) -> io::Result<()> {
        file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.armed = false;
        target.parent().map_or(Ok(()), sync_directory)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.armed
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "remove a temporary file");
        }
    }
}

/// Writes a whole file into place, by way of one in `staging` (on the same file system).
pub(crate) fn write(staging: &Path, target: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let (temporary, mut file) = Temporary::create(staging)?;
    for part in parts {
        file.write_all(part)?;
    }
    temporary.persist(&file, target)
}

/// Makes a directory for this user alone, with its parents, and syncs what changed.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_directory(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    parent.map_or(Ok(()), sync_directory)
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Deletes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
