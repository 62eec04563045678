//! Directories that the operator offers by name, and how many files an instance may have open.
//!
//! Directories are opened once per module and shared by its instances; every path goes through
//! cap-std's resolution within them, which neither `..` nor symbolic links leave. Opened files
//! are watched by weak references to the host's file, so that a stream which outlives its
//! descriptor still counts.

use std::{
    fs::File,
    sync::{Arc, Weak},
};

use roadstead_domain::{DirectoryGrant, DirectoryMode, LimitKind, LimitReached};
use wasmtime::{
    StoreContextMut,
    component::{Accessor, Linker, Resource},
};
use wasmtime_wasi::{
    FsPerms, WasiCtxBuilder,
    filesystem::{Descriptor, WasiFilesystem, WasiFilesystemCtx},
    p2::bindings::filesystem::types::{self as p2, HostDescriptor as _},
    p3::bindings::filesystem::types::{self as p3, HostDescriptorWithStore as _},
};

use super::{
    HasCapabilities,
    grant::Asking,
    limit::{Account, Place, Places},
    offers::OfferKind,
};
use crate::LoadError;

/// The files and directories that an instance has open, its preopened ones aside.
pub(crate) struct OpenFiles {
    allowed: u64,
    host: Arc<Places>,
    open: Vec<(Weak<File>, Place)>,
    account: Arc<Account>,
}

/// Opens the directories that a spec asks for. Once per module.
pub(crate) fn preopen(
    grants: &[DirectoryGrant],
    asking: &Asking<'_>,
) -> Result<WasiFilesystemCtx, LoadError> {
    let mut builder = WasiCtxBuilder::new();
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
        if let Err(error) = builder.preopened_dir(&directory.path, &grant.guest, perms) {
            tracing::error!(directory = %name, path = %directory.path.display(), %error, "open an offered directory");
            return Err(LoadError::NotOffered(format!(
                "the directory `{name}` cannot be opened on this host: see its log"
            )));
        }
    }
    Ok(builder.build().filesystem().clone())
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
    pub(crate) fn new(allowed: u64, host: Arc<Places>, account: Arc<Account>) -> Self {
        Self { allowed, host, open: Vec::new(), account }
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

    fn opened(&mut self, descriptor: &Descriptor, place: Place) {
        let file = match descriptor {
            Descriptor::File(file) => &file.file,
            Descriptor::Dir(dir) => &dir.dir,
        };
        self.open.push((Arc::downgrade(file), place));
    }
}

/// Puts `open-at` of both versions behind the limit. `linker` must allow shadowing.
pub(crate) fn limit_opening<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker
        .instance("wasi:filesystem/types@0.2.12")?
        .func_wrap_async("[method]descriptor.open-at", |store, arguments| {
            Box::new(open_at_p2(store, arguments))
        })?;
    linker
        .instance("wasi:filesystem/types@0.3.0")?
        .func_wrap_concurrent("[method]descriptor.open-at", |store, arguments| {
            Box::pin(open_at_p3(store, arguments))
        })
}

type OpenAtP2 = (Resource<Descriptor>, p2::PathFlags, String, p2::OpenFlags, p2::DescriptorFlags);
type OpenAtP3 = (Resource<Descriptor>, p3::PathFlags, String, p3::OpenFlags, p3::DescriptorFlags);

async fn open_at_p2<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (directory, follow, path, open, flags): OpenAtP2,
) -> wasmtime::Result<(Result<Resource<Descriptor>, p2::ErrorCode>,)> {
    let guest = store.data_mut().capabilities();
    let Some(place) = guest.files.admit() else {
        return Ok((Err(p2::ErrorCode::Quota),));
    };
    match guest.filesystem().open_at(directory, follow, path, open, flags).await {
        Ok(opened) => {
            let descriptor = guest.table.get(&opened)?;
            guest.files.opened(descriptor, place);
            Ok((Ok(opened),))
        }
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

async fn open_at_p3<T: HasCapabilities>(
    store: &Accessor<T>,
    (directory, follow, path, open, flags): OpenAtP3,
) -> wasmtime::Result<(Result<Resource<Descriptor>, p3::ErrorCode>,)> {
    let Some(place) = store.with(|mut store| store.get().capabilities().files.admit()) else {
        return Ok((Err(p3::ErrorCode::Quota),));
    };
    let files = store.with_getter::<WasiFilesystem>(|state| state.capabilities().filesystem());
    match WasiFilesystem::open_at(&files, directory, follow, path, open, flags).await {
        Ok(opened) => store.with(|mut store| {
            let guest = store.get().capabilities();
            let descriptor = guest.table.get(&opened)?;
            guest.files.opened(descriptor, place);
            Ok((Ok(opened),))
        }),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
