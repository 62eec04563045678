//! Directories that the operator offers by name: how many files an instance may have open there, and
//! how much may be in those that it may write.
//!
//! Directories are opened once per module and shared by its instances; every path goes through
//! cap-std's resolution within them, which neither `..` nor symbolic links leave. Opened files
//! are watched by weak references to the host's file, so that a stream which outlives its
//! descriptor still counts.

mod opening;
mod operations;
mod times;
mod writing;

use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Weak},
};

use roadstead_domain::{DirectoryGrant, DirectoryMode, LimitKind, LimitReached, Quota};
use wasmtime::component::Linker;
use wasmtime_wasi::{
    FsPerms, WasiCtxBuilder,
    filesystem::{Descriptor, WasiFilesystemCtx},
};

use super::{
    HasCapabilities,
    disk::{Amount, Disk, Writable},
    grant::Asking,
    limit::{Account, Place, Places},
    offers::OfferKind,
};
use crate::{LoadError, OfferedDirectory};
use operations::Fd;

/// The files and directories that an instance has open, its preopened ones aside.
pub(crate) struct OpenFiles {
    allowed: u64,
    host: Arc<Places>,
    open: Vec<(Weak<File>, Place)>,
    account: Arc<Account>,
    directories: Arc<[Option<Writable>]>,
    /// By descriptor: what it leads to, where that may be written.
    writable: HashMap<u32, Writable>,
}

/// The directories of a module, opened, and in the same order what may be written of them.
pub(crate) struct Directories {
    pub(crate) context: WasiFilesystemCtx,
    pub(crate) writable: Arc<[Option<Writable>]>,
}

/// Opens the directories that a spec asks for. Once per module.
pub(crate) fn preopen(
    grants: &[DirectoryGrant],
    quota: &Quota,
    asking: &Asking<'_>,
) -> Result<Directories, LoadError> {
    let mut builder = WasiCtxBuilder::new();
    let mut writable = Vec::with_capacity(grants.len());
    for grant in grants {
        let name = &grant.host;
        let offered = asking.offers.directories.get(name);
        let Some(directory) = offered.filter(|offered| asking.is_among(&offered.to)) else {
            let offers = asking.offered(|kind| matches!(kind, OfferKind::Directory(_)));
            return Err(LoadError::NotOffered(format!(
                "capabilities.files asks for the directory `{name}`; directories that this host \
                 offers to this module: {offers}. Its operator offers one with \
                 `serve --dir {name}=PATH` or in the settings file"
            )));
        };
        if grant.mode > directory.mode {
            return Err(LoadError::NotOffered(format!(
                "capabilities.files asks to write to `{name}`, which this host offers read-only"
            )));
        }
        let perms = match grant.mode {
            DirectoryMode::Ro => FsPerms::ReadOnly,
            DirectoryMode::Rw => FsPerms::ReadWrite,
        };
        let opened = builder
            .preopened_dir(&directory.path, &grant.guest, perms)
            .and_then(|_| Ok(books(directory, grant.mode, quota)?));
        writable.push(opened.map_err(|error| {
            tracing::error!(directory = %name, path = %directory.path.display(), %error, "open an offered directory");
            LoadError::NotOffered(format!(
                "the directory `{name}` cannot be opened on this host: see its log"
            ))
        })?);
    }
    Ok(Directories { context: builder.build().filesystem().clone(), writable: writable.into() })
}

/// What may be in a directory that is granted for writing: no more than the spec asks for, and no
/// more than the operator says.
fn books(
    offered: &OfferedDirectory,
    mode: DirectoryMode,
    quota: &Quota,
) -> std::io::Result<Option<Writable>> {
    if mode == DirectoryMode::Ro {
        return Ok(None);
    }
    let most = Amount {
        bytes: offered.size.map_or(quota.disk.0, |size| size.0.min(quota.disk.0)),
        entries: offered.files.map_or(quota.inodes, |files| files.min(quota.inodes)),
    };
    Ok(Some(Writable { disk: Disk::of(&offered.path)?, most }))
}

/// What an import of `wasi:filesystem` gets, in words.
pub(crate) fn grant_text(grants: &[DirectoryGrant]) -> String {
    if grants.is_empty() {
        return "denied: no directories in capabilities.files".to_owned();
    }
    let each = |grant: &DirectoryGrant| format!("{} {}", grant.mode, grant.guest);
    grants.iter().map(each).collect::<Vec<_>>().join(", ")
}

impl OpenFiles {
    pub(crate) fn new(
        allowed: u64,
        host: Arc<Places>,
        account: Arc<Account>,
        directories: Arc<[Option<Writable>]>,
    ) -> Self {
        let writable = HashMap::new();
        Self { allowed, host, open: Vec::new(), account, directories, writable }
    }

    /// What a descriptor leads to, if that may be written.
    fn writable(&self, descriptor: &Fd) -> Option<Writable> {
        self.writable.get(&descriptor.rep()).cloned()
    }

    /// The guest has handles of its directories.
    fn preopened(&mut self, found: &[(Fd, String)]) {
        let directories = Arc::clone(&self.directories);
        for ((descriptor, _), writable) in found.iter().zip(directories.iter()) {
            self.leads_to(descriptor, writable.clone());
        }
    }

    /// Numbers of descriptors are used again, so that each new one is told.
    fn leads_to(&mut self, descriptor: &Fd, writable: Option<Writable>) {
        match writable {
            Some(writable) => self.writable.insert(descriptor.rep(), writable),
            None => self.writable.remove(&descriptor.rep()),
        };
    }

    /// A place for one more file, if there is one.
    fn admit(&mut self) -> Option<Place> {
        self.open.retain(|(file, _)| file.strong_count() > 0);
        let open = u64::try_from(self.open.len()).unwrap_or(u64::MAX);
        if open >= self.allowed {
            self.account.soft(LimitReached {
                limit: LimitKind::OpenFiles,
                allowed: self.allowed,
                used: Some(open.saturating_add(1)),
            });
            return None;
        }
        Place::take(&[&self.host])
    }

    fn opened(
        &mut self,
        fd: &Fd,
        descriptor: &Descriptor,
        place: Place,
        writable: Option<Writable>,
    ) {
        let file = match descriptor {
            Descriptor::File(file) => &file.file,
            Descriptor::Dir(dir) => &dir.dir,
        };
        if let Some(writable) = &writable {
            writable.disk.opened(file);
        }
        self.open.push((Arc::downgrade(file), place));
        self.leads_to(fd, writable);
    }
}

/// Puts everything that opens, makes or lengthens files behind the limits, and hides their times
/// where clocks are fixed. `linker` must allow shadowing.
pub(crate) fn limit_files<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    operations::link_p2(linker)?;
    operations::link_p3(linker)?;
    writing::link(linker)?;
    times::link(linker)?;
    opening::link(linker)
}
