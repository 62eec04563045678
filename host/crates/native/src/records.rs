//! What outlives the host: a record of every server that runs, written before it does, and the
//! highest epoch of every module.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{cgroup::Cgroup, helper::Order, seen};

/// A server that runs, or is about to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(flatten)]
    pub(crate) order: Order,
    /// Of the kernel that it runs under.
    pub(crate) boot: String,
    /// The first helper, once it is started: it waits until this is durable.
    pub(crate) process: Option<Started>,
    /// What is to go with it.
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) pid: i32,
    pub(crate) started: u64,
}

impl Record {
    pub(crate) fn write(&self) -> io::Result<()> {
        replace(&self.order.file, &serde_json::to_vec(self)?)
    }

    /// Ends what it tells of, if that still lives, and takes everything of it away. Blocks.
    pub(crate) fn clear(&self) -> io::Result<()> {
        if self.boot == boot() {
            self.end();
        }
        if let Some(path) = self.order.cgroup.clone() {
            let group = Cgroup { path };
            wait_until(|| group.is_empty());
            group.remove()?;
        }
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::remove_file(&self.order.file)
    }

    fn end(&self) {
        if let Some(path) = self.order.cgroup.clone() {
            // Gone with its last process.
            Cgroup { path }.kill().ok();
        }
        let Some(process) = self.process else { return };
        let is_new = seen::Seen::of(process.pid).is_some_and(|one| one.started != process.started);
        wait_until(|| {
            let all = seen::all();
            let mut left = if is_new { Vec::new() } else { seen::tree(&all, process.pid) };
            // Members of its session that lost their parent.
            let orphans = all.iter().filter(|one| {
                !is_new && one.session == process.pid && one.started >= process.started
            });
            left.extend(orphans);
            left.iter().for_each(seen::Seen::kill);
            left.is_empty()
        });
    }
}

/// The records in a directory.
pub(crate) fn all(directory: &Path) -> io::Result<Vec<Record>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let record = serde_json::from_slice::<Record>(&fs::read(&file)?);
        let mut record = record.map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", file.display()))
        })?;
        record.order.file = file;
        found.push(record);
    }
    Ok(found)
}

/// What the kernel calls the time since it started.
pub(crate) fn boot() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// The highest epoch that was claimed in a module's directory.
pub(crate) fn epoch(directory: &Path) -> io::Result<u64> {
    match fs::read_to_string(directory.join("epoch")) {
        Ok(text) => text.trim().parse().map_err(|_| {
            let text = format!("{} does not hold a number", directory.join("epoch").display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Claims all epochs up to one.
pub(crate) fn claim(directory: &Path, epoch: u64) -> io::Result<()> {
    replace(&directory.join("epoch"), format!("{epoch}\n").as_bytes())
}

/// Writes a file so that it is whole or as it was, whatever happens.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Waits some seconds at most.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(epoch(directory.path()).unwrap(), 0);
        claim(directory.path(), 7).unwrap();
        assert_eq!(epoch(directory.path()).unwrap(), 7);
        fs::write(directory.path().join("epoch"), "x").unwrap();
        assert!(epoch(directory.path()).unwrap_err().to_string().contains("number"));
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_cleared_with_what_it_names() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own");
        fs::create_dir(&own).unwrap();
        let order = Order {
            file: directory.path().join("a.json"),
            command: vec!["x".to_owned()],
            ..Order::default()
        };
        let record = Record { order, boot: boot(), process: None, directory: own.clone() };
        record.write().unwrap();
        let read = all(directory.path()).unwrap().remove(0);
        assert_eq!(read.order, record.order);
        read.clear().unwrap();
        assert!(!own.exists());
        assert!(all(directory.path()).unwrap().is_empty());
    }
}
