//! The directory that the module may read.

use std::{
    fs,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use crate::{
    bindings::exports::demo::kv_filter::filter::{File, Problem},
    entries::{Entries, Layout, unreadable},
};

/// A directory that is there.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        if path.is_dir() { Ok(Self(path.to_owned())) } else { Err(Problem::NoDirectory) }
    }

    /// The files that can be searched, by name.
    pub(crate) fn files(&self) -> Result<Vec<File>, Problem> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let details = entry.metadata().map_err(unreadable)?;
            if let Ok(name) = entry.file_name().into_string()
                && details.is_file()
                && Layout::of(&name).is_some()
            {
                files.push(File { name, bytes: details.len() });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    pub(crate) fn entries(&self, name: &str) -> Result<Entries<BufReader<fs::File>>, Problem> {
        let plain = !name.contains(['/', '\\', '\0']) && !name.starts_with('.');
        let layout = Layout::of(name).filter(|_| plain);
        let layout = layout.ok_or_else(|| Problem::BadName(name.to_owned()))?;
        let file = fs::File::open(self.0.join(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Problem::NoSuchFile(name.to_owned()),
            _ => unreadable(error),
        })?;
        Ok(Entries::new(BufReader::new(file), layout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
    }

    #[test]
    fn files_are_listed_by_name() {
        let files = Directory::open(&data()).unwrap().files().unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["harbour.ndjson", "ports.tsv"]);
        assert!(files.iter().all(|file| 0 < file.bytes));
    }

    #[test]
    fn a_directory_that_was_not_granted_is_said_to_be_missing() {
        let problem = Directory::open(&data().join("missing")).err();
        assert_eq!(problem, Some(Problem::NoDirectory));
    }

    #[test]
    fn names_stay_inside_the_directory() {
        let directory = Directory::open(&data()).unwrap();
        for name in [
            "",
            "..",
            "../Cargo.toml",
            "a/../harbour.ndjson",
            "/etc/passwd",
            ".hidden.tsv",
            "x.txt",
        ] {
            let problem = directory.entries(name).err();
            assert_eq!(problem, Some(Problem::BadName(name.to_owned())), "{name}");
        }
        let missing = directory.entries("missing.tsv").err();
        assert_eq!(missing, Some(Problem::NoSuchFile("missing.tsv".to_owned())));
    }
}
