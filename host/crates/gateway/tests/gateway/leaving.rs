//! Connections that must go, by their age or with their host: no call is lost on the way.

use std::time::Duration;

use http::Request as HttpRequest;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use roadstead_gateway::Monitored as _;
use roadstead_gateway::{Drained, Ended, GatewayConfig, MetricsListener};
use roadstead_proto::v1::{WatchModulesRequest, module_service_client::ModuleServiceClient};
use tokio::{net::TcpStream, time::timeout};
use tonic::{Code, Request};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use crate::{
    guest::number,
    raw::{chunks, connect, framed, request, whole},
    sessions::{self, Client},
    streams::{self, Reading, until},
    support::{Host, PATIENCE, call, failure},
};

const MOMENT: Duration = Duration::from_millis(100);

fn aged(age: Duration, grace: Duration) -> GatewayConfig {
    GatewayConfig { connection_age: Some(age), connection_grace: grace, ..GatewayConfig::default() }
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().unwrap().reason
}

/// Calls again and again, and connects anew only where its connection takes no more requests.
async fn calls(host: &Host, until: impl Fn() -> bool) -> usize {
    let mut client = connect(host).await;
    let mut connections = 1;
    while !until() {
        if client.ready().await.is_err() {
            client = connect(host).await;
            connections += 1;
        }
        let body = || chunks(vec![framed(&[8, 1, 16, 2])]);
        let mut asked = client.try_send_request(request("Add", body())).await;
        while let Err(mut error) = asked {
            // It was not sent. What was sent must be answered.
            let again = error.take_message().expect("a request that was sent is answered");
            client = connect(host).await;
            connections += 1;
            asked = client.try_send_request(again).await;
        }
        let (_, message, trailers) = whole(asked.unwrap()).await;
        assert_eq!((&message[5..], &trailers["grpc-status"]), (&[8, 3][..], &"0".parse().unwrap()));
    }
    connections
}

#[tokio::test]
async fn connections_that_grow_old_lose_no_call() {
    let host = Host::with(aged(MOMENT, PATIENCE)).await;
    host.push("guest", "").await;
    let enough = || host.counters.ended(Ended::Age) > 12;
    let all = timeout(PATIENCE, async {
        tokio::join!(calls(&host, enough), calls(&host, enough), calls(&host, enough))
    });
    let (one, two, three) = all.await.unwrap();
    assert!(one > 1 && two > 1 && three > 1, "{one} {two} {three}");
    for why in [Ended::Broken, Ended::Idle, Ended::Flood] {
        assert_eq!(host.counters.ended(why), 0, "{why:?}");
    }
    let text = host.monitor.metrics().unwrap();
    assert!(text.contains("roadstead_connections_ended_total{reason=\"age\"}"), "{text}");
    host.stop().await;
}

#[tokio::test]
async fn streams_go_on_within_the_grace_and_hear_why_they_end_beyond() {
    let host = Host::with(aged(MOMENT, PATIENCE * 10)).await;
    streams::publish(&host, "csv-reader", "").await;
    let mut reading = Reading::begin(&host).await;
    reading.write("a,b\n").await;
    reading.row().await;
    tokio::time::sleep(MOMENT * 3).await;
    let before = host.counters.ended(Ended::Age);
    reading.write("1,2\n").await;
    assert_eq!(reading.row().await.line, 2);
    reading.send = None;
    assert_eq!(reading.next().await.unwrap(), None);
    until(|| host.counters.ended(Ended::Age) > before).await;
    host.stop().await;

    let host = Host::with(aged(MOMENT, MOMENT)).await;
    streams::publish(&host, "csv-reader", "").await;
    let mut reading = Reading::begin(&host).await;
    let ended = timeout(PATIENCE, reading.next()).await.unwrap().unwrap_err();
    assert_eq!((ended.code(), &*reason(&ended)), (Code::Unavailable, "CONNECTION_AGE"));
    assert_eq!(ended.metadata().get("roadstead-module").unwrap(), "csv-reader@0.1.0");
    // The host's own streams, too.
    let mut modules = ModuleServiceClient::new(host.channel().await);
    let mut watch = modules.watch_modules(WatchModulesRequest {}).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    let ended = timeout(PATIENCE, watch.message()).await.unwrap().unwrap_err();
    assert_eq!((ended.code(), &*reason(&ended)), (Code::Unavailable, "CONNECTION_AGE"));
    host.stop().await;
}

#[tokio::test]
async fn a_call_is_answered_however_old_its_connection() {
    let host = Host::with(aged(MOMENT, Duration::from_millis(1))).await;
    host.push("guest", "limits: {fuel_per_call: 9_000_000_000_000, deadline: 1m}").await;
    let channel = host.channel().await;
    let before = host.counters.ended(Ended::Age);
    let rounds = 300_000_000;
    let answered = call(&channel, "Work", number(rounds)).await.unwrap();
    assert_eq!(answered.get_ref(), &number(rounds));
    until(|| host.counters.ended(Ended::Age) > before).await;
    host.stop().await;
}

/// One request over HTTP/1.1; whether the answer is the last.
async fn over_http1(
    client: &mut hyper::client::conn::http1::SendRequest<Empty<bytes::Bytes>>,
) -> bool {
    client.ready().await.unwrap();
    let request = HttpRequest::get("/").header("host", "localhost");
    let request = request.body(Empty::new()).unwrap();
    let (parts, body) = client.send_request(request).await.unwrap().into_parts();
    assert_eq!(parts.status, 405);
    body.collect().await.unwrap();
    parts.headers.get("connection").is_some_and(|value| value == "close")
}

async fn http1(host: &Host) -> hyper::client::conn::http1::SendRequest<Empty<bytes::Bytes>> {
    let io = TokioIo::new(TcpStream::connect(host.address).await.unwrap());
    let (client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn the_last_answer_over_http_1_says_so() {
    let host = Host::with(aged(MOMENT, PATIENCE)).await;
    let mut client = http1(&host).await;
    let asking = async {
        while !over_http1(&mut client).await {
            tokio::time::sleep(MOMENT / 10).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap();
    until(|| host.counters.ended(Ended::Age) == 1).await;
    host.stop().await;
}

async fn health(host: &Host) -> ServingStatus {
    let mut client = HealthClient::new(host.channel().await);
    let request = Request::new(HealthCheckRequest::default());
    client.check(request).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn a_host_that_is_told_to_stop_is_not_ready_but_serves_for_the_grace() {
    let config = GatewayConfig { drain_grace: PATIENCE * 10, ..GatewayConfig::default() };
    let host = Host::with(config).await;
    host.push("guest", "").await;
    let old = host.channel().await;
    let mut watch = HealthClient::new(old.clone());
    let watched = watch.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watched = watched.into_inner();
    let status = watched.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::Serving);
    let mut kept = http1(&host).await;
    assert!(!over_http1(&mut kept).await);
    let (host, stopping) = host.stopping();
    let status = watched.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::NotServing);
    assert!(!host.monitor.ready());
    let any = "127.0.0.1:0".parse().unwrap();
    let metrics = MetricsListener::bind(any, host.monitor.clone()).await.unwrap();
    assert!(host.monitor.metrics().unwrap().contains("roadstead_ready 0"));
    drop(metrics);
    // Those who are connected, and those who come now.
    for channel in [old, host.channel().await] {
        assert!(call(&channel, "Add", vec![]).await.is_ok());
    }
    assert_eq!(health(&host).await, ServingStatus::NotServing);
    assert!(over_http1(&mut kept).await, "the next request goes elsewhere");
    stopping.abort();
}

#[tokio::test]
async fn a_grace_that_is_over_ends_the_host() {
    let config = GatewayConfig { drain_grace: MOMENT, ..GatewayConfig::default() };
    let host = Host::with(config).await;
    let _open = host.channel().await;
    assert_eq!(timeout(PATIENCE, host.stop()).await.unwrap(), Drained::Clean);
}

#[tokio::test]
async fn sessions_may_be_called_while_a_host_drains() {
    let config = GatewayConfig { session_drain: PATIENCE * 10, ..GatewayConfig::default() };
    let host = Host::with(config).await;
    sessions::publish(&host, "count", "0.1.0").await;
    let client = Client(host.channel().await);
    let [one, two] = [client.create().await, client.create().await];
    let (host, stopping) = host.stopping();
    // Whoever was connected is told to go, and finds the host again as long as it has sessions.
    until(|| host.counters.read().open == 0).await;
    for (handle, count) in [(&one, 1), (&one, 2), (&two, 1)] {
        let client = Client(host.channel().await);
        assert_eq!(client.next(handle).await.0, count);
    }
    let client = Client(host.channel().await);
    for handle in [one, two] {
        client.call("Drop", &handle).await.unwrap();
    }
    assert_eq!(timeout(PATIENCE, stopping).await.unwrap().unwrap(), Drained::Clean);
    assert_eq!(host.registry.engine().sessions(), 0);
}

#[tokio::test]
async fn sessions_do_not_hold_a_drain_up_for_longer_than_they_may() {
    let config = GatewayConfig { session_drain: MOMENT, ..GatewayConfig::default() };
    let host = Host::with(config).await;
    sessions::publish(&host, "count", "0.1.0").await;
    let client = Client(host.channel().await);
    let handle = client.create().await;
    let (host, stopping) = host.stopping();
    assert_eq!(timeout(PATIENCE, stopping).await.unwrap().unwrap(), Drained::Clean);
    assert_eq!(host.registry.engine().sessions(), 1);
    host.registry.engine().shutdown().await;
    assert_eq!(host.registry.engine().sessions(), 0);
    assert_eq!(failure(client.call("Next", &handle).await).0, Code::Unavailable);
}
