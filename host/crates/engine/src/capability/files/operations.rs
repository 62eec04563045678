//! Operations on files and directories, with what they need of the host looked at first: room in
//! the directory for those that add to it, paths of a sane length, one directory for what is moved.
//!
//! wasmtime's functions do the work; the linker's are replaced by ones that ask first.

use std::sync::Arc;

use wasmtime::{
    StoreContextMut,
    component::{Accessor, Linker, Resource},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystem},
    p2::{
        FsError,
        bindings::filesystem::{
            preopens::Host as _,
            types::{self as p2, HostDescriptor as _},
        },
    },
    p3::{
        bindings::filesystem::types::{self as p3, HostDescriptorWithStore as _},
        filesystem::FilesystemError,
    },
};

use crate::capability::{
    GuestCapabilities, HasCapabilities,
    disk::{Amount, Reserved, Writable},
    limit::Account,
};

/// The longest path, as on Linux.
const LONGEST_PATH: usize = 4096;

/// Why an operation is not even tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    PathTooLong,
    /// What is moved would leave the directory that it is counted in.
    OtherDirectory,
}

/// What an operation adds to a directory, if it does.
pub(super) type Plan = Result<Option<(Writable, Amount)>, Refusal>;

pub(super) type Fd = Resource<Descriptor>;

macro_rules! refusals {
    ($($version:ident),*) => {$(
        impl From<Refusal> for $version::ErrorCode {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::Full => Self::InsufficientSpace,
                    Refusal::PathTooLong => Self::NameTooLong,
                    Refusal::OtherDirectory => Self::CrossDevice,
                }
            }
        }
    )*};
}

refusals!(p2, p3);

impl GuestCapabilities {
    /// An operation that only has paths.
    fn plan(&self, paths: &[&str]) -> Plan {
        if paths.iter().any(|path| is_too_long(path)) {
            return Err(Refusal::PathTooLong);
        }
        Ok(None)
    }

    /// One that makes an entry.
    pub(super) fn plan_entry(&self, directory: &Fd, paths: &[&str], bytes: usize) -> Plan {
        self.plan(paths)?;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let writable = self.files.writable(directory);
        Ok(writable.map(|writable| (writable, Amount { bytes, entries: 1 })))
    }

    /// One after which a file is so long at least.
    fn plan_length(&self, file: &Fd, length: u64) -> Plan {
        let (Some(writable), Ok(Descriptor::File(file))) =
            (self.files.writable(file), self.table.get(file))
        else {
            return Ok(None);
        };
        let now = file.file.metadata().map_or(0, |meta| meta.len());
        Ok(Some((writable, Amount { bytes: length.saturating_sub(now), entries: 0 })))
    }

    /// One that gives what is in one directory a name in another.
    fn plan_move(&self, from: &Fd, to: &Fd, paths: &[&str], entries: u64) -> Plan {
        self.plan(paths)?;
        match (self.files.writable(from), self.files.writable(to)) {
            (Some(from), Some(to)) if Arc::ptr_eq(&from.disk, &to.disk) => {
                Ok(Some((to, Amount { bytes: 0, entries })))
            }
            (None, None) => Ok(None),
            _ => Err(Refusal::OtherDirectory),
        }
    }
}

pub(super) fn is_too_long(path: &str) -> bool {
    LONGEST_PATH < path.len()
}

/// Reserves what an operation adds.
pub(super) async fn reserve(plan: Plan, account: &Account) -> Result<Option<Reserved>, Refusal> {
    let Some((writable, more)) = plan? else { return Ok(None) };
    match writable.reserve(more).await {
        Ok(reserved) => Ok(Some(reserved)),
        Err(limit) => {
            account.soft(limit);
            Err(Refusal::Full)
        }
    }
}

/// What was reserved for an operation that failed is free again.
pub(super) fn settle<V, E>(reserved: Option<Reserved>, done: &Result<V, E>) {
    if let (Some(reserved), Err(_)) = (reserved, done) {
        reserved.undo();
    }
}

/// The operations of both versions that need nothing but a plan. `linker` must allow shadowing.
macro_rules! operations {
    ($apply:ident) => {
        $apply!("set-size", set_size(guest, fd; size: u64) => guest.plan_length(&fd, size));
        $apply!("create-directory-at", create_directory_at(guest, fd; path: String)
            => guest.plan_entry(&fd, &[&path], 0));
        $apply!("symlink-at", symlink_at(guest, fd; to: String, path: String)
            => guest.plan_entry(&fd, &[&to, &path], to.len()));
        $apply!("link-at", link_at(guest, fd; follow: Flags, old: String, other: Fd, new: String)
            => guest.plan_move(&fd, &other, &[&old, &new], 1));
        $apply!("rename-at", rename_at(guest, fd; old: String, other: Fd, new: String)
            => guest.plan_move(&fd, &other, &[&old, &new], 0));
        $apply!("unlink-file-at", unlink_file_at(guest, fd; path: String) => guest.plan(&[&path]));
        $apply!("remove-directory-at", remove_directory_at(guest, fd; path: String)
            => guest.plan(&[&path]));
        $apply!("readlink-at", readlink_at(guest, fd; path: String) => guest.plan(&[&path]));
        $apply!("metadata-hash-at", metadata_hash_at(guest, fd; follow: Flags, path: String)
            => guest.plan(&[&path]));
        $apply!("set-times-at",
            set_times_at(guest, fd; follow: Flags, path: String, access: Time, change: Time)
            => guest.plan(&[&path]));
    };
}

/// Puts the operations of 0.2 behind their plans. `linker` must allow shadowing.
pub(super) fn link_p2<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    type Flags = p2::PathFlags;
    type Time = p2::NewTimestamp;
    linker.instance("wasi:filesystem/preopens@0.2.12")?.func_wrap(
        "get-directories",
        |mut store: StoreContextMut<'_, T>, (): ()| {
            let guest = store.data_mut().capabilities();
            let found = guest.filesystem().get_directories()?;
            guest.files.preopened(&found);
            Ok((found,))
        },
    )?;
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    macro_rules! apply {
        ($name:literal,
         $method:ident($guest:ident, $fd:ident; $($argument:ident: $type:ty),*) => $plan:expr) => {
            types.func_wrap_async(
                concat!("[method]descriptor.", $name),
                |mut store: StoreContextMut<'_, T>, ($fd, $($argument),*): (Fd, $($type),*)| {
                    Box::new(async move {
                        let $guest = store.data_mut().capabilities();
                        let reserved = match reserve($plan, &$guest.account).await {
                            Ok(reserved) => reserved,
                            Err(refusal) => return Ok((Err(refusal.into()),)),
                        };
                        let done = $guest.filesystem().$method($fd, $($argument),*).await;
                        settle(reserved, &done);
                        answer_p2(done)
                    })
                },
            )?;
        };
    }
    operations!(apply);
    apply!("write", write(guest, fd; bytes: Vec<u8>, offset: u64) => {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        guest.plan_length(&fd, offset.saturating_add(length))
    });
    Ok(())
}

/// Puts the operations of 0.3 behind their plans. `linker` must allow shadowing.
pub(super) fn link_p3<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    type Flags = p3::PathFlags;
    type Time = p3::NewTimestamp;
    linker.instance("wasi:filesystem/preopens@0.3.0")?.func_wrap(
        "get-directories",
        |mut store: StoreContextMut<'_, T>, (): ()| {
            let guest = store.data_mut().capabilities();
            let found = guest.filesystem().get_directories()?;
            guest.files.preopened(&found);
            Ok((found,))
        },
    )?;
    let mut types = linker.instance("wasi:filesystem/types@0.3.0")?;
    macro_rules! apply {
        ($name:literal,
         $method:ident($guest:ident, $fd:ident; $($argument:ident: $type:ty),*) => $plan:expr) => {
            types.func_wrap_concurrent(
                concat!("[method]descriptor.", $name),
                |store: &Accessor<T>, ($fd, $($argument),*): (Fd, $($type),*)| {
                    Box::pin(async move {
                        let (plan, account) = store.with(|mut store| {
                            let $guest = store.get().capabilities();
                            ($plan, Arc::clone(&$guest.account))
                        });
                        let reserved = match reserve(plan, &account).await {
                            Ok(reserved) => reserved,
                            Err(refusal) => return Ok((Err(refusal.into()),)),
                        };
                        let files = store
                            .with_getter::<WasiFilesystem>(|state| state.capabilities().filesystem());
                        let done = WasiFilesystem::$method(&files, $fd, $($argument),*).await;
                        settle(reserved, &done);
                        answer_p3(done)
                    })
                },
            )?;
        };
    }
    operations!(apply);
    Ok(())
}

/// An answer of 0.2, or the trap that it really is.
pub(super) fn answer_p2<V>(
    done: Result<V, FsError>,
) -> wasmtime::Result<(Result<V, p2::ErrorCode>,)> {
    match done {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// An answer of 0.3, or the trap that it really is.
pub(super) fn answer_p3<V>(
    done: Result<V, FilesystemError>,
) -> wasmtime::Result<(Result<V, p3::ErrorCode>,)> {
    match done {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
