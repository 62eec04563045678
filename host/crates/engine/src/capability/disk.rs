//! How much a writable directory holds, and whether more may come.
//!
//! What counts is the directory as a whole, whoever put it there: the lengths of its files, and its
//! entries. Operations that add to it reserve first. Nothing is given back by deleting: when a
//! reservation does not fit, the directory is counted anew, which finds what was deleted meanwhile
//! (by guests or the operator); who needs it waits for the count. So the host keeps no books that
//! could be wrong for ever, and a restart forgets nothing.

mod count;

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use roadstead_domain::{LimitKind, LimitReached};
use tokio::time::Instant;

/// Counts of one directory come at most this often, and take at most a part of the time.
const BETWEEN_COUNTS: Duration = Duration::from_millis(100);
const PART: u32 = 20;

/// Bytes and entries, of a directory or of what comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amount {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// A directory of the host that guests may write. One per path, shared by all modules.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    usage: Mutex<Usage>,
    counting: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Usage {
    /// Nothing before the first count.
    held: Option<Amount>,
    /// Reserved for what is being written now.
    under_way: Amount,
    /// Reserved since the count under way began, and what was under way then: it may have been
    /// written before or after the count came by.
    since: Amount,
    counts: u64,
    not_before: Option<Instant>,
    /// Files that guests have open: deleted ones take room until they are closed.
    open: Vec<Weak<File>>,
}

/// A directory that a module may write, up to a bound.
#[derive(Debug, Clone)]
pub(crate) struct Writable {
    pub(crate) disk: Arc<Disk>,
    pub(crate) most: Amount,
}

/// Room that something is being written into; on drop, it has been.
#[derive(Debug)]
pub(crate) struct Reserved {
    disk: Arc<Disk>,
    room: Amount,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            entries: self.entries.saturating_sub(other.entries),
        }
    }

    /// The limit that this is over, if it is.
    fn over(self, most: Self) -> Option<LimitReached> {
        let over = |limit, used, allowed| LimitReached { limit, allowed, used: Some(used) };
        if most.bytes < self.bytes {
            return Some(over(LimitKind::Disk, self.bytes, most.bytes));
        }
        let entries = over(LimitKind::Inodes, self.entries, most.entries);
        (most.entries < self.entries).then_some(entries)
    }
}

impl Disk {
    /// The books of a directory.
    pub(crate) fn of(path: &Path) -> io::Result<Arc<Self>> {
        static DISKS: LazyLock<Mutex<HashMap<PathBuf, Weak<Disk>>>> = LazyLock::new(Mutex::default);
        let path = path.canonicalize()?;
        let mut disks = DISKS.lock();
        disks.retain(|_, disk| 0 < disk.strong_count());
        let place = disks.entry(path.clone()).or_default();
        Ok(place.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Self { path, usage: Mutex::default(), counting: Arc::default() });
            *place = Arc::downgrade(&made);
            made
        }))
    }

    /// A guest has a file or directory of it open.
    pub(crate) fn opened(&self, file: &Arc<File>) {
        let mut usage = self.usage.lock();
        if usage.open.len() == usage.open.capacity() {
            usage.open.retain(|file| 0 < file.strong_count());
        }
        usage.open.push(Arc::downgrade(file));
    }

    /// Counts the directory anew, unless somebody has since `counts`.
    async fn count(self: &Arc<Self>, counts: u64) {
        let turn = Arc::clone(&self.counting).lock_owned().await;
        let not_before = {
            let usage = self.usage.lock();
            if usage.counts != counts {
                return;
            }
            usage.not_before
        };
        if let Some(not_before) = not_before {
            tokio::time::sleep_until(not_before).await;
        }
        let disk = Arc::clone(self);
        // Comes to its end even if nobody waits for it any more.
        let counting = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            disk.count_now();
        });
        if let Err(error) = counting.await {
            tracing::error!(%error, "count a writable directory");
        }
    }

    fn count_now(&self) {
        let open = {
            let mut usage = self.usage.lock();
            usage.since = usage.under_way;
            usage.open.retain(|file| 0 < file.strong_count());
            usage.open.clone()
        };
        let started = Instant::now();
        let found = count::amount_of(&self.path, &open);
        if let Err(error) = &found {
            let path = self.path.display();
            tracing::error!(%path, %error, "a writable directory cannot be counted: it takes nothing");
        }
        let mut usage = self.usage.lock();
        match found {
            Ok(Some(found)) => usage.held = Some(found.plus(usage.since)),
            // What was known goes on to count, with all that was reserved since.
            Ok(None) => {}
            Err(_) => usage.held = None,
        }
        usage.counts = usage.counts.wrapping_add(1);
        let now = Instant::now();
        let pause = (now - started).saturating_mul(PART).max(BETWEEN_COUNTS);
        usage.not_before = now.checked_add(pause);
    }
}

impl Writable {
    /// Room for so much more, without waiting; who is refused may have luck after a count.
    ///
    /// # Errors
    /// The limit, and how often the directory was counted.
    pub(crate) fn try_reserve(&self, more: Amount) -> Result<Reserved, (LimitReached, u64)> {
        let mut usage = self.disk.usage.lock();
        let unknown = Amount { bytes: u64::MAX, entries: u64::MAX };
        let after = usage.held.map_or(unknown, |held| held.plus(more));
        // What adds nothing is no reason to refuse, however full the directory is.
        if let Some(limit) = after.over(self.most).filter(|_| more != Amount::default()) {
            return Err((limit, usage.counts));
        }
        usage.held = usage.held.map(|held| held.plus(more));
        usage.under_way = usage.under_way.plus(more);
        usage.since = usage.since.plus(more);
        Ok(Reserved { disk: Arc::clone(&self.disk), room: more })
    }

    /// Room for so much more.
    ///
    /// # Errors
    /// The limit, if the directory is really full.
    pub(crate) async fn reserve(&self, more: Amount) -> Result<Reserved, LimitReached> {
        if let Some(limit) = more.over(self.most) {
            return Err(limit);
        }
        let counts = match self.try_reserve(more) {
            Ok(reserved) => return Ok(reserved),
            Err((_, counts)) => counts,
        };
        self.disk.count(counts).await;
        self.try_reserve(more).map_err(|(limit, _)| limit)
    }
}

impl Reserved {
    /// Nothing was written.
    pub(crate) fn undo(self) {
        let mut usage = self.disk.usage.lock();
        usage.held = usage.held.map(|held| held.minus(self.room));
        usage.since = usage.since.minus(self.room);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut usage = self.disk.usage.lock();
        usage.under_way = usage.under_way.minus(self.room);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn writable(folder: &TempDir, bytes: u64, entries: u64) -> Writable {
        Writable { disk: Disk::of(folder.path()).unwrap(), most: Amount { bytes, entries } }
    }

    fn bytes(bytes: u64) -> Amount {
        Amount { bytes, entries: 0 }
    }

    #[tokio::test]
    async fn what_is_there_counts_and_what_is_deleted_does_not() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/file"), [0; 60]).unwrap();
        fs::hard_link(folder.path().join("sub/file"), folder.path().join("again")).unwrap();
        let writable = writable(&folder, 100, 10);
        assert!(writable.reserve(bytes(41)).await.is_err());
        drop(writable.reserve(bytes(40)).await.unwrap());
        let full = writable.reserve(bytes(61)).await.unwrap_err();
        assert_eq!((full.limit, full.allowed), (LimitKind::Disk, 100));
        fs::remove_dir_all(folder.path().join("sub")).unwrap();
        fs::remove_file(folder.path().join("again")).unwrap();
        drop(writable.reserve(bytes(100)).await.unwrap());
    }

    #[tokio::test]
    async fn entries_count_and_undone_ones_do_not() {
        let folder = TempDir::new().unwrap();
        let writable = writable(&folder, 0, 2);
        let entry = Amount { bytes: 0, entries: 1 };
        let first = writable.reserve(entry).await.unwrap();
        let second = writable.reserve(entry).await.unwrap();
        let full = writable.reserve(entry).await.unwrap_err();
        assert_eq!((full.limit, full.used), (LimitKind::Inodes, Some(3)));
        first.undo();
        second.undo();
        drop(writable.reserve(Amount { bytes: 0, entries: 2 }).await.unwrap());
    }

    #[tokio::test]
    async fn deleted_files_take_room_until_they_are_closed() {
        let folder = TempDir::new().unwrap();
        let writable = writable(&folder, 100, 10);
        let path = folder.path().join("file");
        let file = Arc::new(File::create(&path).unwrap());
        file.set_len(90).unwrap();
        writable.disk.opened(&file);
        fs::remove_file(path).unwrap();
        assert!(writable.reserve(bytes(20)).await.is_err());
        drop(file);
        drop(writable.reserve(bytes(20)).await.unwrap());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_for_the_kernel_keeps_nobody_from_writing() {
        let folder = TempDir::new().unwrap();
        let made = count::tests::make_deep(folder.path());
        let writable = writable(&folder, made.bytes + 10, made.entries + 1);
        drop(writable.reserve(Amount { bytes: 10, entries: 1 }).await.unwrap());
        assert!(writable.reserve(bytes(11)).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_at_once_never_get_more_than_there_is() {
        let folder = TempDir::new().unwrap();
        let writable = writable(&folder, 100, 1000);
        let write = |number: u64| {
            let (writable, path) = (writable.clone(), folder.path().join(number.to_string()));
            tokio::spawn(async move {
                let Ok(_room) = writable.reserve(Amount { bytes: 3, entries: 1 }).await else {
                    return 0;
                };
                tokio::task::yield_now().await;
                fs::write(path, "abc").unwrap();
                1
            })
        };
        let writers: Vec<_> = (0..200).map(write).collect();
        let mut written = 0;
        for writer in writers {
            written += writer.await.unwrap();
        }
        assert_eq!(written, 33);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 33);
    }
}
