//! The metrics' own port: `/metrics`, `/healthz` and `/readyz` over HTTP/1.1.
//!
//! Apart from the port of calls, so that a flood there does not blind those who watch. It asks
//! nobody who they are; few may be connected at once, none for long, and whoever comes when all
//! places are taken gets that of the oldest: connections that are held open keep no probe out.

use std::{collections::VecDeque, convert::Infallible, fmt, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

/// Connections at once: a few that scrape and probe.
const CONNECTIONS: usize = 32;
/// How long one may take, all its requests together.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the headers of a request may take.
const HEADERS: Duration = Duration::from_secs(5);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What is shown.
pub trait Monitored: Send + Sync + Clone + 'static {
    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    /// Where they do not write.
    fn metrics(&self) -> Result<String, fmt::Error>;

    /// Why it is not ready; none if it is.
    fn unready(&self) -> Option<&'static str>;
}

/// The port of metrics could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for metrics on {address}: {source}")]
pub struct MetricsBindError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound port of metrics, not yet serving.
#[derive(Debug)]
pub struct MetricsListener<M> {
    listener: TcpListener,
    address: SocketAddr,
    monitor: M,
}

impl<M: Monitored> MetricsListener<M> {
    /// Takes the address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`MetricsBindError`] if it is taken.
    pub async fn bind(address: SocketAddr, monitor: M) -> Result<Self, MetricsBindError> {
        let failed = |source| MetricsBindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, monitor })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped, with all its connections.
    pub async fn serve(self) {
        let mut connections = JoinSet::new();
        let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let tcp = match self.listener.accept().await {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    tracing::debug!(%error, "accept a connection for metrics");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            oldest_first.retain(|connection| !connection.is_finished());
            if CONNECTIONS <= oldest_first.len()
                && let Some(oldest) = oldest_first.pop_front()
            {
                oldest.abort();
            }
            let monitor = self.monitor.clone();
            oldest_first.push_back(connections.spawn(async move {
                if timeout(PATIENCE, speak(tcp, &monitor)).await.is_err() {
                    tracing::debug!("a connection for metrics took too long");
                }
            }));
        }
    }
}

async fn speak(tcp: TcpStream, monitor: &impl Monitored) {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(monitor, request.method(), request.uri().path()))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(16 << 10);
    if let Err(error) = http.serve_connection(TokioIo::new(tcp), service).await {
        tracing::debug!(%error, "serve metrics");
    }
}

fn answer(monitor: &impl Monitored, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let (status, kind, text) = match path {
        _ if method != Method::GET && method != Method::HEAD => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned())
        }
        "/metrics" => match monitor.metrics() {
            Ok(text) => (StatusCode::OK, OPENMETRICS, text),
            Err(error) => {
                tracing::error!(%error, "write metrics");
                (StatusCode::INTERNAL_SERVER_ERROR, TEXT, "see the log\n".to_owned())
            }
        },
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match monitor.unready() {
            None => (StatusCode::OK, TEXT, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        _ => (StatusCode::NOT_FOUND, TEXT, "/metrics, /healthz or /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
