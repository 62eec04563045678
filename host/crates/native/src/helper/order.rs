//! What the host tells a helper, in a file that is the server's record too.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Layers;

/// How a server is started. Trusted: it comes from the host alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The file that this stands in.
    #[serde(skip)]
    pub(crate) file: PathBuf,
    /// The process whose end is the server's end.
    pub(crate) host: u32,
    pub(crate) layers: Layers,
    /// The server, or none where only the layers are tried.
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working: PathBuf,
    /// Directories that it may write.
    pub(crate) own: Vec<PathBuf>,
    /// What stands for the machine's directories for temporary files.
    pub(crate) temporary: PathBuf,
    /// Directories that it does not see.
    pub(crate) hidden: Vec<PathBuf>,
    pub(crate) devices: bool,
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) pids: u64,
    pub(crate) files: u64,
}

impl Order {
    pub(crate) fn read(file: &Path) -> io::Result<Self> {
        let order: Self = serde_json::from_slice(&std::fs::read(file)?)?;
        Ok(Self { file: file.to_owned(), ..order })
    }
}
