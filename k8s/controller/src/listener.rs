//! The port of the hosts: connections are bounded, and few wait for their handshake at once.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::{sync::Service, tls::Tls};

/// Handshakes at once.
const HANDSHAKES: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it is there.
const ALIVE: Duration = Duration::from_secs(20);

/// Serves hosts until it is told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<Tls>,
    service: Service,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (to, incoming) = mpsc::channel(HANDSHAKES);
    let accepting = accept(listener, Arc::clone(&tls), to, stop.clone());
    let served = Server::builder()
        .http2_keepalive_interval(Some(ALIVE))
        .http2_keepalive_timeout(Some(ALIVE))
        // A host has one stream; the second one is of its next try.
        .max_concurrent_streams(4)
        .http2_max_header_list_size(16 << 10)
        .add_service(service.server())
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), stop.cancelled());
    tokio::select! {
        served = served => served,
        () = accepting => Ok(()),
        () = tls.follow() => Ok(()),
    }
}

type Incoming = io::Result<TlsStream<TcpStream>>;

async fn accept(
    listener: TcpListener,
    tls: Arc<Tls>,
    to: mpsc::Sender<Incoming>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (acceptor, to) = (TlsAcceptor::from(tls.config()), to.clone());
        tokio::spawn(async move {
            if let Some(stream) = handshake(acceptor, tcp, peer).await {
                drop(to.send(Ok(stream)).await);
            }
            drop(place);
        });
    }
    // What is being served ends by its own shutdown.
    std::future::pending::<()>().await;
}

async fn handshake(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    peer: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    drop(tcp.set_nodelay(true));
    match timeout(PATIENCE, acceptor.accept(tcp)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a connection ends with its handshake");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "a handshake took too long");
            None
        }
    }
}
