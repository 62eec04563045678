//! `open-at` of both versions: how many files are open, and room for those that it makes.

use std::sync::Arc;

use wasmtime::{
    StoreContextMut,
    component::{Accessor, Linker, Resource},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystem},
    p2::bindings::filesystem::types::{self as p2, HostDescriptor as _},
    p3::bindings::filesystem::types::{self as p3, HostDescriptorWithStore as _},
};

use super::operations::{Fd, Plan, Refusal, answer_p2, answer_p3, is_too_long, reserve, settle};
use crate::capability::HasCapabilities;

type OpenAtP2 = (Fd, p2::PathFlags, String, p2::OpenFlags, p2::DescriptorFlags);
type OpenAtP3 = (Fd, p3::PathFlags, String, p3::OpenFlags, p3::DescriptorFlags);

/// Whether a file may have to be made, and whether it may be there already.
macro_rules! making {
    ($version:ident, $open:ident) => {
        (
            $open.contains($version::OpenFlags::CREATE)
                && !$open.contains($version::OpenFlags::DIRECTORY),
            !$open.contains($version::OpenFlags::EXCLUSIVE),
        )
    };
}

/// Puts `open-at` behind the limits. `linker` must allow shadowing.
pub(super) fn link<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
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

fn again(descriptor: &Fd) -> Fd {
    Resource::new_borrow(descriptor.rep())
}

type AnswerP2 = wasmtime::Result<(Result<Resource<Descriptor>, p2::ErrorCode>,)>;

async fn open_at_p2<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (directory, follow, path, open, flags): OpenAtP2,
) -> AnswerP2 {
    if is_too_long(&path) {
        return Ok((Err(Refusal::PathTooLong.into()),));
    }
    let guest = store.data_mut().capabilities();
    let Some(place) = guest.files.admit() else {
        return Ok((Err(p2::ErrorCode::Quota),));
    };
    let writable = guest.files.writable(&directory);
    let (makes, may_be_there) = making!(p2, open);
    let mut found = None;
    // What is there already needs no room.
    if makes && may_be_there && writable.is_some() {
        let without = open & !p2::OpenFlags::CREATE;
        let (directory, path) = (again(&directory), path.clone());
        let tried = guest.filesystem().open_at(directory, follow, path, without, flags).await;
        match answer_p2(tried)?.0 {
            Err(p2::ErrorCode::NoEntry) => {}
            answer => found = Some(answer),
        }
    }
    let answer = match found {
        Some(answer) => answer,
        None => {
            let plan: Plan = if makes { guest.plan_entry(&directory, &[], 0) } else { Ok(None) };
            let reserved = match reserve(plan, &guest.account).await {
                Ok(reserved) => reserved,
                Err(refusal) => return Ok((Err(refusal.into()),)),
            };
            let done = guest.filesystem().open_at(directory, follow, path, open, flags).await;
            settle(reserved, &done);
            answer_p2(done)?.0
        }
    };
    if let Ok(opened) = &answer {
        let descriptor = guest.table.get(opened)?;
        guest.files.opened(opened, descriptor, place, writable);
    }
    Ok((answer,))
}

type AnswerP3 = wasmtime::Result<(Result<Resource<Descriptor>, p3::ErrorCode>,)>;

pub(super) async fn open_at_p3<T: HasCapabilities>(
    store: &Accessor<T>,
    (directory, follow, path, open, flags): OpenAtP3,
) -> AnswerP3 {
    if is_too_long(&path) {
        return Ok((Err(Refusal::PathTooLong.into()),));
    }
    let (place, writable) = store.with(|mut store| {
        let files = &mut store.get().capabilities().files;
        (files.admit(), files.writable(&directory))
    });
    let Some(place) = place else {
        return Ok((Err(p3::ErrorCode::Quota),));
    };
    let files = store.with_getter::<WasiFilesystem>(|state| state.capabilities().filesystem());
    let (makes, may_be_there) = making!(p3, open);
    let mut found = None;
    if makes && may_be_there && writable.is_some() {
        let without = open & !p3::OpenFlags::CREATE;
        let (directory, path) = (again(&directory), path.clone());
        let tried = WasiFilesystem::open_at(&files, directory, follow, path, without, flags).await;
        match answer_p3(tried)?.0 {
            Err(p3::ErrorCode::NoEntry) => {}
            answer => found = Some(answer),
        }
    }
    let answer = match found {
        Some(answer) => answer,
        None => {
            let (plan, account) = store.with(|mut store| {
                let guest = store.get().capabilities();
                let plan: Plan =
                    if makes { guest.plan_entry(&directory, &[], 0) } else { Ok(None) };
                (plan, Arc::clone(&guest.account))
            });
            let reserved = match reserve(plan, &account).await {
                Ok(reserved) => reserved,
                Err(refusal) => return Ok((Err(refusal.into()),)),
            };
            let done = WasiFilesystem::open_at(&files, directory, follow, path, open, flags).await;
            settle(reserved, &done);
            answer_p3(done)?.0
        }
    };
    if let Ok(opened) = &answer {
        store.with(|mut store| {
            let guest = store.get().capabilities();
            let descriptor = guest.table.get(opened)?;
            guest.files.opened(opened, descriptor, place, writable);
            wasmtime::error::Ok(())
        })?;
    }
    Ok((answer,))
}
