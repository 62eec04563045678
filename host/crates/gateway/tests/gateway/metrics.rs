//! The metrics' own port, and the trace by which a caller's failure is found in the log.

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use roadstead_gateway::MetricsListener;
use tokio::net::TcpStream;
use tonic_types::StatusExt as _;

use crate::{
    guest::path,
    raw::{chunks, connect, framed, request},
    support::{Host, call, call_with},
};

async fn get(address: std::net::SocketAddr, path: &str) -> (StatusCode, String) {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost");
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let (parts, body) = client.send_request(request).await.unwrap().into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    (parts.status, String::from_utf8(text.to_vec()).unwrap())
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn what_happened_is_counted_and_callers_make_no_series() {
    let host = Host::with_guest().await;
    let any = "127.0.0.1:0".parse().unwrap();
    let metrics = MetricsListener::bind(any, host.monitor.clone()).await.unwrap();
    let address = metrics.local_addr();
    let serving = tokio::spawn(metrics.serve());
    let channel = host.channel().await;
    call(&channel, "Add", vec![]).await.unwrap();
    call(&channel, "Trap", vec![]).await.unwrap_err();
    let mut foreign = request("Add", chunks(vec![framed(&[])]));
    foreign.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    connect(&host).await.send_request(foreign).await.unwrap();
    for odd in ["/no.Such/Thing", "/evil.Label/X"] {
        let client = tonic::client::Grpc::new(channel.clone());
        let request = tonic::Request::new(bytes::Bytes::new());
        call_with(client, odd, request).await.unwrap_err();
    }
    let guest = r#"{namespace="default",module="guest",version="0.1.0""#;
    // An answer may arrive before its call has given its place back.
    host.until(|stats| stats.running == 0).await;
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    for (series, expected) in [
        (format!("roadstead_module_calls_total{guest}}}"), 2.0),
        (format!(r#"roadstead_module_faults_total{guest},reason="GUEST_TRAP"}}"#), 1.0),
        (format!("roadstead_module_running{guest}}}"), 0.0),
        (format!("roadstead_module_queued{guest}}}"), 0.0),
        (format!("roadstead_module_breaker_open{guest}}}"), 0.0),
        (
            r#"roadstead_module_cpu_guaranteed_millicores{namespace="default",module="guest"}"#
                .to_owned(),
            0.0,
        ),
        ("roadstead_compile_workers".to_owned(), 0.0),
        (r#"roadstead_compile_tasks_total{end="limit"}"#.to_owned(), 0.0),
        (r#"roadstead_requests_refused_total{reason="foreign"}"#.to_owned(), 1.0),
        (r#"roadstead_connections_ended_total{reason="flood"}"#.to_owned(), 0.0),
        ("roadstead_calls_total".to_owned(), 2.0),
        ("roadstead_uploads_total".to_owned(), 1.0),
        ("roadstead_panics_total".to_owned(), 0.0),
        ("roadstead_ready".to_owned(), 1.0),
        ("roadstead_instance_slots_limit".to_owned(), 100.0),
    ] {
        assert_eq!(value(&text, &series), Some(expected), "{series}\n{text}");
    }
    assert!(value(&text, r#"roadstead_compile_tasks_total{end="done"}"#).unwrap() >= 2.0);
    assert!(value(&text, &format!("roadstead_module_fuel_total{guest}}}")).unwrap() > 0.0);
    let module = r#"{namespace="default",module="guest"}"#;
    assert!(value(&text, &format!("roadstead_module_cpu_seconds_total{module}")).unwrap() > 0.0);
    assert!(!text.contains("Such") && !text.contains("evil"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    for (path, expected) in [("/healthz", 200), ("/readyz", 200), ("/", 404)] {
        assert_eq!(get(address, path).await.0, expected, "{path}");
    }
    drop(channel);
    host.stop().await;
    // Whoever watches is told until the process ends.
    assert_eq!(get(address, "/readyz").await.0, 503);
    assert_eq!(get(address, "/healthz").await.0, 200);
    serving.abort();
}

#[tokio::test]
async fn a_failure_names_the_trace_that_its_caller_sent_or_one_of_its_own() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for (method, parent, named) in [
        ("Trap", Some(sent.as_str()), true),
        ("Nothing", Some(&sent), true),
        ("Trap", Some("00-zz-00-01"), false),
        ("Trap", None, false),
    ] {
        let mut request = tonic::Request::new(bytes::Bytes::new());
        if let Some(parent) = parent {
            request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        }
        let client = tonic::client::Grpc::new(channel.clone());
        let status = call_with(client, &path(method), request).await.unwrap_err();
        let info = status.get_details_error_info().unwrap();
        let trace = &info.metadata["trace_id"];
        assert_eq!(trace == TRACE, named, "{trace}");
        assert_eq!(trace.len(), 32);
        assert!(trace.bytes().all(|byte| byte.is_ascii_hexdigit()) && *trace != "0".repeat(32));
    }
    drop(channel);
    host.stop().await;
}
