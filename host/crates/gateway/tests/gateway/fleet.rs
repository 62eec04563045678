//! What is asked of a whole pool: usage, hosts and logs of three hosts in one process.

use std::{sync::Arc, time::Duration};

use roadstead_gateway::{GatewayConfig, PoolConfig};
use roadstead_proto::v1::{
    HostAnswer, ListHostsRequest, ListUsageRequest, LogLine, ModuleUsage, Scope, StreamLogsRequest,
    StreamLogsResponse, module_service_client::ModuleServiceClient,
};
use tokio::{net::TcpListener, time::timeout};
use tonic::{Request, Streaming, transport::Channel};

use crate::{
    pool::{Addresses, key},
    support::{Host, PATIENCE, call},
};

fn config(name: &str, hosts: &Addresses) -> GatewayConfig {
    let (host, hosts) = (name.parse().unwrap(), Arc::new(hosts.clone()));
    let pool = PoolConfig { host, key: key(), hosts, tls: None };
    GatewayConfig { pool: Some(pool), ..GatewayConfig::default() }
}

/// A host of the pool with the guest.
async fn member(name: &str, hosts: &Addresses) -> Host {
    let host = Host::with(config(name, hosts)).await;
    hosts.set(name, format!("http://{}", host.address));
    host.push("guest", "").await;
    host
}

async fn three() -> (Addresses, [Host; 3]) {
    let hosts = Addresses::default();
    let one = member("one", &hosts).await;
    let two = member("two", &hosts).await;
    let three = member("three", &hosts).await;
    (hosts, [one, two, three])
}

async fn client(host: &Host) -> ModuleServiceClient<Channel> {
    ModuleServiceClient::new(host.channel().await)
}

async fn calls(host: &Host, method: &str, times: usize) {
    let channel = host.channel().await;
    for _ in 0..times {
        drop(call(&channel, method, vec![8, 1, 16, 2]).await);
    }
}

/// Name and error of each.
fn told(hosts: &[HostAnswer]) -> Vec<(&str, bool)> {
    hosts.iter().map(|host| (host.name.as_str(), host.error.is_empty())).collect()
}

fn counted(modules: &[ModuleUsage]) -> Vec<(&str, u64)> {
    modules.iter().map(|one| (one.host.as_str(), one.calls)).collect()
}

#[tokio::test]
async fn usage_is_summed_over_the_pool_or_told_by_host() {
    let (_, all) = three().await;
    for (times, host) in [1, 2, 3].into_iter().zip(&all) {
        calls(host, "Add", times).await;
    }
    let mut at_one = client(&all[0]).await;
    let mut ask =
        async |request: ListUsageRequest| at_one.list_usage(request).await.unwrap().into_inner();
    let sums = ask(ListUsageRequest::default()).await;
    assert_eq!(counted(&sums.modules), [("", 6)]);
    assert_eq!(told(&sums.hosts), [("one", true), ("three", true), ("two", true)]);
    let named = ask(ListUsageRequest { name: "guest".into(), ..Default::default() }).await;
    assert_eq!(counted(&named.modules), [("", 6)]);
    let apart = ask(ListUsageRequest { by_host: true, ..Default::default() }).await;
    assert_eq!(counted(&apart.modules), [("one", 1), ("three", 3), ("two", 2)]);
    let scope = Scope::Host.into();
    let alone = ask(ListUsageRequest { scope, ..Default::default() }).await;
    assert_eq!(counted(&alone.modules), [("", 1)]);
    assert_eq!(told(&alone.hosts), [("one", true)]);
    assert_eq!(sums.host_millicores, 3 * alone.host_millicores);
    // Who was asked by another host asked nobody.
    let arrived = all.iter().map(|host| host.counters.read().arrived).collect::<Vec<_>>();
    assert_eq!(arrived, [0, 3, 3]);
    let mut at_one = client(&all[0]).await;
    let unknown = ListUsageRequest { scope: 7, ..Default::default() };
    let refused = crate::support::failure(at_one.list_usage(unknown).await);
    assert_eq!(refused, (tonic::Code::InvalidArgument, "BAD_INPUT".to_owned()));
    for host in all {
        host.stop().await;
    }
}

#[tokio::test]
async fn hosts_say_how_they_are_and_who_does_not_answer_is_named() {
    let (hosts, [one, two, three]) = three().await;
    // A name that the resolver refuses by itself, as it answers of one that is not there.
    hosts.set("four", format!("http://{}.invalid:1", "a".repeat(64)));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    hosts.set("five", format!("http://{}", silent.local_addr().unwrap()));
    let gone = three.address;
    three.stop().await;
    let mut at_one = client(&one).await;
    let mut request = Request::new(ListHostsRequest::default());
    // What is there comes before the caller gives up.
    request.set_timeout(PATIENCE / 20);
    let answer = at_one.list_hosts(request).await.unwrap().into_inner();
    let names: Vec<_> = answer.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["five", "one", "three", "two"]);
    let errors: Vec<_> = answer.hosts.iter().map(|host| host.error.as_str()).collect();
    assert_eq!(errors, ["it did not answer in time", "", "it cannot be reached", ""]);
    assert_eq!(answer.hosts[2].address, format!("http://{gone}/"));
    let found = &answer.hosts[3];
    assert_eq!(found.address, format!("http://{}/", two.address));
    assert_eq!((found.modules, found.versions, found.failing.len()), (1, 1, 0));
    assert!(found.ready && found.catalog_current && 0 < found.memory_limit_bytes, "{found:?}");
    assert!(0 < found.catalog_revision && 0 < found.up_since_unix_ms, "{found:?}");
    assert_eq!(found.open_requests, 1);
    let scope = Scope::Host.into();
    let alone = at_one.list_hosts(ListHostsRequest { scope, ..Default::default() }).await.unwrap();
    assert_eq!(alone.into_inner().hosts.len(), 1);
    let usage = at_one.list_usage(ListUsageRequest::default()).await.unwrap().into_inner();
    let expected = [("five", false), ("one", true), ("three", false), ("two", true)];
    assert_eq!(told(&usage.hosts), expected);
    one.stop().await;
    two.stop().await;
}

async fn logs(host: &Host, request: StreamLogsRequest) -> Streaming<StreamLogsResponse> {
    let request = StreamLogsRequest { name: "guest".into(), ..request };
    client(host).await.stream_logs(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<StreamLogsResponse>) -> Option<StreamLogsResponse> {
    timeout(PATIENCE, stream.message()).await.unwrap().unwrap()
}

/// All lines of a stream that ends, and who was asked.
async fn whole(host: &Host, request: StreamLogsRequest) -> (Vec<LogLine>, Vec<HostAnswer>) {
    let mut stream = logs(host, request).await;
    let (mut lines, mut hosts) = (Vec::new(), Vec::new());
    while let Some(answer) = next(&mut stream).await {
        lines.extend(answer.lines);
        hosts.extend(answer.hosts);
    }
    (lines, hosts)
}

/// What comes until there is a line or word of a host.
async fn event(stream: &mut Streaming<StreamLogsResponse>) -> (Vec<LogLine>, Vec<HostAnswer>) {
    loop {
        let answer = next(stream).await.unwrap();
        if !answer.lines.is_empty() || !answer.hosts.is_empty() {
            return (answer.lines, answer.hosts);
        }
    }
}

#[tokio::test]
async fn kept_lines_of_all_hosts_come_by_time() {
    let (_, all) = three().await;
    for host in [&all[1], &all[0], &all[2], &all[1]] {
        calls(host, "Trap", 1).await;
        // Times have milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (lines, hosts) = whole(&all[0], StreamLogsRequest::default()).await;
    let by = |lines: &[LogLine]| lines.iter().map(|line| line.host.clone()).collect::<Vec<_>>();
    assert_eq!(by(&lines), ["two", "one", "three", "two"]);
    assert!(lines.is_sorted_by_key(|line| line.unix_ms));
    assert_eq!(told(&hosts), [("one", true), ("three", true), ("two", true)]);
    let (newest, _) = whole(&all[0], StreamLogsRequest { tail: 2, ..Default::default() }).await;
    assert_eq!(by(&newest), ["three", "two"]);
    let scope = Scope::Host.into();
    let (own, hosts) = whole(&all[0], StreamLogsRequest { scope, ..Default::default() }).await;
    assert_eq!((by(&own), told(&hosts)), (vec!["one".to_owned()], vec![("one", true)]));
    for host in all {
        host.stop().await;
    }
}

#[tokio::test]
async fn followed_lines_come_from_hosts_as_they_come_and_go() {
    let (hosts, [one, two, three]) = three().await;
    calls(&two, "Trap", 1).await;
    let follow = StreamLogsRequest { follow: true, ..Default::default() };
    let mut stream = logs(&one, follow.clone()).await;
    let (lines, asked) = event(&mut stream).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(told(&asked), [("one", true), ("three", true), ("two", true)]);
    assert!(next(&mut stream).await.unwrap().live);
    for (host, name) in [(&three, "three"), (&one, "one"), (&two, "two")] {
        calls(host, "Trap", 1).await;
        let (lines, _) = event(&mut stream).await;
        assert_eq!((lines.len(), lines[0].host.as_str()), (1, name));
    }
    two.stop().await;
    let (_, gone) = event(&mut stream).await;
    assert_eq!(told(&gone), [("two", false)]);
    let four = member("four", &hosts).await;
    let (_, came) = event(&mut stream).await;
    assert_eq!(told(&came), [("four", true)]);
    calls(&four, "Trap", 1).await;
    let (lines, _) = event(&mut stream).await;
    assert_eq!((lines.len(), lines[0].host.as_str()), (1, "four"));
    // The name again, in another life.
    let two = member("two", &hosts).await;
    let (_, came) = event(&mut stream).await;
    assert_eq!(told(&came), [("two", true)]);
    calls(&two, "Trap", 1).await;
    assert_eq!(event(&mut stream).await.0[0].host, "two");
    drop(stream);
    for host in [one, two, three, four] {
        host.stop().await;
    }
}
