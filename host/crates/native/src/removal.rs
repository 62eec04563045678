//! Takes a directory away, whatever a server made of it: however deep or wide, with whatever modes.
//!
//! Directories below are emptied into the topmost one, one level at a time, so that neither the
//! stack nor the number of open files grows with what is found. No link is followed.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat},
    io::Errno,
    path::Arg,
};

/// Takes a directory away; one that is not there is gone. Blocks.
///
/// # Errors
/// Some of it is left; all that could be removed is.
pub(crate) fn remove(directory: &Path) -> io::Result<()> {
    let root = match open(CWD, directory) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR) => return fs::remove_file(directory),
        Err(error) => return Err(error.into()),
    };
    let mark = hex::encode(rand::random::<[u8; 8]>());
    let mut lifted = 0_u64;
    each(&root, |name| {
        if let Some(below) = no_file(&root, name)? {
            each(&below, |name| {
                if no_file(&below, name)?.is_some() {
                    lifted += 1;
                    renameat(&below, name, &root, format!("{mark}-{lifted}"))?;
                }
                Ok(())
            })?;
            unlinkat(&root, name, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    })?;
    fs::remove_dir(directory)
}

/// Removes a name; a directory's is left, and the directory made its owner's.
fn no_file(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<Option<OwnedFd>> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => open(parent, name).map(Some),
        removed => removed.map(|()| None),
    }
}

/// Has every entry of a directory taken out of it, and tries again as long as that helps.
fn each(
    directory: &OwnedFd,
    mut take: impl FnMut(&CStr) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    loop {
        let (mut gone, mut failed) = (false, Ok(()));
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match take(name) {
                Ok(()) => gone = true,
                Err(error) => failed = Err(error),
            }
        }
        if !gone {
            return failed;
        }
    }
}

fn open(parent: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
    // One of another user stays as it is: whether it can be read then is for the kernel to say.
    rustix::fs::chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::RWXU).ok();
    openat(&found, ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    /// Deeper than any stack, any path and any number of open files.
    const DEPTH: usize = 20_000;

    #[test]
    fn a_tree_is_gone_however_deep() {
        let outside = tempfile::tempdir().unwrap();
        let top = outside.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut at = open(CWD, &top).unwrap();
        for _ in 0..DEPTH {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        drop(at);
        remove(&top).unwrap();
        assert!(!top.exists());
        // It is gone already.
        remove(&top).unwrap();
    }

    #[test]
    fn no_link_is_followed_and_no_mode_holds() {
        let outside = tempfile::tempdir().unwrap();
        let (kept, top) = (outside.path().join("kept"), outside.path().join("top"));
        fs::create_dir_all(kept.join("in")).unwrap();
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        for name in ["a/b/c/file", "file"] {
            fs::write(top.join(name), "x").unwrap();
        }
        for name in ["a/link", "link"] {
            symlink(&kept, top.join(name)).unwrap();
        }
        for name in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(top.join(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove(&top).unwrap();
        assert!(!top.exists());
        symlink(&kept, &top).unwrap();
        remove(&top).unwrap();
        assert!(!top.is_symlink() && kept.join("in").exists());
    }
}
