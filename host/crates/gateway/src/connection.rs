//! One connection: TLS, the protocol it speaks, its requests, its end.

use std::{
    convert::Infallible, error::Error, future::pending, panic::AssertUnwindSafe, sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use http::{HeaderValue, Request, Version, header::CONNECTION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use roadstead_auth::Peer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Counters, GatewayConfig,
    age::jittered,
    app::{App, random},
    batched::Batched,
    counters::Ended,
    hurry::{Hurried, Taken},
    linger::Lingering,
    peers::Place,
    route,
    session::Session,
    stall::Unstalled,
};

/// Bytes of a stream, and of all streams of a connection, that may be on their way unread.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes of one HTTP/2 frame: large messages come in fewer pieces than with the default of 16 KiB.
const FRAME: u32 = 64 << 10;
/// Bytes of a stream's response that wait for the client's window, beside the budget's count.
const SEND_BUFFER: usize = 256 << 10;
/// Streams that a client resets before the host has looked at them ("rapid reset"): as many as
/// come at once are work that nobody paid for. More end the connection.
const UNSEEN_RESETS: usize = 20;
/// Streams that break the protocol, or go beyond those that are allowed: a client that has read
/// the settings has none. More end the connection.
const BROKEN_STREAMS: usize = 1024;
/// Bytes that HTTP/1.1 may buffer, and headers that a request may have.
const BUFFER: usize = 64 << 10;
const HEADER_LINES: usize = 100;
/// A silent HTTP/2 peer is asked this often whether it is there, and given this long to answer.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// How long a connection that came last has to say something before it must go.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// The ends of service: not ready, no new calls, no streams, and no calls at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    pub unready: CancellationToken,
    pub drain: CancellationToken,
    pub streams: CancellationToken,
    pub abort: CancellationToken,
}

/// What all connections share.
pub(crate) struct Connections {
    app: Arc<App>,
    tls: Option<TlsAcceptor>,
    tasks: TaskTracker,
    streams: u32,
    headers: u32,
    patience: Duration,
    write_timeout: Duration,
    idle_timeout: Duration,
    age: Option<Duration>,
    grace: Duration,
}

/// Spawns a connection's HTTP/2 tasks, one for each stream, where they are counted and do not
/// stall.
#[derive(Debug, Clone)]
struct Tracked {
    tasks: TaskTracker,
    taken: Taken,
    write_timeout: Duration,
    counters: Arc<Counters>,
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        let task = Unstalled::new(task, self.write_timeout, self.taken.clone());
        self.tasks.spawn(counted(Arc::clone(&self.counters), task));
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
            headers: u32::try_from(config.headers.0).unwrap_or(u32::MAX),
            patience: config.receive_timeout,
            write_timeout: config.write_timeout,
            idle_timeout: config.idle_timeout,
            age: config.connection_age,
            grace: config.connection_grace,
        }
    }

    /// How one connection speaks HTTP. Every bound is named here, those included that are also
    /// the library's defaults. It has two more that cannot be set: frames of CONTINUATION, a few
    /// more than the headers need, and empty or tiny frames of DATA. The frames that it does not
    /// count are the business of [`roadstead_manners`].
    fn http(&self, taken: Taken) -> auto::Builder<Tracked> {
        let (tasks, write_timeout) = (self.tasks.clone(), self.write_timeout);
        let counters = Arc::clone(&self.app.counters);
        let mut http = auto::Builder::new(Tracked { tasks, taken, write_timeout, counters });
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience)
            .max_headers(HEADER_LINES)
            .max_buf_size(BUFFER.max(self.headers as usize));
        http.http2()
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(self.streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_header_list_size(self.headers)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(UNSEEN_RESETS)
            .max_local_error_reset_streams(BROKEN_STREAMS)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE);
        http
    }

    /// Serves one connection until it or the host ends.
    pub(crate) async fn serve(self: Arc<Self>, tcp: TcpStream, place: Place, ends: Ends) {
        let _open = Connected::new(&self.app.counters);
        if let Some(why) = self.until_end(tcp, place, ends).await {
            self.app.counters.end(why);
        }
    }

    /// Says why, where it was the host that ended it.
    async fn until_end(&self, tcp: TcpStream, place: Place, ends: Ends) -> Option<Ended> {
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "set TCP_NODELAY");
        }
        let tcp = Lingering::new(tcp);
        let Some(acceptor) = &self.tls else { return self.speak(tcp, place, None, ends).await };
        let shaken = tokio::select! {
            shaken = timeout(self.patience, acceptor.accept(tcp)) => shaken,
            () = last_words(&ends.drain) => return None,
        };
        match shaken {
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates();
                let peer = chain.and_then(|chain| self.app.auth.peer(chain));
                return self.speak(stream, place, peer, ends).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "shake hands over TLS"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
        Some(Ended::Handshake)
    }

    async fn speak<S>(
        &self,
        stream: S,
        place: Place,
        peer: Option<Peer>,
        ends: Ends,
    ) -> Option<Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let session = Session::new(Arc::clone(&self.app), place, peer);
        let of_requests = Arc::clone(&session);
        // Boxed: what hyper and tokio make of it is moved about several times for each request.
        let service = service_fn(move |request: Request<Incoming>| {
            let session = Arc::clone(&of_requests);
            let http1 = request.version() < Version::HTTP_2;
            Box::pin(route::answer(session.asked(), request).map(move |mut response| {
                if http1 && session.leaves() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }))
        });
        let taken = Taken::default();
        let http = self.http(taken.clone());
        let patience = (self.patience, self.write_timeout);
        let stream = Hurried::new(stream, taken.clone(), patience, self.streams);
        let of_connection = Arc::clone(&session);
        let io = TokioIo::new(Batched::new(stream, move || 1 < of_connection.open_requests()));
        let connection = http.serve_connection(io, service);
        tokio::pin!(connection);
        let leaving = tokio::select! {
            ended = connection.as_mut() => return why(ended, &taken, None),
            () = self.idle(&session) => Some(Ended::Idle),
            () = self.aged() => Some(Ended::Age),
            () = ends.drain.cancelled() => None,
        };
        session.leave();
        tokio::select! {
            ended = connection.as_mut() => return why(ended, &taken, leaving),
            () = self.farewell(leaving, &session, &taken, &ends.drain) => {}
        }
        connection.as_mut().graceful_shutdown();
        let ended = tokio::select! {
            ended = connection => ended,
            () = self.over(leaving, &session) => Ok(()),
            () = ends.abort.cancelled() => Ok(()),
        };
        why(ended, &taken, leaving)
    }

    /// Until the connection may be told to go.
    async fn farewell(
        &self,
        leaving: Option<Ended>,
        session: &Session,
        taken: &Taken,
        drain: &CancellationToken,
    ) {
        // Told to go before its first words, it would be closed without an answer to them.
        let spoken = async {
            while taken.http2().is_none() {
                sleep(FIRST_WORDS / 50).await;
            }
        };
        if leaving != Some(Ended::Idle) {
            tokio::select! {
                () = spoken => {}
                () = last_words(drain) => {}
            }
        }
        // Told to go, it would close at once where nothing is asked, while a request may be on its
        // way. Its next answer says that it is the last.
        if (leaving, taken.http2()) == (Some(Ended::Age), Some(false)) {
            tokio::select! {
                () = self.idle(session) => {}
                () = drain.cancelled() => {}
            }
        }
    }

    /// Until a connection that was told to go, and stays, must not.
    async fn over(&self, leaving: Option<Ended>, session: &Session) {
        if leaving == Some(Ended::Age) {
            sleep(self.grace).await;
            session.over.cancel();
        }
        self.idle(session).await;
    }

    /// Until the connection is as old as it may get.
    async fn aged(&self) {
        match self.age {
            Some(age) => sleep(jittered(age, random())).await,
            None => pending().await,
        }
    }

    /// Until nothing was asked, and nothing was open, for the idle timeout.
    async fn idle(&self, session: &Session) {
        loop {
            let before = session.requests();
            sleep(self.idle_timeout).await;
            if session.requests() == before && session.open_requests() == 0 {
                return;
            }
        }
    }
}

/// Until those that came last have said what they want.
async fn last_words(drain: &CancellationToken) {
    drain.cancelled().await;
    sleep(FIRST_WORDS).await;
}

/// Why the host ended a connection, if it did; `leaving` if it was told to go.
fn why(
    ended: Result<(), Box<dyn Error + Send + Sync>>,
    taken: &Taken,
    leaving: Option<Ended>,
) -> Option<Ended> {
    let Err(error) = ended else { return leaving };
    tracing::debug!(error = &*error, "serve a connection");
    let flood = taken.flooded() || calmed(&*error);
    Some(if flood { Ended::Flood } else { Ended::Broken })
}

/// Counts a panic of what is no request any more, or not yet; the panic hook has logged its text.
pub(crate) async fn counted<T>(counters: Arc<Counters>, work: impl Future<Output = T>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        counters.panic();
    }
}

/// A connection, counted for as long as it is open.
struct Connected<'a>(&'a Counters);

impl<'a> Connected<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.opened();
        Self(counters)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Whether the HTTP library told the peer to calm down.
fn calmed(error: &(dyn Error + 'static)) -> bool {
    let reason = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason);
    reason == Some(h2::Reason::ENHANCE_YOUR_CALM) || error.source().is_some_and(calmed)
}
