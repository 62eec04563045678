//! Whether a shared directory is still the one that was opened: where it is not mounted any more,
//! its files would seem to be lost, and new ones would land on this machine's own disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{BlobError, OpenError, durable, upload::blocking};

/// The directory of a pool, known by a file with a random name for it.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    pub(crate) directory: PathBuf,
    name: Vec<u8>,
}

impl Mounted {
    /// The pool's directory below a shared one that is there.
    pub(crate) fn open(shared: &Path, pool: &str) -> Result<Self, OpenError> {
        let directory = shared.join(pool);
        let path = directory.clone();
        let name = durable::create_directory(&directory).and_then(|()| read_or_make(&directory));
        let name = name.map_err(|source| OpenError::Io {
            doing: "open the shared directory",
            path,
            source,
        });
        Ok(Self { directory, name: name? })
    }

    pub(crate) async fn check(&self) -> Result<(), BlobError> {
        let (path, name) = (self.directory.join(NAME), self.name.clone());
        let found = blocking(move || fs::read(path)).await?;
        let doing = "be found where it was mounted";
        match found {
            Ok(found) if found == name => Ok(()),
            Ok(_) => Err(BlobError::unavailable(doing, io::Error::other("it is another one"))),
            Err(error) => Err(BlobError::unavailable(doing, error)),
        }
    }
}

const NAME: &str = "name";

/// Hosts that begin together agree on one: a link is made once.
fn read_or_make(directory: &Path) -> io::Result<Vec<u8>> {
    let path = directory.join(NAME);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let text = format!("{:032x}\n", rand::random::<u128>());
    let mine = directory.join(format!("{NAME}#{}", text.trim_end()));
    durable::write(directory, &mine, &[text.as_bytes()])?;
    let linked = fs::hard_link(&mine, &path);
    durable::remove(&mine)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => durable::sync_directory(directory)?,
    }
    fs::read(&path)
}
