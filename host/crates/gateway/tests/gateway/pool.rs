//! Two hosts of a pool: a session of one, called through the other.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::Uri;
use roadstead_domain::HostName;
use roadstead_engine::SessionKey;
use roadstead_gateway::Monitored as _;
use roadstead_gateway::{
    Forwarded, GatewayConfig, Hosts, PoolConfig, PoolKey, PoolTls, Refused, Tls,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tonic::{Code, Request, Streaming, client::Grpc, metadata::MetadataValue};

use crate::{
    guest::number,
    life::certificate,
    sessions::{self, Client},
    streams,
    support::{Host, Raw, call_with, failure},
};

const NEXT: &str = "/demo.count.ops.v0_1.OpsCounter/Next";

/// Where hosts are, as the test has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses(Arc<Mutex<BTreeMap<HostName, Uri>>>);

impl Addresses {
    pub(crate) fn set(&self, name: &str, address: impl std::fmt::Display) {
        let uri = address.to_string().parse().unwrap();
        self.0.lock().unwrap().insert(name.parse().unwrap(), uri);
    }
}

impl Hosts for Addresses {
    fn find(&self, host: &HostName) -> Option<Uri> {
        self.0.lock().unwrap().find(host)
    }

    fn all(&self) -> Vec<(HostName, Uri)> {
        self.0.lock().unwrap().all()
    }
}

pub(crate) fn key() -> PoolKey {
    PoolKey::new("pool", b"a secret that only hosts have")
}

/// A host of the pool, with the module that counts.
async fn member(name: &str, hosts: &Addresses, tls: Option<(Tls, PoolTls)>) -> Host {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (own, peers) = tls.unzip();
    let pool = PoolConfig {
        host: name.parse().unwrap(),
        key: key(),
        hosts: Arc::new(hosts.clone()),
        tls: peers,
    };
    let secret = SessionKey::new(pool.key.secret("handles"), pool.host.clone());
    let config = GatewayConfig { pool: Some(pool), tls: own, ..GatewayConfig::default() };
    let host = Host::of(config, secret).await;
    // By name, for its certificate.
    hosts.set(name, format!("{scheme}://localhost:{}", host.address.port()));
    host
}

struct Two {
    hosts: Addresses,
    one: Host,
    two: Host,
    at_one: Client,
    at_two: Client,
}

impl Two {
    async fn new() -> Self {
        let hosts = Addresses::default();
        let (one, two) = (member("one", &hosts, None).await, member("two", &hosts, None).await);
        for host in [&one, &two] {
            sessions::publish(host, "count", "0.1.0").await;
        }
        let (at_one, at_two) = (Client(one.channel().await), Client(two.channel().await));
        Self { hosts, one, two, at_one, at_two }
    }
}

fn lost() -> (Code, String) {
    (Code::NotFound, "SESSION_LOST".to_owned())
}

fn forged() -> (Code, String) {
    (Code::PermissionDenied, "FORGED_METADATA".to_owned())
}

#[tokio::test]
async fn a_session_is_called_through_any_host_of_its_pool() {
    let Two { one, two, at_one, at_two, .. } = Two::new().await;
    let handle = at_one.create().await;
    let said = |n| (n, "count@0.1.0".to_owned(), "session".to_owned());
    assert_eq!(at_one.next(&handle).await, said(1));
    assert_eq!(at_two.next(&handle).await, said(2));
    assert_eq!(at_one.next(&handle).await, said(3));
    assert_eq!((one.stats("count").sessions, two.stats("count").sessions), (1, 0));
    assert_eq!(two.counters.forwarded(Forwarded::Answered), 1);
    assert_eq!((one.counters.read().arrived, two.counters.read().arrived), (1, 0));
    // A session of its own is no one else's business.
    let own = at_two.create().await;
    assert_eq!(at_two.next(&own).await, said(1));
    assert_eq!(two.counters.forwarded(Forwarded::Answered), 1);
    // Faults come as they are.
    at_two.call("Drop", &handle).await.unwrap();
    let dropped = failure(at_two.call("Next", &handle).await);
    assert_eq!(dropped, (Code::NotFound, "NO_SUCH_HANDLE".to_owned()));
    assert_eq!(one.stats("count").sessions, 0);
    let text = two.monitor.metrics().unwrap();
    assert!(text.contains("roadstead_calls_forwarded_total{end=\"answered\"} 3"), "{text}");
    assert!(text.contains("roadstead_calls_arrived_total 0"), "{text}");
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_host_that_is_gone_or_unknown_is_a_lost_session() {
    let Two { hosts, one, two, at_one, at_two } = Two::new().await;
    let handle = at_one.create().await;
    assert_eq!(at_two.next(&handle).await.0, 1);
    let address = one.address;
    one.stop().await;
    assert_eq!(failure(at_two.call("Next", &handle).await), lost());
    // Something else is there by now.
    let other = TcpListener::bind(address).await.unwrap();
    let closing = tokio::spawn(async move { while other.accept().await.is_ok() {} });
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(failure(at_two.call("Next", &handle).await), lost());
    closing.abort();
    hosts.0.lock().unwrap().remove(&"one".parse().unwrap());
    assert_eq!(failure(at_two.call("Next", &handle).await), lost());
    // Another life of the host.
    let one = member("one", &hosts, None).await;
    sessions::publish(&one, "count", "0.1.0").await;
    let status = at_two.call("Next", &handle).await.unwrap_err();
    assert!(status.message().contains("anew"), "{status}");
    assert_eq!(failure::<()>(Err(status)), lost());
    assert_eq!(two.counters.forwarded(Forwarded::Lost), 3);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_call_is_never_forwarded_twice() {
    let Two { hosts, one, two, at_one, at_two } = Two::new().await;
    let handle = at_one.create().await;
    // Each host is taken for the other.
    hosts.set("one", format!("http://{}", two.address));
    hosts.set("two", format!("http://{}", one.address));
    // The second host gets its own call back, which is for another.
    assert_eq!(failure(at_two.call("Next", &handle).await), forged());
    assert_eq!(two.counters.refused(Refused::Forged), 1);
    assert_eq!(two.counters.read().forwarded[0], ("answered", 1));
    assert_eq!(one.counters.read().arrived + two.counters.read().arrived, 0);
    // A host of the right name that has not made the session.
    let namesake = member("one", &hosts, None).await;
    sessions::publish(&namesake, "count", "0.1.0").await;
    assert_eq!(failure(at_two.call("Next", &handle).await), lost());
    assert_eq!(namesake.counters.read().arrived, 1);
    for host in [one, two, namesake] {
        host.stop().await;
    }
}

#[tokio::test]
async fn clients_cannot_say_that_a_call_was_forwarded() {
    let Two { one, two, at_one, at_two, .. } = Two::new().await;
    let handle = at_one.create().await;
    for value in [&b""[..], b"forged", &[7; 100]] {
        for client in [&at_one, &at_two] {
            let mut request = Request::new(handle.clone());
            let value = MetadataValue::from_bytes(value);
            request.metadata_mut().insert_bin("roadstead-forwarded-bin", value);
            let answer = call_with(Grpc::new(client.0.clone()), NEXT, request).await;
            assert_eq!(failure(answer), forged());
        }
    }
    assert_eq!(one.counters.refused(Refused::Forged), 3);
    // Without a pool there is nothing to forge.
    let alone = Host::with_guest().await;
    let mut request = Request::new(Bytes::new());
    let value = MetadataValue::from_bytes(b"forged");
    request.metadata_mut().insert_bin("roadstead-forwarded-bin", value);
    let client = Grpc::new(alone.channel().await);
    assert!(call_with(client, &crate::guest::path("Add"), request).await.is_ok());
    for host in [one, two, alone] {
        host.stop().await;
    }
}

#[tokio::test]
async fn changed_handles_and_those_of_other_pools_lead_nowhere() {
    let Two { hosts, one, two, at_one, at_two } = Two::new().await;
    let handle = at_one.create().await;
    let nowhere = (Code::NotFound, "NO_SUCH_HANDLE".to_owned());
    for at in [10, 30, handle.len() - 1] {
        let mut changed = handle.to_vec();
        changed[at] ^= 1;
        assert_eq!(failure(at_two.call("Next", &changed).await), nowhere, "{at}");
    }
    let stranger = PoolConfig {
        host: "three".parse().unwrap(),
        key: PoolKey::new("other pool", b"a secret that only hosts have"),
        hosts: Arc::new(hosts.clone()),
        tls: None,
    };
    let secret = SessionKey::new(stranger.key.secret("handles"), stranger.host.clone());
    let config = GatewayConfig { pool: Some(stranger), ..GatewayConfig::default() };
    let three = Host::of(config, secret).await;
    sessions::publish(&three, "count", "0.1.0").await;
    let at_three = Client(three.channel().await);
    assert_eq!(failure(at_three.call("Next", &handle).await), nowhere);
    assert_eq!(two.counters.read().forwarded.iter().map(|(_, count)| count).sum::<u64>(), 0);
    for host in [one, two, three] {
        host.stop().await;
    }
}

#[tokio::test]
async fn a_forwarded_call_keeps_its_trace() {
    let Two { one, two, at_one, at_two, .. } = Two::new().await;
    let handle = at_one.create().await;
    at_one.call("Drop", &handle).await.unwrap();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut request = Request::new(handle);
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    let status = call_with(Grpc::new(at_two.0.clone()), NEXT, request).await.unwrap_err();
    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert_eq!(info.metadata.get("trace_id").map(String::as_str), Some(trace));
    assert_eq!(info.reason, "NO_SUCH_HANDLE");
    assert_eq!(two.counters.forwarded(Forwarded::Answered), 1);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn hosts_call_each_other_over_tls() {
    let (pem, tls) = certificate();
    let (_, stranger) = certificate();
    let peers = PoolTls { authority: pem.clone().into_bytes(), own: Some(tls.clone()) };
    let hosts = Addresses::default();
    let one = member("one", &hosts, Some((tls.clone(), peers.clone()))).await;
    let two = member("two", &hosts, Some((tls, peers.clone()))).await;
    let (at_one, at_two) = (one.secure(&pem).await, two.secure(&pem).await);
    for channel in [&at_one, &at_two] {
        sessions::publish_over(channel.clone(), "count", "0.1.0").await;
    }
    let handle = Client(at_one).create().await;
    let at_two = Client(at_two);
    assert_eq!(at_two.next(&handle).await.0, 1);
    // Nobody vouches for this one.
    let false_one = member("one", &hosts, Some((stranger, peers))).await;
    assert_eq!(failure(at_two.call("Next", &handle).await), lost());
    assert_eq!(false_one.counters.read().arrived, 0);
    for host in [one, two, false_one] {
        host.stop().await;
    }
}

#[tokio::test]
async fn json_finds_sessions_too() {
    let Two { one, two, at_one, .. } = Two::new().await;
    let handle = at_one.create().await;
    // As protobuf over Connect: a response is a request with its handle.
    let post = async |message: Bytes| {
        let request = http::Request::post(format!("http://{}{NEXT}", two.address))
            .header("host", "localhost")
            .header("content-type", "application/proto")
            .body(http_body_util::Full::new(message))
            .unwrap();
        let tcp = TcpStream::connect(two.address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(tcp);
        let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let (head, body) = client.send_request(request).await.unwrap().into_parts();
        (head, http_body_util::BodyExt::collect(body).await.unwrap().to_bytes())
    };
    let (head, message) = post(handle.clone()).await;
    assert_eq!((head.status.as_u16(), &message[..]), (200, &[8, 1][..]));
    assert_eq!(head.headers["trailer-roadstead-instance"], "session");
    at_one.call("Drop", &handle).await.unwrap();
    let (head, text) = post(handle).await;
    assert_eq!(head.status.as_u16(), 404);
    assert!(String::from_utf8_lossy(&text).contains("NO_SUCH_HANDLE"));
    one.stop().await;
    two.stop().await;
}

const STREAMS: &str = "/hostile.streams.streams.v0_1.StreamsCounter";

async fn stream(client: &Client, method: &str, message: Vec<u8>) -> Streaming<Bytes> {
    stream_of(client, method, Request::new(message.into())).await
}

async fn stream_of(client: &Client, method: &str, request: Request<Bytes>) -> Streaming<Bytes> {
    let mut client = Grpc::new(client.0.clone());
    client.ready().await.unwrap();
    let path = format!("{STREAMS}/{method}").parse().unwrap();
    client.server_streaming(request, path, Raw).await.unwrap().into_inner()
}

async fn count(client: &Client, method: &str, message: &[u8]) -> Bytes {
    let request = Request::new(Bytes::copy_from_slice(message));
    let path = format!("{STREAMS}/{method}");
    call_with(Grpc::new(client.0.clone()), &path, request).await.unwrap().into_inner()
}

/// A way to a host that can be cut.
async fn way(to: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let open = async move {
        let mut ways = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            ways.spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                copy_bidirectional(&mut near, &mut far).await.ok();
            });
        }
    };
    (address, tokio::spawn(open))
}

#[tokio::test]
async fn streams_of_a_session_come_through_any_host() {
    let hosts = Addresses::default();
    let (one, two) = (member("one", &hosts, None).await, member("two", &hosts, None).await);
    for host in [&one, &two] {
        streams::publish(host, "hostile-streams", "limits: {memory: 64Mi}").await;
    }
    let (at_one, at_two) = (Client(one.channel().await), Client(two.channel().await));
    let handle = count(&at_one, "Create", &number(5)).await;
    let follow = |handle: &[u8], count: u8| [handle, &[16, count]].concat();
    let mut numbers = stream(&at_two, "Follow", follow(&handle, 3)).await;
    for expected in [5, 6, 7] {
        assert_eq!(numbers.message().await.unwrap().unwrap()[..], [8, expected]);
    }
    assert_eq!(numbers.message().await.unwrap(), None);
    let trailers = numbers.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("roadstead-instance").unwrap(), "session");
    assert_eq!(count(&at_two, "Next", &handle).await[..], [8, 8]);
    // Who reads no more is heard of on the other host: the session takes other calls.
    let mut endless = stream(&at_two, "Follow", handle.to_vec()).await;
    assert!(endless.message().await.unwrap().is_some());
    drop(endless);
    assert!(count(&at_one, "Next", &handle).await[1] > 8);
    // The other host ends it at the caller's deadline.
    let brief = count(&at_one, "Create", &number(1)).await;
    let mut request = Request::new(brief);
    request.set_timeout(Duration::from_secs(2));
    let mut late = stream_of(&at_two, "Stall", request).await;
    assert!(late.message().await.unwrap().is_some());
    let deadline = (Code::DeadlineExceeded, "DEADLINE".to_owned());
    assert_eq!(failure(late.message().await), deadline);
    // The host ends within a stream.
    let (address, cut) = way(one.address).await;
    hosts.set("one", format!("http://{address}"));
    let mut cut_off = stream(&at_two, "Stall", handle.to_vec()).await;
    assert!(cut_off.message().await.unwrap().is_some());
    cut.abort();
    assert_eq!(failure(cut_off.message().await), lost());
    let gone = failure(at_two.call_at(&format!("{STREAMS}/Next"), &handle).await);
    assert_eq!(gone, lost());
    one.stop().await;
    two.stop().await;
}
