//! JSON and the Connect protocol over HTTP/1.1.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use roadstead_gateway::{AllowedHosts, AllowedOrigins, GatewayConfig};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    guest::{blob, path},
    support::Host,
};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?}", self.body))
    }

    fn error(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

async fn send(
    host: &Host,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let tcp = TcpStream::connect(host.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let (parts, body) = client.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

const JSON: (&str, &str) = ("content-type", "application/json");

async fn post(host: &Host, method: &str, body: &str) -> Answer {
    send(host, Method::POST, &path(method), &[JSON], body.to_owned()).await
}

pub(crate) fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_call_takes_and_gives_json() {
    let host = Host::with_guest().await;
    let answer = post(&host, "Add", r#"{"a":2,"b":3}"#).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"value": 5})));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["trailer-roadstead-module"], "guest@0.1.0");
    assert_eq!(answer.headers["trailer-roadstead-instance"], "fresh");
    assert_eq!(post(&host, "Add", "{}").await.json(), json!({"value": 0}));
    assert_eq!(post(&host, "Work", r#"{"rounds":"5"}"#).await.json(), json!({"value": "5"}));
    assert_eq!(post(&host, "Text", r#"{"text":"\u00e4"}"#).await.json(), json!({"value": "ä"}));
    assert_eq!(post(&host, "Echo", r#"{"data":"AAH/"}"#).await.json(), json!({"value": "AAH/"}));
    let charset = [("content-type", "application/json; charset=utf-8")];
    let answer = send(&host, Method::POST, &path("Add"), &charset, "{}").await;
    assert_eq!(answer.status, StatusCode::OK);
    host.stop().await;
}

#[tokio::test]
async fn protobuf_travels_the_same_way() {
    let host = Host::start().await;
    host.push("guest", "limits: {input: 2Mi}").await;
    let kind = [("content-type", "application/proto")];
    let answer = send(&host, Method::POST, &path("Echo"), &kind, blob(b"abc")).await;
    assert_eq!(answer.headers["content-type"], "application/proto");
    assert_eq!(answer.body, blob(b"abc"));
    let long = send(&host, Method::POST, &path("Echo"), &kind, blob(&vec![0; 3 << 20])).await;
    assert_eq!(long.error(), (429, "resource_exhausted".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn errors_are_connects() {
    let host = Host::with_guest().await;
    let bad = post(&host, "Add", r#"{"a":"x"}"#).await;
    assert_eq!(bad.error(), (400, "invalid_argument".to_owned()));
    let details = bad.json()["details"].clone();
    let debug: Vec<&Value> = details.as_array().unwrap().iter().map(|d| &d["debug"]).collect();
    assert!(debug.iter().any(|debug| debug["reason"] == "BAD_INPUT"), "{details}");
    assert!(debug.iter().any(|debug| debug["fieldViolations"][0]["field"] == "a"), "{details}");
    for (method, body, status, code) in [
        ("Trap", "{}", 409, "aborted"),
        ("Absent", "{}", 501, "unimplemented"),
        ("Add", "{", 400, "invalid_argument"),
        ("Add", "", 400, "invalid_argument"),
        ("Add", "[]", 400, "invalid_argument"),
    ] {
        let answer = post(&host, method, body).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{method} {body}");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let trapped = post(&host, "Trap", "{}").await;
    assert_eq!(trapped.headers["trailer-roadstead-module"], "guest@0.1.0");
    let unknown = send(&host, Method::POST, "/no.such/Path", &[JSON], "{}").await;
    assert_eq!(unknown.error(), (501, "unimplemented".to_owned()));
    let unknown = send(&host, Method::POST, "/", &[JSON], "{}").await;
    assert_eq!(unknown.error(), (501, "unimplemented".to_owned()));
    let deep = post(&host, "Add", &"{\"a\":".repeat(10_000)).await;
    assert_eq!(deep.error(), (400, "invalid_argument".to_owned()));
    let elsewhere = [JSON, ("roadstead-namespace", "other")];
    let hidden = send(&host, Method::POST, &path("Add"), &elsewhere, "{}").await;
    assert_eq!(hidden.error(), (501, "unimplemented".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn connects_headers_are_kept() {
    let host = Host::with_guest().await;
    for (name, value, method, expected) in [
        ("connect-protocol-version", "1", "Add", None),
        ("connect-protocol-version", "2", "Add", Some((400, "invalid_argument"))),
        ("connect-timeout-ms", "10000", "Add", None),
        ("connect-timeout-ms", "soon", "Add", Some((400, "invalid_argument"))),
        ("connect-timeout-ms", "50", "Spin", Some((504, "deadline_exceeded"))),
        ("content-encoding", "br", "Add", Some((400, "invalid_argument"))),
    ] {
        let answer = send(&host, Method::POST, &path(method), &[JSON, (name, value)], "{}").await;
        match expected {
            None => assert_eq!(answer.status, StatusCode::OK),
            Some((status, code)) => assert_eq!(answer.error(), (status, code.to_owned())),
        }
    }
    host.stop().await;
}

#[tokio::test]
async fn other_methods_and_types_are_told_how_to_call() {
    let host = Host::with_guest().await;
    for method in [Method::GET, Method::PUT, Method::OPTIONS] {
        let answer = send(&host, method, &path("Add"), &[], "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers["allow"], "POST");
        assert!(String::from_utf8_lossy(&answer.body).contains("curl"));
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = send(&host, Method::POST, &path("Add"), &form, "a=1").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(answer.headers["accept-post"].to_str().unwrap().contains("application/json"));
    let grpc = [("content-type", "application/grpc")];
    let answer = send(&host, Method::POST, &path("Add"), &grpc, "").await;
    assert_eq!(answer.status, StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    host.stop().await;
}

#[tokio::test]
async fn gzip_goes_both_ways_and_bombs_nowhere() {
    let host = Host::start().await;
    host.push("guest", "limits: {input: 2Mi}").await;
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(50_000));
    let headers = [JSON, ("content-encoding", "gzip"), ("accept-encoding", "br, gzip")];
    let sent = packed(text.as_bytes());
    let answer = send(&host, Method::POST, &path("Text"), &headers, sent).await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
    assert!(answer.body.len() < 5000);
    let mut unpacked = String::new();
    GzDecoder::new(&*answer.body).read_to_string(&mut unpacked).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&unpacked).unwrap()["value"].as_str().unwrap().len(),
        50_000
    );
    let small = send(&host, Method::POST, &path("Add"), &headers, packed(b"{}")).await;
    assert!(!small.headers.contains_key("content-encoding"));
    assert_eq!(small.json(), json!({"value": 0}));
    let bomb = packed(&vec![b' '; 64 << 20]);
    let refused = send(&host, Method::POST, &path("Text"), &headers, bomb).await;
    assert_eq!(refused.error(), (429, "resource_exhausted".to_owned()));
    let garbage = send(&host, Method::POST, &path("Text"), &headers, "not gzip").await;
    assert_eq!(garbage.error(), (400, "invalid_argument".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn json_over_the_limit_is_refused() {
    let host = Host::start().await;
    host.push("guest", "limits: {input: 1000}").await;
    let text = |length: usize| format!(r#"{{"text":"{}"}}"#, "x".repeat(length));
    assert_eq!(post(&host, "Text", &text(900)).await.status, StatusCode::OK);
    // Too long as text, and too long only as protobuf.
    for length in [9000, 1000] {
        let answer = post(&host, "Text", &text(length)).await;
        assert_eq!(answer.error(), (429, "resource_exhausted".to_owned()), "{length}");
    }
    assert_eq!(host.stats("guest").calls, 1);
    host.stop().await;
}

#[tokio::test]
async fn the_hosts_own_unary_methods_speak_json() {
    let host = Host::with_guest().await;
    let call =
        async |path: &str, body: &'static str| send(&host, Method::POST, path, &[JSON], body).await;
    let listed = call("/roadstead.v1.ModuleService/ListModules", "{}").await;
    assert_eq!(listed.json()["modules"][0]["name"], "guest");
    let health = call("/grpc.health.v1.Health/Check", "{}").await;
    assert_eq!(health.json(), json!({"status": "SERVING"}));
    let absent = call("/roadstead.v1.ModuleService/GetModule", r#"{"name":"absent"}"#).await;
    assert_eq!(absent.error(), (404, "not_found".to_owned()));
    let streams = call("/roadstead.v1.ModuleService/WatchModules", "{}").await;
    assert_eq!(streams.error(), (501, "unimplemented".to_owned()));
    assert_eq!(streams.json()["details"][0]["debug"]["reason"], "STREAMING_METHOD");
    let health = call("/grpc.health.v1.Health/Check", r#"{"service":"no.such"}"#).await;
    assert_eq!(health.error(), (404, "not_found".to_owned()));
    assert_eq!(health.json()["details"][0]["debug"]["reason"], "NO_SUCH_SERVICE");
    let unknown = call("/roadstead.v1.ModuleService/Absent", "{}").await;
    assert_eq!(unknown.error(), (501, "unimplemented".to_owned()));
    let bad = call("/roadstead.v1.ModuleService/GetModule", r#"{"nam":"x"}"#).await;
    assert_eq!(bad.error(), (400, "invalid_argument".to_owned()));
    host.stop().await;
}

async fn preflight(host: &Host, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    send(host, Method::OPTIONS, &path("Add"), &headers, "").await
}

#[tokio::test]
async fn pages_are_let_in_by_origin() {
    let cors = AllowedOrigins::parse(["https://good.example".to_owned()]);
    let host = Host::with(GatewayConfig { cors, ..GatewayConfig::default() }).await;
    host.push("guest", "").await;
    let asked = preflight(&host, "https://good.example").await;
    assert_eq!(asked.status, StatusCode::NO_CONTENT);
    assert_eq!(asked.headers["access-control-allow-origin"], "https://good.example");
    assert_eq!(asked.headers["access-control-allow-methods"], "POST");
    let allowed = asked.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("connect-protocol-version"));
    let other = preflight(&host, "https://bad.example").await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    let headers = [JSON, ("origin", "https://good.example")];
    let called = send(&host, Method::POST, &path("Add"), &headers, "{}").await;
    assert_eq!(called.headers["access-control-allow-origin"], "https://good.example");
    assert!(called.headers.get_all("vary").iter().any(|value| value == "origin"));
    let exposed = called.headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("trailer-roadstead-fuel-consumed"));
    // An error can be read by the page too.
    let failed = send(&host, Method::POST, &path("Trap"), &headers, "{}").await;
    assert_eq!(failed.headers["access-control-allow-origin"], "https://good.example");
    host.stop().await;

    let closed = Host::start().await;
    let asked = preflight(&closed, "https://good.example").await;
    assert!(!asked.headers.contains_key("access-control-allow-origin"));
    closed.stop().await;

    let cors = AllowedOrigins::parse(["*".to_owned()]);
    let open = Host::with(GatewayConfig { cors, ..GatewayConfig::default() }).await;
    assert_eq!(preflight(&open, "null").await.headers["access-control-allow-origin"], "*");
    open.stop().await;
}

#[tokio::test]
async fn pages_of_others_reach_nothing_on_loopback() {
    let host = Host::with_guest().await;
    let delete = "/roadstead.v1.ModuleService/DeleteModule";
    let body = r#"{"name":"guest"}"#;
    let rebound = [JSON, ("host", "evil.example")];
    let foreign = [JSON, ("origin", "http://evil.example")];
    let sandboxed = [JSON, ("origin", "null")];
    for headers in [&rebound, &foreign, &sandboxed] {
        for (method, path) in [(Method::POST, delete), (Method::GET, "/")] {
            let refused = send(&host, method, path, headers, body).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{headers:?}");
            let text = String::from_utf8_lossy(&refused.body).into_owned();
            assert!(text.contains("localhost") || text.contains("--cors-origin"), "{text}");
        }
    }
    for name in ["localhost:1234", "127.0.0.1", "[::1]:80", "demo.localhost"] {
        let answer = send(&host, Method::POST, &path("Add"), &[JSON, ("host", name)], "{}").await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
    }
    assert_eq!(host.stats("guest").calls, 4);
    let deleted = send(&host, Method::POST, delete, &[JSON], body).await;
    assert_eq!(deleted.status, StatusCode::OK);
    host.stop().await;
}

#[tokio::test]
async fn a_host_on_loopback_is_called_by_the_names_it_was_given() {
    let allowed_hosts = AllowedHosts::new(["box.lan".to_owned()]);
    let host = Host::with(GatewayConfig { allowed_hosts, ..GatewayConfig::default() }).await;
    host.push("guest", "").await;
    for (name, status) in [
        ("box.lan:80", StatusCode::OK),
        ("localhost", StatusCode::OK),
        ("evil.example", StatusCode::FORBIDDEN),
    ] {
        let answer = send(&host, Method::POST, &path("Add"), &[JSON, ("host", name)], "{}").await;
        assert_eq!(answer.status, status, "{name}");
    }
    host.stop().await;
}

#[tokio::test]
async fn one_connection_serves_request_after_request() {
    let host = Host::with_guest().await;
    let tcp = TcpStream::connect(host.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..5 {
        client.ready().await.unwrap();
        let request = Request::post(path("Add")).header("host", "localhost").header(JSON.0, JSON.1);
        let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(host.counters.read().calls, 5);
    host.stop().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_cancels() {
    let host = Host::with_guest().await;
    let tcp = TcpStream::connect(host.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(path("Spin")).header("host", "localhost").header(JSON.0, JSON.1);
    let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let calling = tokio::spawn(async move { client.send_request(request).await });
    host.until(|stats| stats.running == 1).await;
    calling.abort();
    connection.abort();
    host.until(|stats| stats.running == 0 && stats.faults.get("CANCELLED") == Some(&1)).await;
    host.stop().await;
}
