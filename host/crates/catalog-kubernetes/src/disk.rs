//! The last state on disk, so that a host starts and serves without the API server.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write as _},
    path::Path,
    time::Instant,
};

use roadstead_domain::Namespace;
use serde::{Deserialize, Serialize};

use crate::state::{Kept, State};

/// The form of the file.
const FORMAT: u64 = 1;

#[derive(Serialize, Deserialize)]
struct OnDisk {
    format: u64,
    revision: u64,
    namespaces: BTreeMap<Namespace, Vec<Kept>>,
}

/// Replaces the file whole, for this user alone; it is on disk when this returns.
pub(crate) fn save(path: &Path, state: &State) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    let kept = OnDisk { format: FORMAT, revision: state.revision, namespaces: state.keep() };
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(io::BufWriter::new(&mut file), &kept)?;
    file.flush()?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

/// The state that was saved last; none if there is none that reads.
pub(crate) fn load(path: &Path) -> Option<State> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "read the last state of the catalog");
            return None;
        }
    };
    match serde_json::from_slice::<OnDisk>(&text) {
        Ok(kept) if kept.format == FORMAT => {
            Some(State::restore(kept.revision, kept.namespaces, Instant::now()))
        }
        Ok(kept) => {
            tracing::warn!(format = kept.format, "the last state is of another release: not used");
            None
        }
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the last state does not read");
            None
        }
    }
}
