//! The life of a gateway: TLS, draining, the end.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use http::uri::PathAndQuery;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use roadstead_gateway::{BindError, Drained, Gateway, GatewayConfig, Tls};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Request,
    client::Grpc,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::{
    guest::{number, path},
    support::{Host, PATIENCE, Raw, call},
};

#[tokio::test]
async fn a_drain_fails_no_running_call() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    let rounds = 50_000_000;
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { call(&channel, "Work", number(rounds)).await })
        })
        .collect();
    host.until(|stats| stats.running + stats.queued == 4).await;
    let address = host.address;
    let engine = Arc::clone(host.registry.engine());
    let stopped = host.begin_stop();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().get_ref(), &number(rounds));
    }
    assert_eq!(tokio::time::timeout(PATIENCE, stopped).await.unwrap().unwrap(), Drained::Clean);
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    engine.shutdown().await;
}

#[tokio::test]
async fn a_drain_ends_what_does_not_finish() {
    let config =
        GatewayConfig { drain_timeout: Duration::from_millis(50), ..GatewayConfig::default() };
    let host = Host::with(config).await;
    host.push("guest", "limits: {fuel_per_call: 9_000_000_000_000, deadline: 1h}").await;
    let channel = host.channel().await;
    let spinning = tokio::spawn(async move { call(&channel, "Spin", vec![]).await });
    host.until(|stats| stats.running == 1).await;
    let registry = Arc::clone(&host.registry);
    let stopped = host.begin_stop();
    assert_eq!(tokio::time::timeout(PATIENCE, stopped).await.unwrap().unwrap(), Drained::TimedOut);
    assert!(spinning.await.unwrap().is_err());
    registry.engine().shutdown().await;
}

#[tokio::test]
async fn idle_and_silent_connections_do_not_hold_a_drain_up() {
    let host = Host::with_guest().await;
    let silent = TcpStream::connect(host.address).await.unwrap();
    let mut half = TcpStream::connect(host.address).await.unwrap();
    half.write_all(b"PRI * HT").await.unwrap();
    let mut idle = TcpStream::connect(host.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 512]).await.unwrap() > 0);
    let channel = host.channel().await;
    call(&channel, "Add", vec![]).await.unwrap();
    let stopped = tokio::time::timeout(PATIENCE, host.stop()).await.unwrap();
    assert_eq!(stopped, Drained::Clean);
    drop((silent, half, idle));
}

pub(crate) fn certificate() -> (String, Tls) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let tls = Tls {
        certificates: pem.clone().into_bytes(),
        key: made.signing_key.serialize_pem().into_bytes(),
    };
    (pem, tls)
}

#[tokio::test]
async fn tls_speaks_h2_and_http_1() {
    let (pem, tls) = certificate();
    let host = Host::with(GatewayConfig { tls: Some(tls), ..GatewayConfig::default() }).await;
    let config =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&pem)).domain_name("localhost");
    let uri = format!("https://{}", host.address);
    let channel =
        Channel::from_shared(uri).unwrap().tls_config(config).unwrap().connect().await.unwrap();
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let list = PathAndQuery::from_static("/roadstead.v1.ModuleService/ListModules");
    let listed = client.unary(Request::new(bytes::Bytes::new()), list, Raw).await.unwrap();
    assert!(listed.get_ref().is_empty());

    for (alpn, expected) in [("http/1.1", Some("http/1.1")), ("", None)] {
        let text = over_tls(&host, &pem, alpn, expected).await;
        assert!(text.starts_with("HTTP/1.1 405"), "{text}");
    }
    // Plain text is not answered there.
    let mut plain = TcpStream::connect(host.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    plain.read_to_end(&mut got).await.ok();
    assert!(!got.starts_with(b"HTTP"));
    assert_eq!(host.stop().await, Drained::Clean);
}

/// One GET through TLS with the given ALPN.
async fn over_tls(host: &Host, pem: &str, alpn: &str, expected: Option<&str>) -> String {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    }
    let tcp = TcpStream::connect(host.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), expected.map(str::as_bytes));
    let request =
        format!("GET {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", path("Add"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let host = Host::start().await;
    let registry = Arc::clone(&host.registry);
    let bound = Gateway::bind(host.address, GatewayConfig::default(), registry).await;
    let error = bound.err().unwrap();
    assert!(matches!(error, BindError::Listen { .. }));
    assert!(error.to_string().contains(&host.address.to_string()), "{error}");
    host.stop().await;
}

#[tokio::test]
async fn noise_does_no_harm() {
    let host = Host::with_guest().await;
    let mut runner = TestRunner::deterministic();
    let noise = proptest::collection::vec(0..=255_u8, 0..2000);
    for start in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST / HTTP/1.1\r\n"] {
        for _ in 0..50 {
            let mut tcp = TcpStream::connect(host.address).await.unwrap();
            let noise = noise.new_tree(&mut runner).unwrap().current();
            // The host may hang up before the end.
            tcp.write_all(&[start, &noise].concat()).await.ok();
        }
    }
    let channel = host.channel().await;
    assert!(call(&channel, "Add", vec![]).await.is_ok());
    assert_eq!(host.counters.read().panics, 0);
    host.stop().await;
}

#[tokio::test]
async fn calls_that_were_sent_before_the_end_are_answered_or_refused_never_lost() {
    let host = Host::with_guest().await;
    let channel = host.channel().await;
    let caller = tokio::spawn(async move {
        let mut answered = 0;
        loop {
            match call(&channel, "Add", vec![]).await {
                Ok(_) => answered += 1,
                Err(status) => return (answered, status.code()),
            }
        }
    });
    host.until(|stats| stats.calls > 20).await;
    assert_eq!(host.stop().await, Drained::Clean);
    let (answered, code) = tokio::time::timeout(PATIENCE, caller).await.unwrap().unwrap();
    assert!(answered > 20);
    assert_eq!(code, Code::Unavailable);
}
