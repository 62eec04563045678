//! What a server finds when it starts: its directory, its files, its environment. Nothing of the
//! host's own environment is in it.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{sign::CallKey, version::Version};

/// Bytes that messages of any server may have: its health and its reflection have some, too,
/// whatever the spec says of the module's own.
const LEAST_MESSAGE: u64 = 4 << 20;

/// The socket's name in a server's own directory.
pub(crate) const SOCKET: &str = "s";

/// A server's own directory.
#[derive(Debug, Clone)]
pub(crate) struct Home(pub(crate) PathBuf);

impl Home {
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// Makes it, with the key and the secrets in it.
    pub(crate) fn make(&self, key: &CallKey, secrets: &[(String, String)]) -> io::Result<()> {
        private(&self.0)?;
        private(&self.0.join("home"))?;
        private(&self.temporary())?;
        private(&self.0.join("secrets"))?;
        for (name, text) in secrets {
            write(&self.0.join("secrets").join(name), text.as_bytes())?;
        }
        write(&self.0.join("key"), key.bytes())
    }

    pub(crate) fn environment(
        &self,
        version: &Version,
        path: &str,
        state: &Path,
        epoch: u64,
    ) -> BTreeMap<String, String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let (input, output) = version.sizes();
        let longest = input.max(output).max(LEAST_MESSAGE);
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), path.to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("HOME".to_owned(), text(self.0.join("home"))),
            ("TMPDIR".to_owned(), text(self.temporary())),
        ]);
        env.extend(version.native.env.clone());
        env.extend([
            ("ROADSTEAD_SOCKET".to_owned(), text(self.socket())),
            ("ROADSTEAD_CALL_KEY".to_owned(), text(self.0.join("key"))),
            ("ROADSTEAD_SECRETS".to_owned(), text(self.0.join("secrets"))),
            ("ROADSTEAD_EPOCH".to_owned(), epoch.to_string()),
            (
                "ROADSTEAD_GRACE".to_owned(),
                version.native.grace_of_calls().as_secs_f64().to_string(),
            ),
            ("ROADSTEAD_MAX_MESSAGE".to_owned(), longest.to_string()),
        ]);
        if version.native.stateful {
            env.insert("ROADSTEAD_STATE".to_owned(), text(state.to_owned()));
        }
        env
    }
}

/// A directory for this user alone; one that is there is left.
pub(crate) fn private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).recursive(true).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o400).open(path)?.write_all(bytes)
}
