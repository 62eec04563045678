//! Connections to the other hosts of a pool: one for each, made when it is needed.
//!
//! A request that a host has not seen is sent again over another connection; one that it may have
//! seen is not.

use std::{collections::HashMap, error::Error, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::Scheme};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use roadstead_domain::HostName;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::PoolTls;
use crate::{TlsError, tls::connector};

/// How long a host may take to be connected to.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a host that could not be reached is not tried again: those who wait must not queue for
/// the same failure.
const PAUSE: Duration = Duration::from_millis(500);
/// Connections that a request is sent over at most.
const ATTEMPTS: usize = 3;
/// A silent host is asked this often whether it is there, and given this long to answer.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a stream, and of all streams, that may be on their way unread.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it broke off")]
    BrokenOff,
}

type Sender = SendRequest<Full<Bytes>>;

pub(super) struct Links {
    tls: Option<TlsConnector>,
    links: parking_lot::Mutex<HashMap<HostName, Arc<Mutex<Link>>>>,
}

/// The connection to one host.
#[derive(Default)]
struct Link {
    at: Uri,
    sender: Option<Sender>,
    /// Counts connections.
    number: u64,
    /// When it could not be reached.
    failed: Option<Instant>,
}

impl Links {
    pub(super) fn new(tls: Option<&PoolTls>) -> Result<Self, TlsError> {
        Ok(Self { tls: tls.map(connector).transpose()?, links: parking_lot::Mutex::default() })
    }

    /// Sends a request to a host, and waits for the head of its answer.
    pub(super) async fn send(
        &self,
        host: &HostName,
        at: &Uri,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let link = Arc::clone(self.links.lock().entry(host.clone()).or_default());
        let mut used = None;
        for _ in 0..ATTEMPTS {
            let (number, mut sender) = self.sender(&link, at, used).await?;
            match sender.try_send_request(request()).await {
                Ok(response) => return Ok(response),
                Err(error) => {
                    let error = error.into_error();
                    tracing::debug!(%host, %error, "forward a call");
                    if !unseen(&error) {
                        return Err(Unanswered::BrokenOff);
                    }
                }
            }
            used = Some(number);
        }
        Err(Unanswered::Unreachable)
    }

    /// An open connection other than `used`, and its number.
    async fn sender(
        &self,
        link: &Mutex<Link>,
        at: &Uri,
        used: Option<u64>,
    ) -> Result<(u64, Sender), Unanswered> {
        let mut link = link.lock().await;
        if link.at != *at {
            *link = Link { at: at.clone(), number: link.number, ..Link::default() };
        }
        if let Some(sender) = &link.sender
            && !sender.is_closed()
            && used != Some(link.number)
        {
            return Ok((link.number, sender.clone()));
        }
        if link.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            return Err(Unanswered::Unreachable);
        }
        link.sender = None;
        let connected = timeout(PATIENCE, self.connect(at)).await;
        let connected =
            connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        let sender = connected.map_err(|error| {
            tracing::warn!(%at, error = &*error, "connect to a host of the pool");
            link.failed = Some(Instant::now());
            Unanswered::Unreachable
        })?;
        link.number += 1;
        link.failed = None;
        link.sender = Some(sender.clone());
        Ok((link.number, sender))
    }

    async fn connect(&self, at: &Uri) -> Result<Sender, Box<dyn Error + Send + Sync>> {
        let secure = at.scheme() == Some(&Scheme::HTTPS);
        let host = at.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = at.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = TcpStream::connect((host, port)).await?;
        tcp.set_nodelay(true)?;
        if !secure {
            return speak(tcp).await;
        }
        let tls = self.tls.as_ref().ok_or("no authority is set to know it by")?;
        speak(tls.connect(ServerName::try_from(host.to_owned())?, tcp).await?).await
    }
}

async fn speak<S>(stream: S) -> Result<Sender, Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    let (sender, connection) = http.handshake(TokioIo::new(stream)).await?;
    // Ends with its last sender and its last answer.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a host of the pool");
        }
    });
    Ok(sender)
}

/// Whether the host has surely not seen the request.
fn unseen(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    let told_to_go = |cause: &h2::Error| {
        cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
    };
    error.is_canceled() || cause.is_some_and(told_to_go)
}
