//! 0.3's sockets, driven by the linker's own functions.

use std::net::SocketAddr;

use roadstead_domain::LimitKind;
use wasmtime::component::{Accessor, Source, StreamConsumer, StreamResult};
use wasmtime_wasi::p3::bindings::sockets::types::HostTcpSocket;

use super::*;
use crate::capability::tests::{
    harness::{Guest, State, tcp_spec},
    servers::Echo,
};

/// Collects what a stream brings, until it has so much.
struct Collect {
    left: usize,
    done: Option<tokio::sync::oneshot::Sender<()>>,
}

impl<T> StreamConsumer<T> for Collect {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, T>,
        source: Source<'_, u8>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = source.as_direct(store);
        let count = source.remaining().len();
        source.mark_read(count);
        self.left = self.left.saturating_sub(count);
        if self.left > 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        self.done.take().unwrap().send(()).unwrap();
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

async fn connect(store: &Accessor<State>, address: SocketAddr) -> wasmtime::Result<Option<Socket>> {
    let created = store.with(|mut store| create_p3(store.as_context_mut(), (FamilyP3::Ipv4,)))?.0;
    let Ok(socket) = created else { return Ok(None) };
    let borrowed = Resource::new_borrow(socket.rep());
    let sockets = store.with_getter::<WasiSockets>(|state| state.capabilities().sockets());
    WasiSockets::connect(&sockets, borrowed, address.into()).await?;
    Ok(Some(socket))
}

/// Sends `count` bytes, drops the socket, and reads them back from the echo.
async fn echo(store: &Accessor<State>, address: SocketAddr, count: usize) -> wasmtime::Result<()> {
    let socket = connect(store, address).await?.unwrap();
    let (done, finished) = tokio::sync::oneshot::channel();
    store.with(|mut store| -> wasmtime::Result<()> {
        let mut store = store.as_context_mut();
        let data = StreamReader::new(&mut store, vec![7; count])?;
        let borrowed = || Resource::new_borrow(socket.rep());
        let mut sent = send(store.as_context_mut(), (borrowed(), data))?.0;
        let (back, mut outcome) = receive(store.as_context_mut(), (borrowed(),))?.0;
        sent.close(&mut store)?;
        outcome.close(&mut store)?;
        back.pipe(&mut store, Collect { left: count, done: Some(done) })
    })?;
    let place = |store: &Accessor<State>| {
        store.with(|mut store| {
            let guest = store.data_mut().capabilities();
            guest.network.tcp.sweep(&guest.table);
            guest.network.admit().is_some()
        })
    };
    store.with(|mut store| {
        HostTcpSocket::drop(&mut store.data_mut().capabilities().sockets(), socket)
    })?;
    assert!(!place(store), "the streams still hold the place");
    finished.await.unwrap();
    while !place(store) {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_pay_and_hold_their_places() {
    let server = Echo::start().await;
    let guest = Guest::new(&tcp_spec(&server.address.to_string(), "sockets: 1, egress: 100000"));
    let mut store = guest.store();
    store
        .run_concurrent(async |store| echo(store, server.address, 100_000).await)
        .await
        .unwrap()
        .unwrap();
    let mut store = guest.store();
    let sent = store.run_concurrent(async |store| echo(store, server.address, 100_001).await).await;
    let error = match sent {
        Ok(Ok(())) => panic!("one byte too many went out"),
        Ok(Err(error)) | Err(error) => error,
    };
    let limit = store.data_mut().capabilities().limit_of(&error).unwrap();
    assert_eq!(limit.limit, LimitKind::Egress);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_limited_and_unlisted_addresses_refused() {
    let (server, other) = (Echo::start().await, Echo::start().await);
    let guest = Guest::new(&tcp_spec(&server.address.to_string(), "sockets: 1"));
    let mut store = guest.store();
    store
        .run_concurrent(async |store| {
            let first = connect(store, server.address).await.unwrap().unwrap();
            assert!(connect(store, server.address).await.unwrap().is_none());
            store.with(|mut store| {
                HostTcpSocket::drop(&mut store.data_mut().capabilities().sockets(), first)
            })?;
            assert!(connect(store, other.address).await.is_err());
            wasmtime::error::Ok(())
        })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(other.connections(), 0);
}
