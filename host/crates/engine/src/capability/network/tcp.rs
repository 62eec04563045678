//! TCP sockets: how many an instance has, and what it sends through them.
//!
//! wasmtime's sockets do the work; the functions that make sockets and hand out their streams are
//! replaced by ones that count first.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{Access, FutureReader, Linker, Resource, ResourceTable, StreamReader},
};
use wasmtime_wasi::{
    p2::{
        self, DynInputStream, DynOutputStream, OutputStream, Pollable, StreamError, StreamResult,
        bindings::sockets::{
            network::{ErrorCode as ErrorP2, IpAddressFamily as FamilyP2},
            tcp::HostTcpSocket as _,
            tcp_create_socket::Host as _,
        },
    },
    p3::bindings::sockets::types::{
        ErrorCode as ErrorP3, HostTcpSocket as _, HostTcpSocketWithStore as _,
        IpAddressFamily as FamilyP3,
    },
    sockets::{self, WasiSockets},
};

use crate::capability::{
    GuestCapabilities, HasCapabilities,
    limit::{Account, Place},
    shares::Egress,
    streams::{Toll, settled, tolled},
};

/// The sockets of one instance, by their place in its table of handles.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    p2: HashMap<u32, Place>,
    /// Streams hold the place too.
    p3: HashMap<u32, Arc<Place>>,
}

impl Sockets {
    /// Gives back the places of sockets that are gone.
    fn sweep(&mut self, table: &ResourceTable) {
        self.p2.retain(|rep, _| table.get(&Resource::<p2::TcpSocket>::new_borrow(*rep)).is_ok());
        self.p3
            .retain(|rep, _| table.get(&Resource::<sockets::TcpSocket>::new_borrow(*rep)).is_ok());
    }
}

/// An output stream that pays for what it sends.
struct Metered {
    stream: DynOutputStream,
    account: Arc<Account>,
    egress: Egress,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Metered {
    async fn ready(&mut self) {
        self.egress.turn().await;
        self.stream.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Metered {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.account.send(bytes.len()).map_err(|limit| StreamError::Trap(limit.into()))?;
        self.egress.sent(bytes.len());
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let room = self.stream.check_write()?;
        Ok(if self.egress.debt().is_some() { 0 } else { room })
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

/// Puts sockets of both versions behind their limits. `linker` must allow shadowing.
pub(crate) fn limit_sockets<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker
        .instance("wasi:sockets/tcp-create-socket@0.2.12")?
        .func_wrap("create-tcp-socket", create_p2)?;
    linker
        .instance("wasi:sockets/tcp@0.2.12")?
        .func_wrap("[method]tcp-socket.finish-connect", finish_connect)?;
    let mut p3 = linker.instance("wasi:sockets/types@0.3.0")?;
    p3.func_wrap("[static]tcp-socket.create", create_p3)?;
    p3.func_wrap("[method]tcp-socket.send", send)?;
    p3.func_wrap("[method]tcp-socket.receive", receive)
}

fn create_p2<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (family,): (FamilyP2,),
) -> wasmtime::Result<(Result<Resource<p2::TcpSocket>, ErrorP2>,)> {
    let guest = store.data_mut().capabilities();
    guest.network.tcp.sweep(&guest.table);
    let Some(place) = guest.network.admit() else {
        return Ok((Err(ErrorP2::NewSocketLimit),));
    };
    match guest.sockets().create_tcp_socket(family) {
        Ok(socket) => {
            guest.network.tcp.p2.insert(socket.rep(), place);
            Ok((Ok(socket),))
        }
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

fn finish_connect<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Resource<p2::TcpSocket>,),
) -> wasmtime::Result<(Result<Streams, ErrorP2>,)> {
    let guest = store.data_mut().capabilities();
    match guest.sockets().finish_connect(socket) {
        Ok((input, output)) => {
            let account = Arc::clone(&guest.account);
            let egress = guest.network.egress.clone();
            let held = guest.table.get_mut(&output)?;
            // Taken out for a moment, so that it can be wrapped.
            let stream = std::mem::replace(held, Box::new(Nowhere));
            *held = Box::new(Metered { stream, account, egress });
            Ok((Ok((input, output)),))
        }
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn create_p3<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (family,): (FamilyP3,),
) -> wasmtime::Result<(Result<Resource<sockets::TcpSocket>, ErrorP3>,)> {
    let guest = store.data_mut().capabilities();
    guest.network.tcp.sweep(&guest.table);
    let Some(place) = guest.network.admit() else {
        return Ok((Err(ErrorP3::Other(Some("new-socket-limit".to_owned()))),));
    };
    match guest.sockets().create(family) {
        Ok(socket) => {
            guest.network.tcp.p3.insert(socket.rep(), Arc::new(place));
            Ok((Ok(socket),))
        }
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

type Outcome = Result<(), ErrorP3>;
type Socket = Resource<sockets::TcpSocket>;

fn send<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (socket, data): (Socket, StreamReader<u8>),
) -> wasmtime::Result<(FutureReader<Outcome>,)> {
    let (fee, place) = store.data_mut().capabilities().streaming(&socket);
    let data = tolled(store.as_context_mut(), data, fee)?;
    let access = Access::new(store.as_context_mut(), |t: &mut T| t.capabilities().sockets());
    let outcome = WasiSockets::send(access, socket, data)?;
    Ok((held(store, outcome, place)?,))
}

fn receive<T: HasCapabilities>(
    mut store: StoreContextMut<'_, T>,
    (socket,): (Socket,),
) -> wasmtime::Result<((StreamReader<u8>, FutureReader<Outcome>),)> {
    let (_, place) = store.data_mut().capabilities().streaming(&socket);
    let access = Access::new(store.as_context_mut(), |t: &mut T| t.capabilities().sockets());
    let (data, outcome) = WasiSockets::receive(access, socket)?;
    Ok(((data, held(store, outcome, place)?),))
}

impl GuestCapabilities {
    fn streaming(&self, socket: &Socket) -> (Fee, Option<Arc<Place>>) {
        let (account, egress) = (Arc::clone(&self.account), self.network.egress.clone());
        let place = self.network.tcp.p3.get(&socket.rep()).cloned();
        (Fee { account, egress, waiting: None }, place)
    }
}

/// Pays for bytes that a socket of 0.3 sends.
struct Fee {
    account: Arc<Account>,
    egress: Egress,
    /// Until the module may send again.
    waiting: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Toll for Fee {
    fn poll_pay(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
    ) -> Poll<wasmtime::Result<bool>> {
        while let Some(paid) = self.egress.debt() {
            let waiting =
                self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(paid)));
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        self.account.send(bytes)?;
        self.egress.sent(bytes);
        Poll::Ready(Ok(true))
    }
}

/// The same result; the place is held until it is there.
fn held<T: Send + 'static>(
    store: StoreContextMut<'_, T>,
    outcome: FutureReader<Outcome>,
    place: Option<Arc<Place>>,
) -> wasmtime::Result<FutureReader<Outcome>> {
    settled(store, outcome, move |outcome| {
        drop(place);
        outcome
    })
}

/// A stream that leads nowhere.
struct Nowhere;

#[wasmtime_wasi::async_trait]
impl Pollable for Nowhere {
    async fn ready(&mut self) {}
}

impl OutputStream for Nowhere {
    fn write(&mut self, _: Bytes) -> StreamResult<()> {
        Err(StreamError::Closed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Err(StreamError::Closed)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Err(StreamError::Closed)
    }
}

#[cfg(test)]
mod tests;
