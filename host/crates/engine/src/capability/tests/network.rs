//! TCP and HTTP against real servers on loopback.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use roadstead_domain::{CallId, LimitKind};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::{
    harness::{Guest, component, probe, spec, tcp_spec},
    servers::{Echo, web},
};
use crate::capability::{CallContext, HasCapabilities as _};

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_address_is_connected_to_and_no_other() {
    let (listed, other) = (Echo::start().await, Echo::start().await);
    let ran = probe(
        tcp_spec(&listed.address.to_string(), ""),
        &[
            &format!("tcp {} hello", listed.address),
            &format!("tcp {} hello", other.address),
            &format!("tcp [::ffff:127.0.0.1]:{} hello", listed.address.port()),
            &format!("tcp localhost:{} hello", listed.address.port()),
            "listen 127.0.0.1:0",
            "listen 0.0.0.0:0",
            "udp 127.0.0.1:0",
            "udp 0.0.0.0:0",
        ],
    )
    .await;
    assert_eq!(ran.lines[0], "tcp hello");
    assert!(ran.lines[1..].iter().all(|line| line.contains("failed")), "{:?}", ran.lines);
    assert_eq!((ran.lines.len(), listed.connections(), other.connections()), (8, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_name_is_looked_up_and_then_connected_to() {
    let echo = Echo::start().await;
    let port = echo.address.port();
    let ran = probe(
        tcp_spec(&format!("localhost:{port}"), ""),
        &[
            &format!("tcp 127.0.0.1:{port} early"),
            &format!("tcp localhost:{port} hello"),
            &format!("tcp 127.0.0.1:{port} late"),
            &format!("lookup example.com:{port}"),
            &format!("tcp localhost:{} hello", if port == 1 { 2 } else { 1 }),
        ],
    )
    .await;
    assert!(
        ran.lines[0].contains("failed"),
        "only an own lookup yields addresses: {:?}",
        ran.lines
    );
    assert_eq!(ran.lines[1..3], ["tcp hello", "tcp late"]);
    assert!(ran.lines[3].contains("failed") && ran.lines[4].contains("failed"), "{:?}", ran.lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_name_that_leads_inside_is_refused() {
    let echo = Echo::start().await;
    let port = echo.address.port();
    // To the resolver this is 127.0.0.1; the list has a name, not an address.
    let ran =
        probe(tcp_spec(&format!("127.1:{port}"), ""), &[&format!("tcp 127.1:{port} x")]).await;
    assert!(ran.lines[0].contains("failed"), "{:?}", ran.lines);
    assert_eq!(echo.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_limited_and_closed_ones_do_not_count() {
    let echo = Echo::start().await;
    let address = echo.address;
    let ran = probe(
        tcp_spec(&address.to_string(), "sockets: 3"),
        &[
            &format!("reconnect 20 {address}"),
            &format!("connect 3 {address}"),
            &format!("connect 4 {address}"),
            "panic",
        ],
    )
    .await;
    assert_eq!(ran.lines[..3], ["reconnect 20", "connect 3", "connect 3"]);
    let limit = ran.limit.unwrap();
    assert_eq!((limit.limit, limit.allowed), (LimitKind::Sockets, 3));
    assert_eq!(ran.exceeded, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_sent_are_limited() {
    let echo = Echo::start().await;
    let send = |count: u64| format!("send {} {count}", echo.address);
    let allowed = tcp_spec(&echo.address.to_string(), "egress: 10000");
    let ran = probe(allowed.clone(), &[&send(6000), &send(4000)]).await;
    assert_eq!((ran.lines.len(), ran.trap), (2, None));
    let ran = probe(allowed, &[&send(6000), &send(4001)]).await;
    assert_eq!(ran.limit.unwrap().limit, LimitKind::Egress);
    assert_eq!(ran.lines, ["send done"]);
    assert!(echo.bytes() <= 20_000);
}

/// Sends a request as a guest of this spec would.
pub(super) async fn request(
    guest: &Guest,
    deadline: Option<Duration>,
    uri: &str,
    body: &'static [u8],
    options: RequestOptions,
) -> Result<String, Error> {
    let mut store = guest.store();
    let capabilities = store.data_mut().capabilities();
    let deadline = deadline.map(|deadline| Instant::now() + deadline);
    capabilities.begin_call(&CallContext { id: CallId(2), deadline, caller: None });
    let body: WasiBody =
        Full::new(Bytes::from_static(body)).map_err(|never| match never {}).boxed_unsync();
    let request = http::Request::builder().uri(uri).body(body).unwrap();
    let view = capabilities.http();
    let sent = view.hooks.send_request(request, Some(options), Box::new(async { Ok(()) }));
    let (response, io) = Box::into_pin(sent).await?;
    let io = tokio::spawn(Box::into_pin(io));
    let text = response.into_body().collect().await?.to_bytes();
    io.await.unwrap()?;
    Ok(String::from_utf8(text.to_vec()).unwrap())
}

pub(super) fn http_guest(target: &str, limits: &str) -> Guest {
    Guest::new(&spec(&format!(
        "limits: {{{limits}}}\ncapabilities: {{network: {{http: ['{target}']}}}}"
    )))
}

#[tokio::test(flavor = "multi_thread")]
async fn http_goes_to_listed_authorities_only() {
    let (listed, other) = (web(Duration::ZERO).await, web(Duration::ZERO).await);
    let guest = http_guest(&listed.to_string(), "");
    let get = async |uri: String| request(&guest, None, &uri, b"", RequestOptions::default()).await;
    assert_eq!(get(format!("http://{listed}/a?b=c")).await.unwrap(), "GET /a?b=c HTTP/1.1");
    for uri in [
        format!("http://{other}/"),
        format!("http://localhost:{}/", listed.port()),
        format!("http://{listed}@{other}/"),
    ] {
        assert!(matches!(get(uri).await, Err(Error::HttpRequestDenied)));
    }
    let named = http_guest(&format!("localhost:{}", listed.port()), "");
    let uri = format!("http://localhost:{}/x", listed.port());
    let answer = request(&named, None, &uri, b"", RequestOptions::default()).await;
    assert_eq!(answer.unwrap(), "GET /x HTTP/1.1");
    let inside = http_guest(&format!("127.1:{}", listed.port()), "");
    let uri = format!("http://127.1:{}/", listed.port());
    let answer = request(&inside, None, &uri, b"", RequestOptions::default()).await;
    assert!(matches!(answer, Err(Error::DestinationIpProhibited)));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_bodies_count_as_bytes_sent() {
    let address = web(Duration::ZERO).await;
    let uri = format!("http://{address}/");
    let guest = http_guest(&address.to_string(), "egress: 1000");
    request(&guest, None, &uri, &[b'x'; 500], RequestOptions::default()).await.unwrap();
    let refused = request(&guest, None, &uri, &[b'x'; 1000], RequestOptions::default()).await;
    assert!(refused.is_err());
    // Headers count as well.
    let uri = format!("http://{address}/{}", "x".repeat(1000));
    let refused = request(&guest, None, &uri, b"", RequestOptions::default()).await;
    assert!(matches!(refused, Err(Error::HttpRequestBodySize(None))));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_take_the_places_of_sockets() {
    let address = web(Duration::from_secs(3600)).await;
    let guest = http_guest(&address.to_string(), "sockets: 2");
    let mut store = guest.store();
    let capabilities = store.data_mut().capabilities();
    let mut send = || {
        let body: WasiBody = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        let request =
            http::Request::builder().uri(format!("http://{address}/")).body(body).unwrap();
        let sent =
            capabilities.http().hooks.send_request(request, None, Box::new(async { Ok(()) }));
        Box::into_pin(sent)
    };
    let (first, _second, third) = (send(), send(), send());
    assert!(matches!(third.await.err(), Some(Error::ConnectionLimitReached)));
    drop(first);
    let mut fourth = send();
    let pending = tokio::time::timeout(Duration::from_millis(50), &mut fourth).await;
    assert!(pending.is_err(), "it waits for the answer, not for a place");
    assert_eq!(capabilities.limit_reached().unwrap().limit, LimitKind::Sockets);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_peers_are_given_up() {
    let address = web(Duration::from_secs(3600)).await;
    let uri = format!("http://{address}/");
    let guest = http_guest(&address.to_string(), "");
    let short = Some(Duration::from_millis(20));
    let options = RequestOptions { first_byte_timeout: short, ..Default::default() };
    let answer = request(&guest, None, &uri, b"", options).await;
    assert!(matches!(answer, Err(Error::ConnectionReadTimeout)));
    // The call's deadline counts if the guest asks for more.
    let long = Some(Duration::from_secs(3600));
    let options = RequestOptions { first_byte_timeout: long, ..Default::default() };
    let answer = request(&guest, short, &uri, b"", options).await;
    assert!(matches!(answer, Err(Error::ConnectionReadTimeout)));
}

/// Sends a request by 0.2's functions; answers with the status, or 1000 and the error's number.
fn http_p2(authority: &str) -> String {
    let (types, length) = ("wasi:http/types@0.2.0", authority.len());
    format!(
        r#"(module
            (import "{types}" "[constructor]fields" (func $fields (result i32)))
            (import "{types}" "[constructor]outgoing-request" (func $new (param i32) (result i32)))
            (import "{types}" "[method]outgoing-request.set-scheme"
                (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
            (import "{types}" "[method]outgoing-request.set-authority"
                (func $authority (param i32 i32 i32 i32) (result i32)))
            (import "{types}" "[method]outgoing-request.set-path-with-query"
                (func $path (param i32 i32 i32 i32) (result i32)))
            (import "wasi:http/outgoing-handler@0.2.0" "handle"
                (func $handle (param i32 i32 i32 i32)))
            (import "{types}" "[method]future-incoming-response.subscribe"
                (func $subscribe (param i32) (result i32)))
            (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
            (import "{types}" "[method]future-incoming-response.get" (func $get (param i32 i32)))
            (import "{types}" "[method]incoming-response.status" (func $status (param i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
            (data (i32.const 8) "/")
            (data (i32.const 16) "{authority}")
            (func (export "run") (result i32)
                (local $request i32) (local $answer i32)
                (local.set $request (call $new (call $fields)))
                (drop (call $scheme (local.get $request)
                    (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
                (drop (call $authority (local.get $request)
                    (i32.const 1) (i32.const 16) (i32.const {length})))
                (drop (call $path (local.get $request)
                    (i32.const 1) (i32.const 8) (i32.const 1)))
                (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 1024))
                (if (i32.load8_u (i32.const 1024)) (then
                    (return (i32.add (i32.const 2000) (i32.load8_u (i32.const 1032))))))
                (local.set $answer (i32.load (i32.const 1032)))
                (call $block (call $subscribe (local.get $answer)))
                (call $get (local.get $answer) (i32.const 2048))
                (if (i32.load8_u (i32.const 2064)) (then
                    (return (i32.add (i32.const 1000) (i32.load8_u (i32.const 2072))))))
                (call $status (i32.load (i32.const 2072)))))"#
    )
}

/// The same by 0.3's functions.
fn http_p3(authority: &str) -> String {
    let (types, length) = ("wasi:http/types@0.3.0", authority.len());
    format!(
        r#"(module
            (import "{types}" "[constructor]fields" (func $fields (result i32)))
            (import "{types}" "[future-new-1][static]request.new" (func $trailers (result i64)))
            (import "{types}" "[static]request.new"
                (func $new (param i32 i32 i32 i32 i32 i32 i32)))
            (import "{types}" "[method]request.set-scheme"
                (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
            (import "{types}" "[method]request.set-authority"
                (func $authority (param i32 i32 i32 i32) (result i32)))
            (import "{types}" "[method]request.set-path-with-query"
                (func $path (param i32 i32 i32 i32) (result i32)))
            (import "wasi:http/client@0.3.0" "send" (func $send (param i32 i32)))
            (import "{types}" "[method]response.get-status-code"
                (func $status (param i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
            (data (i32.const 8) "/")
            (data (i32.const 16) "{authority}")
            (func (export "run") (result i32)
                (local $request i32)
                (call $new (call $fields) (i32.const 0) (i32.const 0)
                    (i32.wrap_i64 (call $trailers)) (i32.const 0) (i32.const 0) (i32.const 1024))
                (local.set $request (i32.load (i32.const 1024)))
                (drop (call $scheme (local.get $request)
                    (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
                (drop (call $authority (local.get $request)
                    (i32.const 1) (i32.const 16) (i32.const {length})))
                (drop (call $path (local.get $request)
                    (i32.const 1) (i32.const 8) (i32.const 1)))
                (call $send (local.get $request) (i32.const 2048))
                (if (i32.load8_u (i32.const 2048)) (then
                    (return (i32.add (i32.const 1000) (i32.load8_u (i32.const 2056))))))
                (call $status (i32.load (i32.const 2056)))))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_of_both_versions_send_http() {
    let address = web(Duration::ZERO).await.to_string();
    let packages = include_str!("interfaces/wasi-http.wit");
    let world = |imports: &str, run: &str| {
        format!("package test:guest; world guest {{ {imports} export run: {run}; }}\n{packages}")
    };
    let p2 = component(
        &world("import wasi:http/outgoing-handler@0.2.0;", "func() -> u32"),
        &http_p2(&address),
    );
    let p3 = component(
        &world("import wasi:http/client@0.3.0;", "async func() -> u32"),
        &http_p3(&address),
    );
    for component in [&p2, &p3] {
        let ran = http_guest(&address, "").run(component).await;
        assert_eq!((ran.answer, ran.trap), (200, None));
        let ran = http_guest("api.example.com:443", "").run(component).await;
        assert_eq!((ran.answer, ran.trap), (1015, None), "HTTP-request-denied");
        let ran = http_guest(&address, "sockets: 0").run(component).await;
        assert_eq!((ran.answer, ran.trap), (1011, None), "connection-limit-reached");
        let ran = http_guest(&address, "egress: 10").run(component).await;
        assert_eq!(ran.exceeded.unwrap().limit, LimitKind::Egress);
    }
}

/// Connects by 0.3's functions, sends `count` bytes, and gives them time to go out.
fn tcp_p3(port: u16, count: usize) -> String {
    let types = "wasi:sockets/types@0.3.0";
    let zeros = "(i32.const 0) ".repeat(6);
    format!(
        r#"(module
            (import "{types}" "[static]tcp-socket.create" (func $create (param i32 i32)))
            (import "{types}" "[method]tcp-socket.connect" (func $connect
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "{types}" "[stream-new-0][method]tcp-socket.send" (func $stream (result i64)))
            (import "{types}" "[async-lower][stream-write-0][method]tcp-socket.send"
                (func $write (param i32 i32 i32) (result i32)))
            (import "{types}" "[method]tcp-socket.send"
                (func $send (param i32 i32) (result i32)))
            (import "wasi:clocks/monotonic-clock@0.3.0" "wait-for" (func $wait (param i64)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
            (func (export "run") (result i32)
                (local $socket i32) (local $ends i64)
                (call $create (i32.const 0) (i32.const 32))
                (local.set $socket (i32.load (i32.const 36)))
                (call $connect (local.get $socket)
                    (i32.const 0) (i32.const {port})
                    (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
                    {zeros} (i32.const 64))
                (if (i32.load8_u (i32.const 64)) (then (return (i32.const 1000))))
                (local.set $ends (call $stream))
                (drop (call $send (local.get $socket) (i32.wrap_i64 (local.get $ends))))
                (drop (call $write
                    (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32)))
                    (i32.const 1024) (i32.const {count})))
                (call $wait (i64.const 50000000))
                (i32.const 200)))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_of_0_3_pay_for_what_they_send() {
    let echo = Echo::start().await;
    let packages = include_str!("interfaces/wasi-0.3.wit");
    let imports = "import wasi:sockets/types@0.3.0; import wasi:clocks/monotonic-clock@0.3.0;";
    let world = format!(
        "package test:guest; world guest {{ {imports} export run: async func() -> u32; }}\n{packages}"
    );
    let guest = Guest::new(&tcp_spec(&echo.address.to_string(), "egress: 100"));
    let ran = guest.run(&component(&world, &tcp_p3(echo.address.port(), 100))).await;
    assert_eq!((ran.answer, ran.trap, ran.exceeded), (200, None, None));
    while echo.bytes() < 100 {
        tokio::task::yield_now().await;
    }
    let ran = guest.run(&component(&world, &tcp_p3(echo.address.port(), 101))).await;
    assert_eq!(ran.limit.unwrap().limit, LimitKind::Egress);
    assert_eq!(echo.bytes(), 100);
}

/// Makes requests until it may not, each with a header of `header` bytes; of the first, answers
/// whether an authority and a path of so many bytes were refused (1 and 10).
fn hoarder(header: usize, authority: usize, path: usize) -> String {
    let types = "wasi:http/types@0.2.0";
    format!(
        r#"(module
            (import "{types}" "[constructor]fields" (func $fields (result i32)))
            (import "{types}" "[method]fields.append"
                (func $append (param i32 i32 i32 i32 i32 i32)))
            (import "{types}" "[constructor]outgoing-request" (func $new (param i32) (result i32)))
            (import "{types}" "[method]outgoing-request.set-authority"
                (func $authority (param i32 i32 i32 i32) (result i32)))
            (import "{types}" "[method]outgoing-request.set-path-with-query"
                (func $path (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
            (data (i32.const 8) "k")
            (func $make (result i32)
                (local $fields i32)
                (local.set $fields (call $fields))
                (call $append (local.get $fields) (i32.const 8) (i32.const 1)
                    (i32.const 65536) (i32.const {header}) (i32.const 1024))
                (call $new (local.get $fields)))
            (func (export "run") (result i32)
                (local $request i32)
                (memory.fill (i32.const 65536) (i32.const 0x78) (i32.const 65536))
                (i32.store8 (i32.const 65536) (i32.const 0x2f))
                (local.set $request (call $make))
                (if (i32.eqz (i32.const {authority})) (then
                    (loop $more (drop (call $make)) (br $more))))
                (i32.add
                    (call $authority (local.get $request)
                        (i32.const 1) (i32.const 65537) (i32.const {authority}))
                    (i32.mul (i32.const 10) (call $path (local.get $request)
                        (i32.const 1) (i32.const 65536) (i32.const {path}))))))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_handles_hold_is_bounded() {
    let packages = "package wasi:http@0.2.0 { interface types {
        variant header-error { invalid-syntax, forbidden, immutable }
        resource fields {
            constructor();
            append: func(name: string, value: list<u8>) -> result<_, header-error>;
        }
        resource outgoing-request {
            constructor(headers: fields);
            set-authority: func(authority: option<string>) -> result;
            set-path-with-query: func(path-with-query: option<string>) -> result;
        } } }";
    let wit = format!(
        "package test:guest; world guest {{ import wasi:http/types@0.2.0; export run: func() -> u32; }}\n{packages}"
    );
    let run = async |limits: &str, header, authority, path| {
        let component = component(&wit, &hoarder(header, authority, path));
        Guest::new(&spec(&format!("limits: {{{limits}}}"))).run(&component).await
    };
    // As many as there are handles, of 8 KiB each.
    let ran = run("", 8_000, 0, 0).await;
    assert_eq!(
        ran.limit.map(|reached| (reached.limit, reached.allowed)),
        Some((LimitKind::Handles, 1_000))
    );
    let ran = run("", 9_000, 0, 0).await;
    assert!(ran.trap.is_some() && ran.limit.is_none());
    // Of many handles each holds less.
    let ran = run("handles: 8192", 900, 0, 0).await;
    assert_eq!(ran.limit.map(|reached| reached.limit), Some(LimitKind::Handles));
    let ran = run("handles: 8192", 2_000, 0, 0).await;
    assert!(ran.trap.is_some() && ran.limit.is_none());
    for (authority, path, refused) in [(1_000, 8_000, 0), (2_000, 8_000, 1), (1_000, 9_000, 10)] {
        let ran = run("", 1, authority, path).await;
        assert_eq!((ran.answer, ran.trap), (refused, None));
    }
}
