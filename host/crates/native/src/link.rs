//! The one connection to a server: HTTP/2 over its Unix socket, or over TLS to its pod.

use std::{error::Error as _, io, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::timeout,
};

use crate::{
    grpc::{Broken, Code, Messages, Outgoing, Status},
    mannered::{Account, Mannered},
    socket::{Directory, NoWay},
};

/// Bytes of a stream, and of all streams, that may be on their way unread.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;
const FRAME: u32 = 256 << 10;
/// What waits to be sent of one call.
const SEND_BUFFER: usize = 1 << 20;
/// Bytes of the headers and of the trailers of one answer.
const HEADERS: u32 = 16 << 10;
const CONNECT: Duration = Duration::from_secs(2);

/// What is said of a server that [floods](Link::flooded).
pub(crate) const FLOODED: &str = "it sent more control frames than its calls explain";

/// Sends calls to one server.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    sender: SendRequest<Outgoing>,
    /// Whether the connection takes no more calls.
    over: watch::Sender<bool>,
    account: Account,
}

/// Why a question of the host's own was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("it did not answer in time")]
    Late,
    #[error("{0}")]
    Status(String),
    /// It has no such method.
    #[error("it has no such method")]
    Unimplemented,
    #[error("{0}")]
    Broken(String),
}

impl Link {
    /// To the server of which `first` is the first process, by the socket in its directory.
    pub(crate) async fn connect(home: &Directory, first: i32) -> Result<Self, NoWay> {
        let connecting = async { Ok(Self::over(home.connect(first).await?).await?) };
        let late = |_| NoWay::Nobody(io::ErrorKind::TimedOut.into());
        timeout(CONNECT, connecting).await.map_err(late)?
    }

    /// Speaks HTTP/2 over a connection that is there.
    pub(crate) async fn over<S>(stream: S) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut http = Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEADERS);
        let account = Account::default();
        let stream = Mannered::new(stream, account.clone());
        let handshake = http.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        let over = watch::Sender::new(false);
        let ended = over.clone();
        // Ends with its last sender and its last answer.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a server");
            }
            ended.send_replace(true);
        });
        let ready = std::future::poll_fn(|cx| sender.poll_ready(cx)).await;
        let link = Self { sender, over, account };
        match ready {
            // Whoever has the link is told.
            Err(error) if !link.flooded() => Err(io::Error::other(error)),
            _ => Ok(link),
        }
    }

    /// Whether the connection was closed for the server's [manners](roadstead_manners).
    pub(crate) fn flooded(&self) -> bool {
        self.account.flooded()
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.over.borrow() || self.sender.is_closed()
    }

    /// Waits until the connection takes no more calls.
    pub(crate) async fn closed(&self) {
        self.over.subscribe().wait_for(|over| *over).await.ok();
    }

    /// What a call broke off with tells whether the connection ended, too. That is known at once, so
    /// that the call is not sent by it again.
    pub(crate) fn heed(&self, error: &hyper::Error) {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
        let ended = cause.is_some_and(|cause| cause.is_go_away() || cause.is_io());
        if ended || error.is_canceled() || error.is_closed() {
            self.over.send_replace(true);
        }
    }

    pub(crate) async fn send(
        &self,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        request.body_mut().by(&self.account);
        let mut sender = self.sender.clone();
        sender.try_send_request(request).await.map_err(|error| {
            let error = error.into_error();
            self.heed(&error);
            error
        })
    }

    /// Asks one question of the host's own, and waits for one answer.
    pub(crate) async fn ask<Q: Message, A: Message + Default>(
        &self,
        path: &'static str,
        question: &Q,
        within: Duration,
        most: usize,
    ) -> Result<A, Unanswered> {
        let asked = self.ask_raw(path, question.encode_to_vec().into(), within, most);
        let answer = timeout(within, asked).await.map_err(|_| Unanswered::Late)??;
        A::decode(answer).map_err(|error| Unanswered::Broken(error.to_string()))
    }

    async fn ask_raw(
        &self,
        path: &'static str,
        question: Bytes,
        within: Duration,
        most: usize,
    ) -> Result<Bytes, Unanswered> {
        let mut request = request(Uri::from_static(path), Outgoing::one(question));
        request.headers_mut().insert("grpc-timeout", grpc_timeout(within));
        let broken = |error: hyper::Error| Unanswered::Broken(explain(&error));
        let response = self.send(request).await.map_err(broken)?;
        let unreadable = |error: Broken| Unanswered::Broken(error.describe());
        let mut messages = Messages::new(response, most).map_err(unreadable)?;
        let mut answer = None;
        while let Some(message) = messages.next().await.map_err(unreadable)? {
            answer.get_or_insert(message);
        }
        match messages.status().map_err(unreadable)? {
            Status { code: Code::Ok, .. } => {
                answer.ok_or_else(|| Unanswered::Broken("an answer without a message".to_owned()))
            }
            Status { code: Code::Unimplemented, .. } => Err(Unanswered::Unimplemented),
            Status { code, text, .. } => Err(Unanswered::Status(format!("{code:?}: {text}"))),
        }
    }
}

impl Broken {
    /// In words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Transport(error) => explain(error),
            Self::Garbage(what) => format!("it sent {what}"),
            Self::NoRoom(fault) => fault.to_string(),
            Self::TooLarge(bytes) => format!("it sent a message of {bytes} bytes"),
        }
    }
}

/// A request of gRPC, to whoever listens on the socket.
pub(crate) fn request(path: Uri, body: Outgoing) -> Request<Outgoing> {
    let mut parts = path.into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = Some(http::uri::Authority::from_static("localhost"));
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    request
}

/// At most 8 digits and a unit.
pub(crate) fn grpc_timeout(left: Duration) -> HeaderValue {
    let millis = left.as_millis();
    let text = if millis < 100_000_000 { format!("{millis}m") } else { "99999999S".to_owned() };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("99999999S"))
}

/// An error with what is behind it.
pub(crate) fn explain(error: &hyper::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// Whether the server has surely not begun with the request.
pub(crate) fn unseen(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    let refused = |cause: &h2::Error| {
        let reason = cause.reason();
        reason == Some(h2::Reason::REFUSED_STREAM)
            || (cause.is_go_away() && cause.is_remote() && reason == Some(h2::Reason::NO_ERROR))
    };
    error.is_canceled() || cause.is_some_and(refused)
}
