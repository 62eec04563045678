//! Requests that no proper client sends, frame by frame.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use prost::Message as _;
use roadstead_proto::v1::{PushHeader, PushModuleRequest, push_module_request::Message};
use tokio::net::TcpStream;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{
    guest::{blob, path},
    support::{Host, PATIENCE},
};

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

pub(crate) async fn connect(host: &Host) -> SendRequest<Body> {
    speak(TcpStream::connect(host.address).await.unwrap()).await
}

pub(crate) async fn speak(tcp: TcpStream) -> SendRequest<Body> {
    let io = TokioIo::new(tcp);
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn chunks(chunks: Vec<Bytes>) -> Body {
    let frames = chunks.into_iter().map(|chunk| Ok(Frame::data(chunk)));
    BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)))
}

pub(crate) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat().into()
}

pub(crate) fn request(method: &str, body: Body) -> Request<Body> {
    Request::builder()
        .version(Version::HTTP_2)
        .method(Method::POST)
        .uri(format!("http://localhost{}", path(method)))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

/// Headers, body and trailers.
pub(crate) async fn whole(
    response: Response<hyper::body::Incoming>,
) -> (HeaderMap, Bytes, HeaderMap) {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    (parts.headers, body.to_bytes(), trailers)
}

pub(crate) async fn refused(
    client: &mut SendRequest<Body>,
    request: Request<Body>,
) -> (i32, String, String) {
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let (headers, body, trailers) = whole(response).await;
    assert!(body.is_empty());
    let status = Status::from_header_map(&headers)
        .or_else(|| Status::from_header_map(&trailers))
        .unwrap_or_else(|| panic!("{headers:?}"));
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code() as i32, reason, status.message().to_owned())
}

#[tokio::test]
async fn a_unary_call_takes_one_whole_message() {
    let host = Host::with_guest().await;
    let mut client = connect(&host).await;
    let one = framed(&[0x08, 1]);
    for (body, part) in [
        (vec![], "got none"),
        (vec![Bytes::new()], "got none"),
        (vec![one.clone(), one.clone()], "more than one"),
        (vec![[&one[..], &one[..]].concat().into()], "more than one"),
        (vec![one.slice(..3)], "ended within"),
        (vec![one.slice(..6)], "ended within"),
        (vec![Bytes::from_static(b"\x09\0\0\0\0")], "flag"),
        (vec![Bytes::from_static(b"\x01\0\0\0\x01x")], "grpc-encoding"),
    ] {
        let (code, reason, text) = refused(&mut client, request("Add", chunks(body))).await;
        assert_eq!((code, reason.as_str()), (3, "BAD_INPUT"), "{text}");
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(host.stats("guest").calls, 0);
    // Cut anywhere, one message is one message.
    for cut in 0..=one.len() {
        let body = chunks(vec![one.slice(..cut), one.slice(cut..)]);
        let response = client.send_request(request("Add", body)).await.unwrap();
        let (headers, body, trailers) = whole(response).await;
        assert_eq!(headers["content-type"], "application/grpc");
        assert_eq!(body, framed(&[0x08, 1]));
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["roadstead-module"], "guest@0.1.0");
    }
    host.stop().await;
}

#[tokio::test]
async fn headers_that_do_not_read_are_named() {
    let host = Host::with_guest().await;
    let mut client = connect(&host).await;
    for (name, value, code, part) in [
        ("grpc-timeout", "soon", 3, "grpc-timeout"),
        ("grpc-timeout", "123456789S", 3, "grpc-timeout"),
        ("grpc-timeout", "-1S", 3, "grpc-timeout"),
        ("grpc-timeout", "0n", 4, "deadline"),
        ("grpc-encoding", "br", 12, "grpc-encoding"),
        ("roadstead-namespace", "a b", 3, "roadstead-namespace"),
    ] {
        for method in [path("Add"), "/roadstead.v1.ModuleService/ListModules".to_owned()] {
            if name == "grpc-encoding" && method.contains("roadstead.v1") {
                continue;
            }
            let mut request = request("Add", chunks(vec![framed(&[])]));
            *request.uri_mut() = format!("http://host{method}").parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
            let (got, _, text) = refused(&mut client, request).await;
            assert_eq!(got, code, "{name}: {value}: {text}");
            assert!(text.contains(part), "{text}");
        }
    }
    host.stop().await;
}

#[tokio::test]
async fn the_callers_deadline_is_answered_in_our_words() {
    let host = Host::with_guest().await;
    let mut client = connect(&host).await;
    let mut late = request("Spin", chunks(vec![framed(&[])]));
    late.headers_mut().insert("grpc-timeout", "50m".parse().unwrap());
    let (code, reason, text) = refused(&mut client, late).await;
    assert_eq!((code, reason.as_str()), (4, "DEADLINE"), "{text}");
    let mut slow = request("Spin", BodyExt::boxed(StreamBody::new(futures::stream::pending())));
    slow.headers_mut().insert("grpc-timeout", "50m".parse().unwrap());
    let (code, reason, text) = refused(&mut client, slow).await;
    assert_eq!((code, reason.as_str()), (4, "DEADLINE"), "{text}");
    let mut soon = request("Add", chunks(vec![framed(&[])]));
    soon.headers_mut().insert("grpc-timeout", "60S".parse().unwrap());
    let (headers, _, trailers) = whole(client.send_request(soon).await.unwrap()).await;
    assert_eq!(trailers["grpc-status"], "0", "{headers:?}");
    host.stop().await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let host = Host::start().await;
    let tcp = TcpStream::connect(host.address).await.unwrap().into_std().unwrap();
    let cable = tcp.try_clone().unwrap();
    let mut client = speak(TcpStream::from_std(tcp).unwrap()).await;
    let message = |message| framed(&PushModuleRequest { message: Some(message) }.encode_to_vec());
    let header = PushHeader { name: "guest".into(), ..PushHeader::default() };
    let sent = [message(Message::Header(header)), message(Message::Chunk(vec![0; 1000].into()))];
    let first = futures::stream::iter(sent.map(|bytes| Ok(Frame::data(bytes))));
    let body = StreamBody::new(first.chain(futures::stream::pending()));
    let mut push = request("Add", BodyExt::boxed(body));
    *push.uri_mut() = "http://host/roadstead.v1.ModuleService/PushModule".parse().unwrap();
    let pushing = client.send_request(push).await.unwrap();
    until(|| host.staged() == 1).await;
    cable.shutdown(std::net::Shutdown::Both).unwrap();
    until(|| host.staged() == 0).await;
    drop(pushing);
    host.stop().await;
}

pub(crate) async fn until(done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn pages_of_others_are_refused_in_grpc() {
    let host = Host::with_guest().await;
    let mut client = connect(&host).await;
    let mut foreign = request("Add", chunks(vec![framed(&[])]));
    foreign.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    let (code, reason, text) = refused(&mut client, foreign).await;
    assert_eq!((code, reason.as_str()), (7, "FOREIGN_ORIGIN"));
    assert!(text.contains("--cors-origin"), "{text}");
    assert_eq!(host.counters.read().calls, 0);
    drop(client);
    host.stop().await;
}

#[tokio::test]
async fn other_content_types_are_not_grpc() {
    let host = Host::with_guest().await;
    let mut client = connect(&host).await;
    for (kind, status) in [
        ("application/grpc+proto", 200),
        ("application/grpc; charset=utf-8", 200),
        ("application/grpc+json", 415),
        ("application/grpc-web", 415),
        ("text/plain", 415),
        ("", 415),
    ] {
        let mut request = request("Add", chunks(vec![framed(&[])]));
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), status, "{kind}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_header_alone() {
    let host = Host::with_guest().await;
    let mut client = connect(&host).await;
    // The body never ends and its message never comes.
    let announced = [&[0][..], &u32::MAX.to_be_bytes()].concat();
    let first = futures::stream::iter([Ok(Frame::data(Bytes::from(announced)))]);
    let body = StreamBody::new(first.chain(futures::stream::pending()));
    let (code, reason, _) = refused(&mut client, request("Echo", BodyExt::boxed(body))).await;
    assert_eq!((code, reason.as_str()), (8, "INPUT_LIMIT"));
    host.stop().await;
}

#[tokio::test]
async fn the_hosts_own_services_refuse_in_the_same_words() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let mut send = async |body: Bytes| {
        let mut request = request("Add", chunks(vec![body]));
        *request.uri_mut() = "http://host/roadstead.v1.ModuleService/GetModule".parse().unwrap();
        refused(&mut client, request).await
    };
    let (code, reason, text) = send(framed(b"\xff\xff\xff")).await;
    assert_eq!((code, reason.as_str()), (3, "BAD_INPUT"), "{text}");
    for size in [65 << 10, 5_u32 << 20] {
        let (code, reason, _) = send([&[0][..], &size.to_be_bytes()].concat().into()).await;
        let cut = size == 65 << 10;
        let expected = if cut { (3, "BAD_INPUT") } else { (8, "INPUT_LIMIT") };
        assert_eq!((code, reason.as_str()), expected);
    }
    let (code, reason, _) = send(framed(&blob(&[b'a'; 65 << 10]))).await;
    assert_eq!((code, reason.as_str()), (8, "INPUT_LIMIT"));
    let (code, reason, _) = send(framed(&blob(b"Not A Name"))).await;
    assert_eq!((code, reason.as_str()), (3, "BAD_INPUT"));
    let (code, reason, _) = send(framed(&blob(b"absent"))).await;
    assert_eq!((code, reason.as_str()), (5, "NO_SUCH_MODULE"));
    host.stop().await;
}

#[tokio::test]
async fn random_bodies_never_panic_the_host() {
    let host = Host::with_guest().await;
    let mut client = connect(&host).await;
    let mut runner = TestRunner::deterministic();
    let bodies = proptest::collection::vec(proptest::collection::vec(0..=255_u8, 0..40), 0..4);
    for round in 0..300 {
        let body = bodies.new_tree(&mut runner).unwrap().current();
        let method = ["Add", "Echo", "Text", "Work"][round % 4];
        let mut pieces: Vec<Bytes> = body.into_iter().map(Bytes::from).collect();
        if round % 2 == 0 {
            // A good frame around a bad message.
            pieces = vec![framed(&pieces.concat())];
        }
        let mut request = request(method, chunks(pieces));
        if round % 3 == 0 {
            request.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
        }
        request.headers_mut().insert("grpc-timeout", "200m".parse().unwrap());
        let response = client.send_request(request).await.unwrap();
        let (headers, _, trailers) = whole(response).await;
        let status = headers.get("grpc-status").or_else(|| trailers.get("grpc-status")).unwrap();
        assert_ne!(status, "13");
    }
    assert_eq!(host.counters.read().panics, 0);
    host.stop().await;
}
