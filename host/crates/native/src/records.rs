//! What outlives the host: a record of every server that runs, written before it does, and the
//! highest epoch of every module.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{cgroup::Cgroup, helper::Order, removal::remove, seen};

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
    ///
    /// # Errors
    /// Where something of it still lives: it is there as before, to be cleared again.
    pub(crate) fn clear(&self) -> io::Result<()> {
        if self.boot == boot() && !self.end() {
            return Err(io::Error::other("a server does not end"));
        }
        if let Some(path) = self.order.cgroup.clone() {
            Cgroup { path }.remove()?;
        }
        if let Err(error) = remove(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "left behind");
        }
        match fs::remove_file(&self.order.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether nothing of it lives any more.
    fn end(&self) -> bool {
        let group = self.order.cgroup.clone().map(|path| Cgroup { path });
        wait_until(|| {
            // Gone with its last process.
            let killed = group.as_ref().map(|group| group.kill().is_ok());
            tracing::trace!(?killed, "end a server");
            let left = self.processes();
            left.iter().for_each(seen::Seen::kill);
            left.is_empty() && group.as_ref().is_none_or(Cgroup::is_empty)
        })
    }

    /// What lives of it: what its helper started, members of its session, and whatever else has
    /// its environment.
    fn processes(&self) -> Vec<seen::Seen> {
        let all = seen::all();
        let Some(process) = self.process else { return Vec::new() };
        let is_new = seen::Seen::of(process.pid).is_some_and(|one| one.started != process.started);
        let mut found = if is_new { Vec::new() } else { seen::tree(&all, process.pid) };
        let mark = self.order.env.get("ROADSTEAD_SOCKET");
        let mark = mark.map(|socket| format!("ROADSTEAD_SOCKET={socket}"));
        found.extend(all.iter().filter(|one| {
            let of_session = !is_new && one.session == process.pid;
            let is_marked = || mark.as_ref().is_some_and(|mark| one.has_variable(mark));
            process.started <= one.started && (of_session || is_marked())
        }));
        found
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
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
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

/// Waits some seconds at most; whether it came to be.
fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    for _ in 0..500 {
        if is_so() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    false
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
        fs::create_dir_all(own.join("locked/in")).unwrap();
        let locked = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs::set_permissions(own.join("locked"), locked).unwrap();
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
