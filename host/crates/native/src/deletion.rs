//! The state of a module that is deleted is not that of the next one of its name: it is marked
//! before the deletion is known to anybody else here, and set aside before anything of its name
//! runs again, be it by a later host.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{records::replace, removal::remove};

/// Bytes of a name that is made up.
const NAME: usize = 4;
const MARK: &str = "is-deleted";
const STATE: &str = "state";
/// The latest state that was set aside.
const ASIDE: &str = "deleted";

/// Marks what lies in a module's directory, or is about to. Blocks.
pub(crate) fn mark(directory: &Path) -> io::Result<()> {
    if directory.try_exists()? {
        replace(&directory.join(MARK), b"")?;
    }
    Ok(())
}

/// Marks what lies in the directories of modules that are not there any more: an earlier host ended
/// between a deletion and its mark. Blocks.
pub(crate) fn mark_but(modules: &Path, there: &HashSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(modules)? {
        let entry = entry?;
        let directory = entry.path();
        if there.contains(&directory) || !entry.file_type()?.is_dir() {
            continue;
        }
        // What fails for one is no reason to leave the others.
        if let Err(error) = mark(&directory) {
            tracing::error!(directory = %directory.display(), %error, "mark a deleted module's state");
        }
    }
    Ok(())
}

pub(crate) fn is_marked(directory: &Path) -> io::Result<bool> {
    directory.join(MARK).try_exists()
}

/// Sets the state aside and takes the mark away. Blocks.
pub(crate) fn set_aside(directory: &Path) -> io::Result<()> {
    let state = directory.join(STATE);
    if state.try_exists()? {
        let aside = directory.join(ASIDE);
        if let Err(error) = remove(&aside) {
            tracing::warn!(directory = %aside.display(), %error, "left behind");
            let name = hex::encode(rand::random::<[u8; NAME]>());
            fs::rename(&aside, directory.join(format!("{ASIDE}-{name}")))?;
        }
        fs::rename(&state, &aside)?;
        File::open(directory)?.sync_all()?;
    }
    match fs::remove_file(directory.join(MARK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_state_is_set_aside_and_the_latest_kept() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        mark(&at("none")).unwrap();
        assert!(!at("none").exists());
        // Its first server has not begun yet.
        mark(directory.path()).unwrap();
        assert!(is_marked(directory.path()).unwrap());
        set_aside(directory.path()).unwrap();
        assert!(!is_marked(directory.path()).unwrap());
        for text in ["one", "two"] {
            fs::create_dir(at("state")).unwrap();
            fs::write(at("state/file"), text).unwrap();
            mark(directory.path()).unwrap();
            assert!(is_marked(directory.path()).unwrap());
            set_aside(directory.path()).unwrap();
            assert!(!is_marked(directory.path()).unwrap() && !at("state").exists());
            assert_eq!(fs::read_to_string(at("deleted/file")).unwrap(), text);
        }
        // Interrupted between the two.
        fs::write(at(MARK), "").unwrap();
        set_aside(directory.path()).unwrap();
        assert!(!is_marked(directory.path()).unwrap() && at("deleted/file").exists());
    }

    #[test]
    fn all_that_are_not_there_are_marked_whatever_lies_beside_them() {
        let modules = tempfile::tempdir().unwrap();
        let names = ["a", "b", "kept"].map(|name| modules.path().join(name));
        names.iter().for_each(|path| fs::create_dir(path).unwrap());
        fs::write(modules.path().join("aa-notes"), "x").unwrap();
        mark_but(modules.path(), &HashSet::from([names[2].clone()])).unwrap();
        assert_eq!(names.map(|path| is_marked(&path).unwrap()), [true, true, false]);
    }
}
