//! How native modules run on this machine.

use std::path::PathBuf;

use roadstead_engine::{LogStore, Offers};
use roadstead_native_plan::Restarts;

/// What a host says of the native modules that it runs.
#[derive(Debug, Clone)]
pub struct ProcessesConfig {
    /// A directory of its own, made where it is missing: records, sockets, state. No other host
    /// uses it at the same time. Its path has at most 80 bytes: sockets lie in it.
    pub directory: PathBuf,
    /// Where the commands of specs run: the directory that relative paths in them start from.
    pub working: PathBuf,
    /// Where programs are looked for.
    pub path: String,
    /// Directories that no server sees, besides its own: those of the host and of other services.
    pub hidden: Vec<PathBuf>,
    pub logs: LogStore,
    /// Of which native modules get secrets.
    pub offers: Offers,
    pub restarts: Restarts,
    /// Whether servers get namespaces and control groups, as far as the kernel allows.
    pub namespaces: bool,
    pub cgroups: bool,
}

impl ProcessesConfig {
    /// With all that the kernel allows.
    pub fn new(directory: PathBuf, working: PathBuf, logs: LogStore) -> Self {
        Self {
            directory,
            working,
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            hidden: vec![PathBuf::from("/run"), PathBuf::from("/var/run")],
            logs,
            offers: Offers::default(),
            restarts: Restarts::default(),
            namespaces: true,
            cgroups: true,
        }
    }
}
