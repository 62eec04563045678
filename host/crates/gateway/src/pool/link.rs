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
    net::{TcpStream, lookup_host},
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("there is no host of its name")]
    Absent,
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it broke off")]
    BrokenOff,
    #[error("it cannot be asked")]
    Unasked,
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
    /// When it could not be reached, and why.
    failed: Option<(Instant, Unanswered)>,
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
        if let Some((when, why)) = link.failed
            && when.elapsed() < PAUSE
        {
            return Err(why);
        }
        link.sender = None;
        let connected = timeout(PATIENCE, self.connect(at)).await;
        let connected =
            connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        let sender = connected.map_err(|error| {
            let why = if names_nobody(&*error) {
                tracing::debug!(%at, error = &*error, "connect to a host of the pool");
                Unanswered::Absent
            } else {
                tracing::warn!(%at, error = &*error, "connect to a host of the pool");
                Unanswered::Unreachable
            };
            link.failed = Some((Instant::now(), why));
            why
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
        let found: Vec<_> = lookup_host((host, port)).await.map_err(Unfound)?.collect();
        let tcp = TcpStream::connect(&found[..]).await?;
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

/// A name that was not resolved.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Unfound(io::Error);

/// Whether the name service answered that there is nobody of the name: a host that is not there
/// now. A name service that fails says nothing of the host.
fn names_nobody(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    // Of the resolver's codes, the standard library keeps but the text: glibc's, then musl's.
    const NOBODY: [&str; 4] = [
        "Name or service not known",
        "No address associated with",
        "Name does not resolve",
        "Name has no usable address",
    ];
    error.downcast_ref::<Unfound>().is_some_and(|Unfound(error)| {
        let text = error.to_string();
        NOBODY.iter().any(|nobody| text.contains(nobody))
    })
}

/// Whether the host has surely not seen the request.
fn unseen(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    let told_to_go = |cause: &h2::Error| {
        cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
    };
    error.is_canceled() || cause.is_some_and(told_to_go)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_service_that_fails_does_not_make_hosts_absent() {
        let failed = |text: &str| names_nobody(&Unfound(io::Error::other(text.to_owned())));
        let lookup = "failed to lookup address information: ";
        assert!(failed(&format!("{lookup}Name or service not known")));
        assert!(failed(&format!("{lookup}No address associated with hostname")));
        assert!(!failed(&format!("{lookup}Temporary failure in name resolution")));
        let refused = io::Error::other("Name or service not known");
        assert!(!names_nobody(&refused));
    }
}
