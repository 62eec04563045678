//! What the times of files tell: nothing where the clocks are fixed, for a file that a guest writes
//! is a clock.

use wasmtime::{
    StoreContextMut,
    component::{Accessor, Linker},
};
use wasmtime_wasi::{
    filesystem::WasiFilesystem,
    p2::bindings::filesystem::types::{self as p2, HostDescriptor as _},
    p3::bindings::filesystem::types::{self as p3, HostDescriptorWithStore as _},
};

use super::operations::{Fd, Refusal, answer_p2, answer_p3, is_too_long};
use crate::capability::{HasCapabilities, clocks::FIXED_WALL};

/// A time that every file has.
macro_rules! fix {
    ($stat:ident, $time:expr) => {
        for time in [
            &mut $stat.data_access_timestamp,
            &mut $stat.data_modification_timestamp,
            &mut $stat.status_change_timestamp,
        ] {
            *time = time.is_some().then_some($time);
        }
    };
}

fn fixed_p2(mut stat: p2::DescriptorStat) -> p2::DescriptorStat {
    let time = wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime {
        seconds: FIXED_WALL.as_secs(),
        nanoseconds: 0,
    };
    fix!(stat, time);
    stat
}

fn fixed_p3(mut stat: p3::DescriptorStat) -> p3::DescriptorStat {
    let seconds = i64::try_from(FIXED_WALL.as_secs()).unwrap_or_default();
    let time =
        wasmtime_wasi::p3::bindings::clocks::system_clock::Instant { seconds, nanoseconds: 0 };
    fix!(stat, time);
    stat
}

/// Hides the times of files where the clocks are fixed. `linker` must allow shadowing.
pub(super) fn link<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    types.func_wrap_async(
        "[method]descriptor.stat",
        |mut store: StoreContextMut<'_, T>, (fd,): (Fd,)| {
            Box::new(async move {
                let guest = store.data_mut().capabilities();
                let stat = guest.filesystem().stat(fd).await;
                answer_p2(if guest.clock.is_fixed() { stat.map(fixed_p2) } else { stat })
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.stat-at",
        |mut store: StoreContextMut<'_, T>, (fd, follow, path): (Fd, p2::PathFlags, String)| {
            Box::new(async move {
                if is_too_long(&path) {
                    return Ok((Err(Refusal::PathTooLong.into()),));
                }
                let guest = store.data_mut().capabilities();
                let stat = guest.filesystem().stat_at(fd, follow, path).await;
                answer_p2(if guest.clock.is_fixed() { stat.map(fixed_p2) } else { stat })
            })
        },
    )?;
    let mut types = linker.instance("wasi:filesystem/types@0.3.0")?;
    types.func_wrap_concurrent(
        "[method]descriptor.stat",
        |store: &Accessor<T>, (fd,): (Fd,)| {
            Box::pin(async move {
                let fixed = store.with(|mut store| store.get().capabilities().clock.is_fixed());
                let files =
                    store.with_getter::<WasiFilesystem>(|state| state.capabilities().filesystem());
                let stat = WasiFilesystem::stat(&files, fd).await;
                answer_p3(if fixed { stat.map(fixed_p3) } else { stat })
            })
        },
    )?;
    types.func_wrap_concurrent(
        "[method]descriptor.stat-at",
        |store: &Accessor<T>, (fd, follow, path): (Fd, p3::PathFlags, String)| {
            Box::pin(async move {
                if is_too_long(&path) {
                    return Ok((Err(Refusal::PathTooLong.into()),));
                }
                let fixed = store.with(|mut store| store.get().capabilities().clock.is_fixed());
                let files =
                    store.with_getter::<WasiFilesystem>(|state| state.capabilities().filesystem());
                let stat = WasiFilesystem::stat_at(&files, fd, follow, path).await;
                answer_p3(if fixed { stat.map(fixed_p3) } else { stat })
            })
        },
    )
}
