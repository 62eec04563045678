//! Who asks a whole pool: each host knows them by the word of the one that was asked.

use std::sync::Arc;

use prost::Message as _;
use roadstead_gateway::{GatewayConfig, PoolConfig};
use roadstead_proto::v1::{
    ListHostsRequest, ListHostsResponse, ListUsageRequest, ListUsageResponse, StreamLogsRequest,
    StreamLogsResponse,
};

use super::{GRANTS, Guarded};
use crate::{
    guest,
    pool::{Addresses, key},
    raw::framed,
};

const USAGE: &str = "/roadstead.v1.ModuleService/ListUsage";
const LOGS: &str = "/roadstead.v1.ModuleService/StreamLogs";
const HOSTS: &str = "/roadstead.v1.ModuleService/ListHosts";

async fn member(name: &str, hosts: &Addresses, grants: &[&str]) -> Guarded {
    let (host, all) = (name.parse().unwrap(), Arc::new(hosts.clone()));
    let pool = PoolConfig { host, key: key(), hosts: all, tls: None };
    let config = GatewayConfig { pool: Some(pool), ..GatewayConfig::default() };
    let guarded = Guarded::with(grants, config).await;
    hosts.set(name, format!("http://{}", guarded.host.address));
    for namespace in ["team-a", "team-b"] {
        guarded.publish(namespace, "guest", &guest::component()).await;
    }
    guarded
}

/// The answer of a message that follows its frame's five bytes.
async fn ask<M: prost::Message + Default>(
    host: &Guarded,
    who: &str,
    path: &str,
    request: &impl prost::Message,
) -> M {
    let body = vec![framed(&request.encode_to_vec())];
    let (said, body) = host.send(who, "team-a", path, body).await;
    assert_eq!(said.0, 0, "{who}: {said:?}");
    M::decode(&body[5..]).unwrap()
}

#[tokio::test]
async fn the_role_goes_along_and_no_more_than_it() {
    let hosts = Addresses::default();
    let one = member("one", &hosts, &GRANTS).await;
    // Its policy knows nobody but who publishes.
    let two = member("two", &hosts, &["root admin *"]).await;
    for who in ["reader", "publisher", "admin", "root"] {
        let usage: ListUsageResponse =
            ask(&one, who, USAGE, &ListUsageRequest { by_host: true, ..Default::default() }).await;
        assert!(usage.hosts.iter().all(|host| host.error.is_empty()), "{who}: {usage:?}");
        let told: Vec<_> =
            usage.modules.iter().map(|one| (&one.namespace[..], &one.host[..])).collect();
        assert_eq!(told, [("team-a", "one"), ("team-a", "two")], "{who}");
        let found: ListHostsResponse = ask(&one, who, HOSTS, &ListHostsRequest::default()).await;
        let counted: Vec<_> =
            found.hosts.iter().map(|host| (&host.name[..], host.modules)).collect();
        assert_eq!(counted, [("one", 1), ("two", 1)], "{who}");
    }
    // What goes on for long is let go on, by the word of the host that was asked.
    let trapped = two.ask("root", "team-a", &guest::path("Trap"), b"").await;
    assert_ne!(trapped.0, 0, "{trapped:?}");
    let request = StreamLogsRequest { name: "guest".into(), ..Default::default() };
    let logs: StreamLogsResponse = ask(&one, "publisher", LOGS, &request).await;
    let told: Vec<_> = logs.lines.iter().map(|line| &line.host[..]).collect();
    assert_eq!(told, ["two"], "{logs:?}");
    assert!(logs.hosts.iter().all(|host| host.error.is_empty()), "{logs:?}");
    let (code, reason, _) = one.ask("reader", "team-a", LOGS, &request.encode_to_vec()).await;
    assert_eq!((code, reason.as_str()), (7, "NOT_GRANTED"));
    // Who may do everything everywhere may there too.
    let all = ListHostsRequest { all_namespaces: true, ..Default::default() };
    let found: ListHostsResponse = ask(&one, "root", HOSTS, &all).await;
    let counted: Vec<_> = found.hosts.iter().map(|host| (&host.error[..], host.modules)).collect();
    assert_eq!(counted, [("", 2), ("", 2)]);
    // Nobody gets further than the host that they ask lets them.
    for who in ["reader", "admin"] {
        let (code, reason, _) = one.ask(who, "team-a", HOSTS, &all.encode_to_vec()).await;
        assert_eq!((code, reason.as_str()), (7, "NOT_GRANTED"), "{who}");
    }
    let (code, reason, _) = two.ask("reader", "team-a", HOSTS, b"").await;
    assert_eq!((code, reason.as_str()), (7, "NOT_GRANTED"));
    assert_eq!(two.host.counters.read().arrived, 10);
    one.host.stop().await;
    two.host.stop().await;
}
