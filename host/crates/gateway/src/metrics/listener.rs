//! The metrics' own port: `/metrics`, `/healthz` and `/readyz` over HTTP/1.1.
//!
//! Apart from the port of calls, so that a flood there does not blind those who watch. It asks
//! nobody who they are; few may be connected at once, and none for long.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Monitor;

/// Connections at once: a few that scrape and probe.
const CONNECTIONS: usize = 32;
/// How long one may take, all its requests together.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the headers of a request may take.
const HEADERS: Duration = Duration::from_secs(5);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The port of metrics could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for metrics on {address}: {source}")]
pub struct MetricsBindError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound port of metrics, not yet serving.
pub struct MetricsListener {
    listener: TcpListener,
    address: SocketAddr,
    monitor: Monitor,
}

impl MetricsListener {
    /// Takes the address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`MetricsBindError`] if it is taken.
    pub async fn bind(address: SocketAddr, monitor: Monitor) -> Result<Self, MetricsBindError> {
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
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
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
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let monitor = self.monitor.clone();
            connections.spawn(async move {
                let _place = place;
                if timeout(PATIENCE, speak(tcp, &monitor)).await.is_err() {
                    tracing::debug!("a connection for metrics took too long");
                }
            });
        }
    }
}

async fn speak(tcp: TcpStream, monitor: &Monitor) {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(monitor, request.method(), request.uri().path()))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(16 << 10);
    if let Err(error) = http.serve_connection(TokioIo::new(tcp), service).await {
        tracing::debug!(%error, "serve metrics");
    }
}

fn answer(monitor: &Monitor, method: &Method, path: &str) -> Response<Full<Bytes>> {
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
        "/readyz" if monitor.ready() => (StatusCode::OK, TEXT, "ready\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, TEXT, "/metrics, /healthz or /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
