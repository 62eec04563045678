//! Streams into files, which pay for what makes a file longer before it is written.

use std::{
    fs::File,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use roadstead_domain::LimitReached;
use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{Access, FutureReader, Linker, Resource, StreamReader},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystem},
    p2::{
        DynOutputStream, FsResult, OutputStream, Pollable, StreamError, StreamResult,
        bindings::filesystem::types::{self as p2, HostDescriptor as _},
    },
    p3::bindings::filesystem::types::{self as p3, HostDescriptorWithStore as _},
};

use super::operations::{Fd, answer_p2};
use crate::capability::{
    GuestCapabilities, HasCapabilities,
    disk::{Amount, Reserved, Writable},
    limit::Account,
    streams::{Toll, settled, tolled},
};

/// A file that is written piece by piece.
struct Growth {
    file: Arc<File>,
    /// Where the next byte goes; none at the end of the file, wherever that is.
    at: Option<u64>,
    /// Where what is paid for ends: it may not be written yet.
    paid: u64,
    writable: Writable,
    account: Arc<Account>,
    /// Room for the piece that is being written.
    held: Option<Reserved>,
}

/// A stream of 0.2 into a file.
struct Charged {
    stream: DynOutputStream,
    growth: Growth,
    /// Waits for room.
    waiting: Option<Bytes>,
    full: bool,
}

/// Pays for a stream of 0.3 into a file.
struct Fee {
    growth: Growth,
    reserving: Option<Reserving>,
    full: Arc<AtomicBool>,
}

type Reserving = Pin<Box<dyn Future<Output = Result<Reserved, LimitReached>> + Send>>;

impl Growth {
    /// What so many more bytes add to the file.
    fn by(&self, bytes: usize) -> Amount {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let more = self.at.map_or(bytes, |at| {
            let length = self.file.metadata().map_or(0, |meta| meta.len()).max(self.paid);
            at.saturating_add(bytes).saturating_sub(length)
        });
        Amount { bytes: more, entries: 0 }
    }

    fn goes_on(&mut self, bytes: usize, room: Reserved) {
        self.held = Some(room);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.at = self.at.map(|at| at.saturating_add(bytes));
        self.paid = self.at.unwrap_or_default();
    }
}

impl GuestCapabilities {
    /// None where nothing is counted.
    fn growth(&self, file: &Fd, at: Option<u64>) -> Option<Growth> {
        let writable = self.files.writable(file)?;
        let Ok(Descriptor::File(file)) = self.table.get(file) else { return None };
        let (file, account) = (Arc::clone(&file.file), Arc::clone(&self.account));
        Some(Growth { file, at, paid: 0, writable, account, held: None })
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Charged {
    async fn ready(&mut self) {
        if let Some(bytes) = &self.waiting {
            let more = self.growth.by(bytes.len());
            match self.growth.writable.reserve(more).await {
                Ok(room) => {
                    if let Some(bytes) = self.waiting.take() {
                        self.growth.goes_on(bytes.len(), room);
                        self.full |= self.stream.write(bytes).is_err();
                    }
                }
                Err(limit) => {
                    self.growth.account.soft(limit);
                    self.waiting = None;
                    self.full = true;
                }
            }
        }
        if !self.full {
            self.stream.ready().await;
            self.growth.held = None;
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Charged {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.waiting.is_some() || self.full {
            return Err(StreamError::Trap(wasmtime::format_err!("written without permission")));
        }
        let more = self.growth.by(bytes.len());
        match self.growth.writable.try_reserve(more) {
            Ok(room) => {
                self.growth.goes_on(bytes.len(), room);
                self.stream.write(bytes)
            }
            Err(_) => {
                self.waiting = Some(bytes);
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.full {
            let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
            return Err(StreamError::LastOperationFailed(full.into()));
        }
        if self.waiting.is_some() {
            return Ok(0);
        }
        let room = self.stream.check_write()?;
        if 0 < room {
            self.growth.held = None;
        }
        Ok(room)
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

impl Toll for Fee {
    fn poll_pay(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
    ) -> Poll<wasmtime::Result<bool>> {
        let growth = &mut self.growth;
        let reserving = self.reserving.get_or_insert_with(|| {
            let (writable, more) = (growth.writable.clone(), growth.by(bytes));
            Box::pin(async move { writable.reserve(more).await })
        });
        let reserved = ready!(reserving.as_mut().poll(context));
        self.reserving = None;
        Poll::Ready(Ok(match reserved {
            Ok(room) => {
                growth.goes_on(bytes, room);
                true
            }
            Err(limit) => {
                growth.account.soft(limit);
                self.full.store(true, Ordering::Release);
                false
            }
        }))
    }
}

/// Puts the streams of both versions behind the quota. `linker` must allow shadowing.
pub(super) fn link<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |store: StoreContextMut<'_, T>, (fd, offset): (Fd, u64)| {
            stream_p2(store, &fd, Some(offset), |guest, fd| {
                guest.filesystem().write_via_stream(fd, offset)
            })
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |store: StoreContextMut<'_, T>, (fd,): (Fd,)| {
            stream_p2(store, &fd, None, |guest, fd| guest.filesystem().append_via_stream(fd))
        },
    )?;
    let mut types = linker.instance("wasi:filesystem/types@0.3.0")?;
    types.func_wrap("[method]descriptor.write-via-stream", write_p3)?;
    types.func_wrap("[method]descriptor.append-via-stream", append_p3)
}

type StreamP2 = Result<Resource<DynOutputStream>, p2::ErrorCode>;

fn stream_p2<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    fd: &Fd,
    at: Option<u64>,
    open: impl FnOnce(&mut GuestCapabilities, Fd) -> FsResult<Resource<DynOutputStream>>,
) -> wasmtime::Result<(StreamP2,)> {
    let guest = store.data_mut().capabilities();
    let growth = guest.growth(fd, at);
    let opened = open(guest, Resource::new_borrow(fd.rep()));
    if let (Ok(opened), Some(growth)) = (&opened, growth) {
        let held = guest.table.get_mut(opened)?;
        // Taken out for a moment, so that it can be wrapped.
        let stream = std::mem::replace(held, Box::new(wasmtime_wasi::p2::pipe::ClosedOutputStream));
        *held = Box::new(Charged { stream, growth, waiting: None, full: false });
    }
    answer_p2(opened)
}

type Outcome = Result<(), p3::ErrorCode>;

fn write_p3<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (fd, data, offset): (Fd, StreamReader<u8>, u64),
) -> wasmtime::Result<(FutureReader<Outcome>,)> {
    let (data, full) = charged(store.as_context_mut(), &fd, data, Some(offset))?;
    let access = Access::new(store.as_context_mut(), |t: &mut T| t.capabilities().filesystem());
    let outcome = WasiFilesystem::write_via_stream(access, fd, data, offset)?;
    Ok((unless_full(store, outcome, full)?,))
}

fn append_p3<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (fd, data): (Fd, StreamReader<u8>),
) -> wasmtime::Result<(FutureReader<Outcome>,)> {
    let (data, full) = charged(store.as_context_mut(), &fd, data, None)?;
    let access = Access::new(store.as_context_mut(), |t: &mut T| t.capabilities().filesystem());
    let outcome = WasiFilesystem::append_via_stream(access, fd, data)?;
    Ok((unless_full(store, outcome, full)?,))
}

fn charged<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    fd: &Fd,
    data: StreamReader<u8>,
    at: Option<u64>,
) -> wasmtime::Result<(StreamReader<u8>, Option<Arc<AtomicBool>>)> {
    let Some(growth) = store.data_mut().capabilities().growth(fd, at) else {
        return Ok((data, None));
    };
    let full = Arc::default();
    let fee = Fee { growth, reserving: None, full: Arc::clone(&full) };
    Ok((tolled(store, data, fee)?, Some(full)))
}

/// The same result, or that there was no room.
fn unless_full<T: HasCapabilities>(
    store: StoreContextMut<'_, T>,
    outcome: FutureReader<Outcome>,
    full: Option<Arc<AtomicBool>>,
) -> wasmtime::Result<FutureReader<Outcome>> {
    let Some(full) = full else { return Ok(outcome) };
    settled(store, outcome, move |outcome| {
        if full.load(Ordering::Acquire) { Err(p3::ErrorCode::InsufficientSpace) } else { outcome }
    })
}

#[cfg(test)]
mod tests {
    use roadstead_domain::{DirectoryMode, Grantee};
    use tokio::sync::oneshot;
    use wasmtime::component::{Accessor, FutureConsumer, Source};
    use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;

    use super::*;
    use crate::{
        OfferedDirectory, Offers,
        capability::{
            files::opening::open_at_p3,
            tests::harness::{Guest, State, spec},
        },
    };

    struct Tell(Option<oneshot::Sender<Outcome>>);

    impl<T> FutureConsumer<T> for Tell {
        type Item = Outcome;

        fn poll_consume(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            store: StoreContextMut<'_, T>,
            mut source: Source<'_, Outcome>,
            _finish: bool,
        ) -> Poll<wasmtime::Result<()>> {
            let mut outcome = None;
            source.read(store, &mut outcome)?;
            self.0.take().unwrap().send(outcome.unwrap()).unwrap();
            Poll::Ready(Ok(()))
        }
    }

    /// Writes so many bytes into a new file.
    async fn write(store: &Accessor<State>, count: usize) -> wasmtime::Result<Outcome> {
        let folder = store.with(|mut store| {
            let guest = store.data_mut().capabilities();
            let found = guest.filesystem().get_directories()?;
            guest.files.preopened(&found);
            wasmtime::error::Ok(found.into_iter().next().unwrap().0)
        })?;
        let (follow, flags) = (p3::PathFlags::empty(), p3::DescriptorFlags::WRITE);
        let open = (folder, follow, "file".to_owned(), p3::OpenFlags::CREATE, flags);
        let file = open_at_p3(store, open).await?.0.unwrap();
        let (tell, told) = oneshot::channel();
        store.with(|mut store| {
            let mut store = store.as_context_mut();
            let data = StreamReader::new(&mut store, vec![7; count])?;
            let (outcome,) = write_p3(store.as_context_mut(), (file, data, 0))?;
            outcome.pipe(&mut store, Tell(Some(tell)))
        })?;
        Ok(told.await.unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn streams_of_0_3_pay_for_what_they_add() {
        for (count, kept) in [(100_000, 100_000), (100_001, 65_536)] {
            let folder = tempfile::TempDir::new().unwrap();
            let (path, to) = (folder.path().to_owned(), vec![Grantee::Everyone]);
            let mode = DirectoryMode::Rw;
            let data = OfferedDirectory { path, mode, size: None, files: None, to };
            let directories = [("data".to_owned(), data)].into();
            let offers = Offers { directories, ..Offers::default() };
            let files = "capabilities: {files: [{host: data, guest: /data, mode: rw}]}";
            let asking = spec(&format!("quota: {{disk: 100000, inodes: 1}}\n{files}"));
            let mut store = Guest::offered(&asking, &offers).unwrap().store();
            let outcome = store.run_concurrent(async |store| write(store, count).await).await;
            let outcome = outcome.unwrap().unwrap();
            assert_eq!(outcome.is_ok(), count == kept, "{outcome:?}");
            assert!(matches!(outcome, Ok(()) | Err(p3::ErrorCode::InsufficientSpace)));
            let length = folder.path().join("file").metadata().unwrap().len();
            assert_eq!(length, u64::try_from(kept).unwrap());
        }
    }
}
