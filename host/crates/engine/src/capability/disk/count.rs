//! Counts what is in a directory, however deep it is.
//!
//! Folders are opened one from the other, never by a path: that may be longer than the kernel
//! takes, and may lead elsewhere by the time it is used. No link is followed.

use std::{
    collections::HashSet,
    ffi::{CStr, CString},
    fs::File,
    io, mem,
    os::fd::OwnedFd,
    path::Path,
    sync::Weak,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, statat},
    io::Errno,
};

use super::Amount;

/// A directory with more entries than this is not counted, and nothing more is written there.
const MOST_ENTRIES: u64 = 1_000_000;

/// Folders that stay open while those in them are counted; deeper ones are opened again on the way
/// back.
const STAY_OPEN: usize = 64;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The device and the inode of a file.
type Identity = (u64, u64);

/// What was found so far.
#[derive(Default)]
struct Found {
    amount: Amount,
    /// Files that have several names, or none.
    linked: HashSet<Identity>,
}

/// A folder whose entries are counted.
struct Folder {
    identity: Identity,
    /// Folders in it that are still to be counted.
    left: Vec<CString>,
}

/// What is in a directory, with deleted files that are open. What is changed meanwhile counts as it
/// was or as it is; none if folders deep in it were moved, so that the way back was lost.
///
/// # Errors
/// The directory cannot be read, or has too many entries.
pub(super) fn amount_of(root: &Path, opened: &[Weak<File>]) -> io::Result<Option<Amount>> {
    let mut found = Found::default();
    let root = open(root, FOLDER, Mode::empty())?;
    if !found.add_tree(root)? {
        return Ok(None);
    }
    for file in opened.iter().filter_map(Weak::upgrade) {
        let stat = fstat(&file)?;
        if stat.st_nlink == 0 && file_type(&stat) == FileType::RegularFile {
            found.add_file(&stat);
        }
    }
    Ok(Some(found.amount))
}

impl Found {
    /// Counts a folder and all below; false if it lost its way.
    fn add_tree(&mut self, root: OwnedFd) -> io::Result<bool> {
        let mut path = vec![self.add_entries(&root)?];
        let (mut here, mut above) = (root, Vec::new());
        while let Some(folder) = path.last_mut() {
            if let Some(name) = folder.left.pop() {
                let Some(inner) = enter(&here, &name)? else { continue };
                path.push(self.add_entries(&inner)?);
                let outer = mem::replace(&mut here, inner);
                if above.len() < STAY_OPEN {
                    above.push(outer);
                }
                continue;
            }
            path.pop();
            let Some(outer) = path.last() else { break };
            let back = if above.len() == path.len() { above.pop() } else { leave(&here, outer)? };
            let Some(back) = back else { return Ok(false) };
            here = back;
        }
        Ok(true)
    }

    /// Counts the entries of a folder, and nothing below.
    fn add_entries(&mut self, folder: &OwnedFd) -> io::Result<Folder> {
        let mut counted = Folder { identity: identity(&fstat(folder)?), left: Vec::new() };
        let Some(entries) = unless_gone(Dir::read_from(folder))? else { return Ok(counted) };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
            let Some(stat) = unless_gone(stat)? else { continue };
            self.add_entry()?;
            if file_type(&stat) == FileType::Directory {
                counted.left.push(name.to_owned());
            } else {
                self.add_file(&stat);
            }
        }
        Ok(counted)
    }

    fn add_entry(&mut self) -> io::Result<()> {
        self.amount.entries = self.amount.entries.saturating_add(1);
        if MOST_ENTRIES < self.amount.entries {
            return Err(io::Error::other("it has more than a million entries"));
        }
        Ok(())
    }

    /// Counts the length of a file, once for all its names.
    fn add_file(&mut self, stat: &Stat) {
        if stat.st_nlink == 1 || self.linked.insert(identity(stat)) {
            let length = u64::try_from(stat.st_size).unwrap_or(0);
            self.amount.bytes = self.amount.bytes.saturating_add(length);
        }
    }
}

/// Opens a folder in another; none if there is no such folder any more.
fn enter(folder: &OwnedFd, name: &CStr) -> io::Result<Option<OwnedFd>> {
    unless_gone(openat(folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()))
}

/// Opens the folder around another; none if that is not `outer` any more.
fn leave(folder: &OwnedFd, outer: &Folder) -> io::Result<Option<OwnedFd>> {
    let Some(around) = enter(folder, c"..")? else { return Ok(None) };
    let is_outer = identity(&fstat(&around)?) == outer.identity;
    Ok(is_outer.then_some(around))
}

/// None for what was deleted meanwhile, or is no folder any more.
fn unless_gone<T>(result: Result<T, Errno>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, io::Write as _, os::unix::fs::symlink};

    use rustix::fs::mkdirat;
    use tempfile::TempDir;

    use super::*;

    const LEVELS: u64 = 100;

    /// Makes folders in one another, deeper than a path can say and than folders stay open. On each
    /// level there are two more with a file of one byte each, so that one is left on the way back.
    pub(in crate::capability::disk) fn make_deep(root: &Path) -> Amount {
        let deeper = CString::new("d".repeat(100)).unwrap();
        let mut here = open(root, FOLDER, Mode::empty()).unwrap();
        for _ in 0..LEVELS {
            make_folder_with_file(&here, c"before");
            mkdirat(&here, &deeper, Mode::RWXU).unwrap();
            make_folder_with_file(&here, c"after");
            here = enter(&here, &deeper).unwrap().unwrap();
        }
        Amount { bytes: 2 * LEVELS, entries: 5 * LEVELS }
    }

    fn make_folder_with_file(here: &OwnedFd, name: &CStr) {
        mkdirat(here, name, Mode::RWXU).unwrap();
        let folder = enter(here, name).unwrap().unwrap();
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(folder, c"file", flags, Mode::RUSR | Mode::WUSR).unwrap();
        File::from(file).write_all(b"x").unwrap();
    }

    #[test]
    fn deep_folders_are_counted_to_the_last() {
        let folder = TempDir::new().unwrap();
        let made = make_deep(folder.path());
        assert_eq!(amount_of(folder.path(), &[]).unwrap(), Some(made));
    }

    #[test]
    fn what_became_a_link_is_not_entered() {
        let (folder, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::write(elsewhere.path().join("file"), [0; 1000]).unwrap();
        symlink(elsewhere.path(), folder.path().join("link")).unwrap();
        let root = open(folder.path(), FOLDER, Mode::empty()).unwrap();
        assert!(enter(&root, c"link").unwrap().is_none());
        let found = amount_of(folder.path(), &[]).unwrap().unwrap();
        assert!(found.entries == 1 && found.bytes < 1000, "{found:?}");
    }

    #[test]
    fn a_folder_that_was_moved_does_not_lead_back() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("a/moved")).unwrap();
        fs::create_dir(path("b")).unwrap();
        let outer = open(path("a"), FOLDER, Mode::empty()).unwrap();
        let moved = enter(&outer, c"moved").unwrap().unwrap();
        let outer = Found::default().add_entries(&outer).unwrap();
        assert!(leave(&moved, &outer).unwrap().is_some());
        fs::rename(path("a/moved"), path("b/moved")).unwrap();
        assert!(leave(&moved, &outer).unwrap().is_none());
    }
}
