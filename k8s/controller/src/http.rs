//! The metrics' own port: `/metrics`, `/healthz` and `/readyz` over HTTP/1.1. It asks nobody who
//! they are; few may be connected at once, and none for long.

use std::{convert::Infallible, sync::Arc, time::Duration};

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

use crate::{
    lease::{Leadership, Role},
    metrics::Metrics,
    reconcile::Health,
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
#[derive(Clone)]
pub(crate) struct Monitor {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) leadership: Leadership,
}

impl Monitor {
    /// Why it is not ready; none if it is.
    fn unready(&self) -> Option<&'static str> {
        if self.leadership.role() == Role::Unknown {
            return Some("the lease was not seen yet\n");
        }
        if !self.health.is_current() {
            return Some("the watches are not up to date\n");
        }
        None
    }
}

/// Serves until it is dropped, with all its connections.
pub(crate) async fn serve(listener: TcpListener, monitor: Monitor) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let tcp = match listener.accept().await {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                tracing::debug!(%error, "accept a connection for metrics");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let monitor = monitor.clone();
        connections.spawn(async move {
            let _place = place;
            if timeout(PATIENCE, speak(tcp, &monitor)).await.is_err() {
                tracing::debug!("a connection for metrics took too long");
            }
        });
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
        "/metrics" => match monitor.metrics.text() {
            Ok(text) => (StatusCode::OK, OPENMETRICS, text),
            Err(error) => {
                tracing::error!(%error, "write metrics");
                (StatusCode::INTERNAL_SERVER_ERROR, TEXT, "see the log\n".to_owned())
            }
        },
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match monitor.unready() {
            None => (StatusCode::OK, TEXT, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, why.to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, TEXT, "/metrics, /healthz or /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
