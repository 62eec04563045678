//! Outgoing HTTP requests of both versions: where they go, what they may send, how long they wait.
//!
//! HTTP/1.1, one connection per request. TLS trusts the web's roots, never the machine's.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header::HOST};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep_until, timeout},
};
use wasmtime_wasi_http::{
    Error, RequestOptions, Result, WasiBody, WasiHttpHooks, io::TokioIo,
    p2::bindings::http::types as p2, p3::bindings::http::types as p3,
};

use super::{
    Network, Policy,
    policy::HttpTarget,
    resolve::{ResolveError, resolve},
};
use crate::capability::{
    limit::{Account, Place},
    shares::Egress,
};

/// What is read of a response at once, and the most that its head may take.
const READ_AHEAD: usize = 64 << 10;

type Io = Box<dyn Future<Output = Result<()>> + Send>;
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Io)>> + Send>;

/// How TLS is spoken to the web, the same for all modules.
static TLS: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(|| {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(Arc::new(config))
});

/// A request that may go out.
struct Outgoing {
    policy: Arc<Policy>,
    target: HttpTarget,
    place: Place,
    lookup_place: Place,
    account: Arc<Account>,
    egress: Egress,
    head: usize,
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

/// A stream to a peer, encrypted or not.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A request's body that pays for what it sends.
struct Metered {
    body: WasiBody,
    account: Arc<Account>,
    egress: Egress,
    /// Until the module may send again.
    waiting: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// A response's body that gives a silent peer up.
struct Patient {
    body: hyper::body::Incoming,
    patience: Duration,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl WasiHttpHooks for Network {
    /// What the host holds of a body that is not sent yet, in two pieces.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.held / 2
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        self.held / 2
    }

    // The defaults of these would let guests write warnings into the host's log.
    fn p2_error_from_hyper(&mut self, _: &hyper::Error) -> p2::ErrorCode {
        p2::ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, _: &std::io::Error) -> p2::ErrorCode {
        p2::ErrorCode::ConnectionRefused
    }

    fn p2_error_from_tls(&mut self, _: &std::io::Error) -> p2::ErrorCode {
        p2::ErrorCode::TlsProtocolError
    }

    fn p3_error_from_hyper(&mut self, _: &hyper::Error) -> p3::ErrorCode {
        p3::ErrorCode::HttpProtocolError
    }

    fn p3_error_from_connect(&mut self, _: &std::io::Error) -> p3::ErrorCode {
        p3::ErrorCode::ConnectionRefused
    }

    fn p3_error_from_tls(&mut self, _: &std::io::Error) -> p3::ErrorCode {
        p3::ErrorCode::TlsProtocolError
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_read: Io,
    ) -> Sent {
        let outgoing = self.admit_request(&request, options.unwrap_or_default());
        Box::new(async move { outgoing?.send(request).await })
    }
}

impl Network {
    fn admit_request(
        &self,
        request: &Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Outgoing> {
        let target = self.policy.http_target(request.uri()).ok_or(Error::HttpRequestDenied)?;
        let place = self.admit().ok_or(Error::ConnectionLimitReached)?;
        let lookup_place =
            Place::take(&[&self.descriptors]).ok_or(Error::ConnectionLimitReached)?;
        if target.to.address().is_none() && !self.may_look_up() {
            return Err(Error::ConnectionLimitReached);
        }
        let head = head_size(request);
        self.account.send(head).map_err(|_| Error::HttpRequestBodySize(None))?;
        Ok(Outgoing {
            policy: Arc::clone(&self.policy),
            target,
            place,
            lookup_place,
            account: Arc::clone(&self.account),
            egress: self.egress.clone(),
            head,
            connect: self.patience(options.connect_timeout),
            first_byte: self.patience(options.first_byte_timeout),
            between_bytes: self.patience(options.between_bytes_timeout),
        })
    }
}

impl Outgoing {
    async fn send(self, mut request: Request<WasiBody>) -> Result<(Response<WasiBody>, Io)> {
        let Self {
            policy,
            target,
            place,
            lookup_place,
            account,
            egress,
            head,
            connect,
            first_byte,
            between_bytes,
        } = self;
        egress.turn().await;
        egress.sent(head);
        let connecting = open(policy, &target, lookup_place);
        let stream = timeout(connect, connecting).await.map_err(|_| Error::ConnectionTimeout)??;
        let mut http = http1::Builder::new();
        http.max_buf_size(READ_AHEAD);
        let (mut sender, connection) = timeout(connect, http.handshake(TokioIo::new(stream)))
            .await
            .map_err(|_| Error::ConnectionTimeout)??;
        // The peer is told the path; scheme and authority would make it a proxy.
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
        if !request.headers().contains_key(HOST) {
            let host = target.to.to_string().parse().map_err(|_| Error::HttpRequestUriInvalid)?;
            request.headers_mut().insert(HOST, host);
        }
        let request = request.map(|body| Metered { body, account, egress, waiting: None });
        let mut connection = Box::pin(connection);
        let mut open = true;
        let response = {
            let answer = timeout(first_byte, sender.send_request(request));
            tokio::pin!(answer);
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answer => break answer.map_err(|_| Error::ConnectionReadTimeout)??,
                    done = &mut connection, if open => { open = false; done?; }
                }
            }
        };
        let response = response.map(|body| Patient::new(body, between_bytes).boxed_unsync());
        let io: Io = Box::new(async move {
            let _held = place;
            if open { connection.await.map_err(Error::from) } else { Ok(()) }
        });
        Ok((response, io))
    }
}

/// Connects to the first address that answers.
async fn open(
    policy: Arc<Policy>,
    target: &HttpTarget,
    place: Place,
) -> Result<Box<dyn Connection>> {
    let host = target.to.host();
    let resolved = resolve(policy, host.to_owned(), vec![target.to.port()], place).await;
    let addresses = resolved.map_err(|error| match error {
        ResolveError::Prohibited => Error::DestinationIpProhibited,
        ResolveError::Unknown => Error::DnsError { rcode: None, info_code: None },
    })?;
    let mut failed = Error::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) if target.tls => {
                let config = TLS.clone().ok_or(Error::ConfigurationError)?;
                return encrypt(config, host, stream).await;
            }
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => failed = Error::Connect(error),
        }
    }
    Err(failed)
}

async fn encrypt(
    config: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<Box<dyn Connection>> {
    let name = match host.parse::<IpAddr>() {
        Ok(address) => ServerName::from(address),
        Err(_) => ServerName::try_from(host.to_owned())?,
    };
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = connector.connect(name, stream).await.map_err(Error::Tls)?;
    Ok(Box::new(stream))
}

/// About what a request's line and headers take on the wire.
fn head_size(request: &Request<WasiBody>) -> usize {
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len().saturating_add(value.len()).saturating_add(4));
    let line = request.method().as_str().len().saturating_add(request.uri().to_string().len());
    headers.fold(line.saturating_add(12), usize::saturating_add)
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        while let Some(paid) = self.egress.debt() {
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep_until(paid)));
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let size = match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => data.len(),
                (None, Some(trailers)) => trailers
                    .iter()
                    .map(|(name, value)| name.as_str().len().saturating_add(value.len()))
                    .fold(0, usize::saturating_add),
                (None, None) => 0,
            };
            if let Err(limit) = self.account.send(size) {
                let error = Error::HttpRequestBodySize(Some(limit.0.allowed));
                return Poll::Ready(Some(Err(error)));
            }
            self.egress.sent(size);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Patient {
    fn new(body: hyper::body::Incoming, patience: Duration) -> Self {
        Self { body, patience, timer: Box::pin(tokio::time::sleep(patience)) }
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                let until = tokio::time::Instant::now().checked_add(self.patience);
                if let Some(until) = until {
                    self.timer.as_mut().reset(until);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => {
                ready!(self.timer.as_mut().poll(context));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use tokio::io::AsyncWriteExt as _;

    /// A TLS server for `localhost`, and a client that trusts it.
    async fn tls_server() -> (SocketAddr, Arc<ClientConfig>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der());
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key.unwrap())
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    stream.write_all(b"hello").await.ok();
                    stream.shutdown().await.ok();
                }
            }
        });
        (address, Arc::new(client))
    }

    #[tokio::test]
    async fn tls_is_for_the_name_and_by_a_trusted_issuer() {
        use tokio::io::AsyncReadExt as _;
        let (address, trusting) = tls_server().await;
        let connect = async || TcpStream::connect(address).await.unwrap();
        let mut stream =
            encrypt(Arc::clone(&trusting), "localhost", connect().await).await.ok().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        let other_name = encrypt(trusting, "api.example.com", connect().await).await;
        assert!(matches!(other_name.err(), Some(Error::Tls(_))));
        let web = TLS.clone().unwrap();
        let unknown_issuer = encrypt(web, "localhost", connect().await).await;
        assert!(matches!(unknown_issuer.err(), Some(Error::Tls(_))));
    }
}
