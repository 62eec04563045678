//! The hosts of a pool, one line each, and the versions that they do not serve.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roadstead_proto::v1 as api;

use super::{table, usage::bytes};

/// One line a host, then what fails and where.
pub(crate) fn status(hosts: &[api::Host], now: SystemTime) -> String {
    let columns = [
        "HOST",
        "ADDRESS",
        "STATE",
        "RELEASE",
        "UP",
        "CATALOG",
        "MODULES",
        "VERSIONS",
        "FAILING",
        "REQUESTS",
        "MEMORY",
        "OF",
        "CONTROLLER",
    ];
    let rows: Vec<_> = std::iter::once(columns.map(str::to_owned))
        .chain(hosts.iter().map(|host| row(host, now)))
        .collect();
    let mut text = table(&rows);
    for (host, one) in hosts.iter().flat_map(|host| host.failing.iter().map(move |one| (host, one)))
    {
        let api::FailingVersion { namespace, module, version, problem } = one;
        let name = &host.name;
        text.push_str(&format!(
            "\n{name} does not serve {namespace}/{module}@{version}: {problem}"
        ));
    }
    text
}

fn row(host: &api::Host, now: SystemTime) -> [String; 13] {
    let dash = || "-".to_owned();
    if !host.error.is_empty() {
        let mut row = [(); 13].map(|()| dash());
        let [name, address, state, ..] = &mut row;
        *name = host.name.clone();
        *address = or_dash(&host.address);
        *state = "no answer".to_owned();
        return row;
    }
    let current = if host.catalog_current { "" } else { " (not current)" };
    [
        host.name.clone(),
        or_dash(&host.address),
        if host.ready { "ready" } else { "draining" }.to_owned(),
        host.release.clone(),
        up(host.up_since_unix_ms, now),
        format!("{}{current}", host.catalog_revision),
        host.modules.to_string(),
        host.versions.to_string(),
        host.failing.len().to_string(),
        host.open_requests.to_string(),
        bytes(host.memory_bytes),
        bytes(host.memory_limit_bytes),
        match host.controller() {
            api::ControllerLink::Unspecified => dash(),
            api::ControllerLink::Connected => "connected".to_owned(),
            api::ControllerLink::Away => "away".to_owned(),
        },
    ]
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// How long ago, to the second.
fn up(since_unix_ms: i64, now: SystemTime) -> String {
    let since = UNIX_EPOCH + Duration::from_millis(u64::try_from(since_unix_ms).unwrap_or(0));
    let up = now.duration_since(since).unwrap_or_default();
    humantime::format_duration(Duration::from_secs(up.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_line_whether_it_answered_or_not() {
        let failing = api::FailingVersion {
            namespace: "team".to_owned(),
            module: "calc".to_owned(),
            version: "0.1.0".to_owned(),
            problem: "gone".to_owned(),
        };
        let one = api::Host {
            name: "one".to_owned(),
            address: "http://one:1/".to_owned(),
            release: "1.2.3".to_owned(),
            catalog_revision: 42,
            up_since_unix_ms: 1000,
            ready: true,
            failing: vec![failing],
            controller: api::ControllerLink::Away.into(),
            ..api::Host::default()
        };
        let two =
            api::Host { name: "two".to_owned(), error: "late".to_owned(), ..api::Host::default() };
        let text = status(&[one, two], UNIX_EPOCH + Duration::from_secs(62));
        for part in ["ready", "1.2.3", "1m 1s", "42 (not current)", "away", "no answer"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.ends_with("\none does not serve team/calc@0.1.0: gone"), "{text}");
    }
}
