//! What all instances of a module may do together in the network, over time.

use std::time::{Duration, Instant};

use roadstead_domain::{ByteRate, LimitKind};
use wasmtime_wasi_http::RequestOptions;

use super::{
    harness::{Guest, probe, spec, tcp_spec},
    network::{http_guest, request},
    servers::{Echo, web},
};
use crate::{
    Offers,
    capability::{HasCapabilities as _, Shares},
};

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_a_modules_versions_are_limited_together() {
    let mut allowed = spec("limits: {sockets: 16}");
    allowed.quota.connections = 3;
    let (offers, shares) = (Offers::default(), Shares::default());
    let version = || Guest::sharing(&allowed, &offers, &shares).unwrap();
    let (old, new) = (version(), version());
    let (mut first, mut second) = (old.store(), new.store());
    let places: Vec<_> =
        std::iter::from_fn(|| first.data_mut().capabilities().network.admit()).take(2).collect();
    let last = second.data_mut().capabilities().network.admit();
    assert!(places.len() == 2 && last.is_some());
    for store in [&mut first, &mut second] {
        let capabilities = store.data_mut().capabilities();
        assert!(capabilities.network.admit().is_none());
        let limit = capabilities.limit_reached().unwrap();
        assert_eq!((limit.limit, limit.allowed), (LimitKind::Connections, 3));
    }
    drop(places);
    assert!(second.data_mut().capabilities().network.admit().is_some());
    let other = Guest::sharing(&allowed, &offers, &Shares::default()).unwrap();
    assert!(other.store().data_mut().capabilities().network.admit().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_after_the_modules_last_connection_is_put_down_to_its_quota() {
    let echo = Echo::start().await;
    let mut spec = tcp_spec(&echo.address.to_string(), "");
    spec.quota.connections = 2;
    let ran = probe(spec, &[&format!("connect 5 {}", echo.address), "panic"]).await;
    assert_eq!(ran.lines[0], "connect 2");
    let limit = ran.limit.unwrap();
    assert_eq!((limit.limit, limit.allowed), (LimitKind::Connections, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_goes_out_at_the_rate_of_the_module() {
    let echo = Echo::start().await;
    let address = echo.address;
    let mut slow = tcp_spec(&address.to_string(), "");
    slow.quota.egress = ByteRate(20_000);
    // One second's worth in advance; the third piece goes out two seconds after the first.
    let started = Instant::now();
    let send = format!("send {address} 30000");
    let ran = probe(slow, &[&send, &send, &send]).await;
    assert_eq!((ran.lines, ran.trap), (vec!["send done".to_owned(); 3], None));
    assert!(started.elapsed() > Duration::from_millis(1_500), "{:?}", started.elapsed());
    let web = web(Duration::ZERO).await;
    let mut slow = spec(&format!("capabilities: {{network: {{http: ['{web}']}}}}"));
    slow.quota.egress = ByteRate(1_000);
    let guest = Guest::new(&slow);
    let uri = format!("http://{web}/{}", "x".repeat(2_500));
    let started = Instant::now();
    for _ in 0..2 {
        request(&guest, None, &uri, b"", RequestOptions::default()).await.unwrap();
    }
    assert!(started.elapsed() > Duration::from_millis(1_000), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_looks_up_so_many_names_and_the_next_one_as_many() {
    let guest = http_guest("nowhere.invalid:80", "");
    let mut store = guest.store();
    let network = &mut store.data_mut().capabilities().network;
    assert_eq!((0..1000).take_while(|_| network.may_look_up()).count(), 256);
    network.begin_call(None);
    assert!(network.may_look_up());
}
