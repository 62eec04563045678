//! One connection: TLS, the protocol it speaks, its requests, its end.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::FutureExt as _;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    GatewayConfig,
    app::App,
    hurry::{Hurried, Taken},
    route,
    session::Session,
    stall::Unstalled,
};

/// Bytes of a stream, and of all streams of a connection, that may be on their way unread.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes of one HTTP/2 frame: large messages come in fewer pieces than with the default of 16 KiB.
const FRAME: u32 = 64 << 10;
/// Bytes of a request's headers.
const HEADERS: u32 = 16 << 10;
/// Bytes that HTTP/1.1 may buffer.
const BUFFER: usize = 64 << 10;
/// A silent HTTP/2 peer is asked this often whether it is there, and given this long to answer.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// The two ends of service: no new calls, and no calls at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    pub drain: CancellationToken,
    pub abort: CancellationToken,
}

/// What all connections share.
pub(crate) struct Connections {
    app: Arc<App>,
    tls: Option<TlsAcceptor>,
    tasks: TaskTracker,
    streams: u32,
    patience: Duration,
    write_timeout: Duration,
    idle_timeout: Duration,
}

/// Spawns a connection's HTTP/2 tasks, one for each stream, where they are counted and do not
/// stall.
#[derive(Debug, Clone)]
struct Tracked {
    tasks: TaskTracker,
    taken: Taken,
    write_timeout: Duration,
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.tasks.spawn(Unstalled::new(task, self.write_timeout, self.taken.clone()));
    }
}

impl Connections {
    pub(crate) fn new(
        app: Arc<App>,
        tls: Option<TlsAcceptor>,
        config: &GatewayConfig,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            app,
            tls,
            tasks,
            streams: config.streams,
            patience: config.receive_timeout,
            write_timeout: config.write_timeout,
            idle_timeout: config.idle_timeout,
        }
    }

    /// How one connection speaks HTTP.
    fn http(&self, taken: Taken) -> auto::Builder<Tracked> {
        let (tasks, write_timeout) = (self.tasks.clone(), self.write_timeout);
        let mut http = auto::Builder::new(Tracked { tasks, taken, write_timeout });
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience)
            .max_buf_size(BUFFER);
        http.http2()
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(self.streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_header_list_size(HEADERS)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE);
        http
    }

    /// Serves one connection until it or the host ends.
    pub(crate) async fn serve(self: Arc<Self>, tcp: TcpStream, ends: Ends) {
        self.app.counters.connection();
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "set TCP_NODELAY");
        }
        let Some(acceptor) = &self.tls else { return self.speak(tcp, ends).await };
        let shaken = tokio::select! {
            shaken = timeout(self.patience, acceptor.accept(tcp)) => shaken,
            () = ends.drain.cancelled() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.speak(stream, ends).await,
            Ok(Err(error)) => tracing::debug!(%error, "shake hands over TLS"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn speak<S>(&self, stream: S, ends: Ends)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let session = Session::new(Arc::clone(&self.app));
        let of_requests = Arc::clone(&session);
        let service = service_fn(move |request| {
            route::answer(Arc::clone(&of_requests), request).map(Ok::<_, Infallible>)
        });
        let taken = Taken::default();
        let http = self.http(taken.clone());
        let io = TokioIo::new(Hurried::new(stream, taken, self.patience, self.write_timeout));
        let connection = http.serve_connection(io, service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.idle(&session) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.idle(&session) => Ok(()),
                    () = ends.abort.cancelled() => Ok(()),
                }
            }
            () = ends.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = ends.abort.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = &*error, "serve a connection");
        }
    }

    /// Until nothing was asked, and nothing was open, for the idle timeout.
    async fn idle(&self, session: &Arc<Session>) {
        /// Here, and in the connection's service.
        const AT_REST: usize = 2;
        loop {
            let before = session.requests();
            tokio::time::sleep(self.idle_timeout).await;
            if session.requests() == before && Arc::strong_count(session) == AT_REST {
                return;
            }
        }
    }
}
