//! Clients that take and do not give back: what they may hold, and for how long.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use roadstead_domain::ByteSize;
use roadstead_gateway::GatewayConfig;
use roadstead_gateway::Monitored as _;
use roadstead_proto::v1::{
    BreakerState, ListUsageRequest, PushHeader, PushModuleRequest, WatchModulesRequest,
    module_service_client::ModuleServiceClient, push_module_request::Message,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    guest::{blob, path},
    json::packed,
    raw::{Body, chunks, connect, framed, refused, request, whole},
    support::{Host, PATIENCE, call, failure},
};

async fn host(config: GatewayConfig) -> Host {
    let host = Host::with(config).await;
    host.push("guest", "").await;
    host
}

/// A body that begins, and then neither goes on nor ends.
fn unfinished(first: &[u8]) -> Body {
    let first = futures::stream::iter([Ok(Frame::data(Bytes::copy_from_slice(first)))]);
    let rest = futures::stream::pending::<io::Result<Frame<Bytes>>>();
    BodyExt::boxed(StreamBody::new(first.chain(rest)))
}

fn own(method: &str, body: Body) -> Request<Body> {
    let mut request = request("Add", body);
    *request.uri_mut() =
        format!("http://host/roadstead.v1.ModuleService/{method}").parse().unwrap();
    request
}

/// A client that never takes more than `window` bytes of a response.
async fn reads_nothing(host: &Host, window: u32) -> SendRequest<Body> {
    let io = TokioIo::new(TcpStream::connect(host.address).await.unwrap());
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (client, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The first message of an upload.
fn header() -> Bytes {
    let header = PushHeader { name: "held".into(), ..PushHeader::default() };
    framed(&PushModuleRequest { message: Some(Message::Header(header)) }.encode_to_vec())
}

/// The status of a response that may be headers alone.
fn status<T>(response: &http::Response<T>) -> Option<Status> {
    Status::from_header_map(response.headers())
}

#[tokio::test]
async fn responses_that_nobody_reads_are_given_up() {
    for window in [0, 1, 70_000] {
        let host = host(GatewayConfig {
            message_budget: ByteSize::mib(4),
            write_timeout: Duration::from_millis(300),
            ..GatewayConfig::default()
        })
        .await;
        let long = framed(&blob(&vec![7; 700 << 10]));
        let mut greedy = reads_nothing(&host, window).await;
        let mut echo = async || {
            let body = chunks(vec![long.clone()]);
            timeout(PATIENCE, greedy.send_request(request("Echo", body))).await.unwrap().unwrap()
        };
        let held = echo().await;
        assert!(status(&held).is_none());
        // The connection's share is used up, but only its own.
        let full = echo().await;
        let full = status(&full).unwrap();
        assert_eq!(full.get_details_error_info().unwrap().reason, "OVERLOADED");
        assert!(full.message().contains("connection's share"), "{}", full.message());
        let mut other = connect(&host).await;
        let body = chunks(vec![long.clone()]);
        let answered = other.send_request(request("Echo", body)).await.unwrap();
        assert_eq!(whole(answered).await.1.len(), long.len());
        // Until the host has had enough of waiting.
        let again = async { while status(&echo().await).is_some() {} };
        timeout(PATIENCE, again).await.unwrap();
        assert!(timeout(PATIENCE, held.into_body().collect()).await.unwrap().is_err());
        host.stop().await;
    }
}

#[tokio::test]
async fn who_reads_slowly_is_served() {
    let patience = Duration::from_secs(2);
    let config = GatewayConfig { write_timeout: patience, ..GatewayConfig::default() };
    let host = host(config).await;
    let mut client = reads_nothing(&host, 1 << 10).await;
    let long = framed(&blob(&vec![7; 512 << 10]));
    let answer = client.send_request(request("Echo", chunks(vec![long.clone()]))).await.unwrap();
    let mut body = answer.into_body();
    let mut got = 0;
    while let Some(frame) = body.frame().await {
        got += frame.unwrap().data_ref().map_or(0, Bytes::len);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(got, long.len());
    host.stop().await;
}

#[tokio::test]
async fn http_1_clients_that_read_nothing_are_hung_up_on() {
    let write_timeout = Duration::from_millis(300);
    let host = host(GatewayConfig { write_timeout, ..GatewayConfig::default() }).await;
    let mut tcp = TcpStream::connect(host.address).await.unwrap();
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20));
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        path("Text"),
        text.len()
    );
    // Requests until the answers fill all buffers, and the host takes in no more.
    let asking = async {
        while tcp.write_all(head.as_bytes()).await.is_ok() {
            if tcp.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, asking).await.unwrap();
    host.stop().await;
}

#[tokio::test]
async fn half_a_message_holds_what_came_of_it() {
    let message_budget = ByteSize::mib(4);
    let host = host(GatewayConfig { message_budget, ..GatewayConfig::default() }).await;
    let mut idle = connect(&host).await;
    let announced = [&[0][..], &(1_u32 << 20).to_be_bytes(), b"few"].concat();
    let waiting: Vec<_> = (0..200)
        .map(|_| tokio::spawn(idle.send_request(request("Echo", unfinished(&announced)))))
        .collect();
    let before = host.counters.read().calls;
    crate::raw::until(|| host.counters.read().calls >= before.max(200)).await;
    let long = framed(&blob(&vec![7; 500 << 10]));
    for client in [&mut idle, &mut connect(&host).await] {
        let body = chunks(vec![long.clone()]);
        let answer = client.send_request(request("Echo", body)).await.unwrap();
        assert_eq!(whole(answer).await.1.len(), long.len());
    }
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    drop(idle);
    host.stop().await;
}

#[tokio::test]
async fn a_packed_message_is_counted_as_it_unpacks() {
    let message_budget = ByteSize::mib(4);
    let host = Host::with(GatewayConfig { message_budget, ..GatewayConfig::default() }).await;
    host.push("guest", "limits: {input: 100Gi}").await;
    let mut client = connect(&host).await;
    let bomb = packed(&blob(&vec![0; 16 << 20]));
    let length = u32::try_from(bomb.len()).unwrap().to_be_bytes();
    let body = chunks(vec![[&[1][..], &length, &bomb].concat().into()]);
    let mut grpc = request("Echo", body);
    grpc.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    let (code, reason, text) = refused(&mut client, grpc).await;
    assert_eq!((code, reason.as_str()), (9, "NEVER_FITS"), "{text}");
    assert!(text.contains("connection's share"), "{text}");
    let connect = Request::post(format!("http://localhost{}", path("Echo")))
        .header("content-type", "application/proto")
        .header("content-encoding", "gzip")
        .body(chunks(vec![bomb.into()]))
        .unwrap();
    let (_, body, _) = whole(client.send_request(connect).await.unwrap()).await;
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("NEVER_FITS"), "{body}");
    let held = || host.monitor.metrics().unwrap();
    crate::raw::until(|| held().contains("\nroadstead_message_bytes 0\n")).await;
    drop(client);
    host.stop().await;
}

#[tokio::test]
async fn uploads_have_places_of_their_own() {
    let config =
        GatewayConfig { uploads: 4, message_budget: ByteSize::mib(4), ..GatewayConfig::default() };
    let host = host(config).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = connect(&host).await;
        let (more, frames) = tokio::sync::mpsc::channel(1);
        let body = BodyExt::boxed(StreamBody::new(ReceiverStream::new(frames)));
        more.send(Ok(Frame::data(header()))).await.unwrap();
        let pushing = client.send_request(own("PushModule", body)).await.unwrap();
        assert!(status(&pushing).is_none());
        held.push((client, pushing, more));
    }
    crate::raw::until(|| host.staged() == 4).await;
    let (client, ..) = &mut held[0];
    for (client, whose) in [(client, "connection's"), (&mut connect(&host).await, "host's")] {
        for method in ["PushModule", "CheckModule"] {
            let answer = client.send_request(own(method, unfinished(&header()))).await.unwrap();
            let (headers, _, trailers) = whole(answer).await;
            let status = Status::from_header_map(&headers);
            let status = status.or_else(|| Status::from_header_map(&trailers)).unwrap();
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
            assert!(details.retry_info().is_some());
            assert!(status.message().contains(whose), "{}", status.message());
        }
        let (_, _, trailers) =
            whole(client.send_request(request("Add", chunks(vec![framed(&[])]))).await.unwrap())
                .await;
        assert_eq!(trailers["grpc-status"], "0");
    }
    drop(held);
    let channel = host.channel().await;
    let pushed = async {
        let header = || PushHeader { name: "other".into(), ..Default::default() };
        let component = crate::guest::component;
        while let Err(status) = crate::support::push(channel.clone(), header(), component()).await {
            assert_eq!(status.code(), Code::ResourceExhausted);
        }
    };
    timeout(PATIENCE, pushed).await.unwrap();
    host.stop().await;
}

#[tokio::test]
async fn who_sends_no_header_holds_no_place_and_not_for_long() {
    let config =
        GatewayConfig { uploads: 4, message_budget: ByteSize::mib(4), ..GatewayConfig::default() };
    let host = host(config).await;
    let mut silent = connect(&host).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(silent.send_request(own("PushModule", unfinished(&[0, 0]))).await.unwrap());
    }
    host.push("other", "").await;
    // What comes of a header is counted as any message is.
    let announced = [&[0][..], &(3_u32 << 20).to_be_bytes(), &vec![0; 2 << 20]].concat();
    let (code, reason, text) =
        refused(&mut silent, own("PushModule", unfinished(&announced))).await;
    assert_eq!((code, reason.as_str()), (9, "NEVER_FITS"), "{text}");
    for answer in held {
        let (_, _, trailers) = timeout(PATIENCE, whole(answer)).await.unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
    host.stop().await;
}

#[tokio::test]
async fn the_hosts_own_services_do_not_wait_for_ever() {
    let receive_timeout = Duration::from_millis(200);
    let host = host(GatewayConfig { receive_timeout, ..GatewayConfig::default() }).await;
    let mut client = connect(&host).await;
    for method in ["ListModules", "DeleteModule", "WatchModules"] {
        let slow = timeout(PATIENCE, refused(&mut client, own(method, unfinished(&[0, 0]))));
        let (code, reason, text) = slow.await.unwrap();
        assert_eq!((code, reason.as_str()), (4, "DEADLINE"), "{method}: {text}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_connection_has_so_many_requests_to_the_hosts_own_services() {
    let host = host(GatewayConfig::default()).await;
    let channel = host.channel().await;
    let mut client = ModuleServiceClient::new(channel.clone());
    let mut watches = Vec::new();
    let refused = loop {
        match client.watch_modules(WatchModulesRequest {}).await {
            Ok(watch) => watches.push(watch.into_inner()),
            Err(status) => break status,
        }
    };
    assert_eq!(watches.len(), 128);
    let answered: Result<(), Status> = Err(refused);
    assert_eq!(failure(answered), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    assert!(call(&channel, "Add", vec![]).await.is_ok());
    let mut other = ModuleServiceClient::new(host.channel().await);
    assert!(other.watch_modules(WatchModulesRequest {}).await.is_ok());
    watches.clear();
    let again = async { while client.watch_modules(WatchModulesRequest {}).await.is_err() {} };
    timeout(PATIENCE, again).await.unwrap();
    drop((client, other, channel));
    host.stop().await;
}

#[tokio::test]
async fn watches_that_wait_hold_nothing() {
    let message_budget = ByteSize::kib(64);
    let host = host(GatewayConfig { message_budget, ..GatewayConfig::default() }).await;
    for other in 0..7 {
        host.push(&format!("other{other}"), "").await;
    }
    let mut client = ModuleServiceClient::new(host.channel().await);
    let mut watches = Vec::new();
    let mut sent = 0;
    for _ in 0..100 {
        let mut watch = client.watch_modules(WatchModulesRequest {}).await.unwrap().into_inner();
        sent += watch.message().await.unwrap().unwrap().encoded_len() - 1024;
        watches.push(watch);
    }
    assert!(sent > 64 << 10, "{sent}");
    drop((watches, client));
    host.stop().await;
}

#[tokio::test]
async fn idle_connections_are_closed_and_those_that_watch_are_not() {
    let idle_timeout = Duration::from_millis(200);
    let host = host(GatewayConfig { idle_timeout, ..GatewayConfig::default() }).await;
    let mut watching = ModuleServiceClient::new(host.channel().await);
    let mut watch = watching.watch_modules(WatchModulesRequest {}).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();

    // One that understands GOAWAY, and one that does not.
    let io = TokioIo::new(TcpStream::connect(host.address).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = client.send_request(request("Add", chunks(vec![framed(&[])]))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    whole(answer).await;
    timeout(PATIENCE, connection).await.unwrap().unwrap().ok();
    let mut deaf = TcpStream::connect(host.address).await.unwrap();
    deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut sent = Vec::new();
    timeout(PATIENCE, deaf.read_to_end(&mut sent)).await.unwrap().ok();

    host.push("other", "").await;
    let told = timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.modules.len(), 2);
    drop((watch, watching));
    host.stop().await;
}

/// Whoever waits for the rest of these messages waits for ever.
async fn refused_unread(host: &Host, method: &str) -> (i32, String) {
    let mut client = connect(host).await;
    let answer = refused(&mut client, request(method, unfinished(&framed(&[8, 1])[..3])));
    let (code, reason, _) = timeout(PATIENCE, answer).await.unwrap();
    (code, reason)
}

#[tokio::test]
async fn a_call_that_would_be_refused_is_refused_before_its_message_is_read() {
    let host = Host::start().await;
    host.push("guest", "quota: {concurrency: 1, queue: 0}").await;
    let channel = host.channel().await;
    let spinning = tokio::spawn(async move { call(&channel, "Spin", Vec::new()).await });
    host.until(|stats| stats.running == 1).await;
    let overloaded = (Code::ResourceExhausted as i32, "OVERLOADED".to_owned());
    assert_eq!(refused_unread(&host, "Add").await, overloaded);
    assert_eq!(host.stats("guest").faults["OVERLOADED"], 1);
    let json = Request::post(format!("http://localhost{}", path("Add")));
    let json = json.header("content-type", "application/json").body(unfinished(b"{")).unwrap();
    let mut client = connect(&host).await;
    let answer = timeout(PATIENCE, client.send_request(json)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    spinning.abort();
    host.stop().await;
}

#[tokio::test]
async fn a_version_that_is_cut_off_is_told_and_its_messages_are_not_read() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    while !host.stats("guest").faults.contains_key("BREAKER_OPEN") {
        call(&channel, "Trap", Vec::new()).await.unwrap_err();
    }
    let cut_off = (Code::Unavailable as i32, "BREAKER_OPEN".to_owned());
    assert_eq!(refused_unread(&host, "Add").await, cut_off);
    let mut client = ModuleServiceClient::new(channel);
    let usage = client.list_usage(ListUsageRequest::default()).await.unwrap().into_inner();
    let [breaker] = &usage.modules[0].open_breakers[..] else { panic!("{usage:?}") };
    assert_eq!((breaker.version.as_str(), breaker.state()), ("0.1.0", BreakerState::Open));
    host.stop().await;
}
