//! `roadstead status`: the hosts of the pool, and how each of them is.

use std::{process::ExitCode, time::SystemTime};

use roadstead_proto::v1 as api;

use crate::{
    cli::{Connection, StatusArgs},
    client::{self, Refusal},
    descriptors, output,
    render::hosts,
};

pub(crate) async fn status(to: &Connection, args: StatusArgs) -> anyhow::Result<ExitCode> {
    let request = api::ListHostsRequest {
        scope: scope(args.this_host).into(),
        all_namespaces: args.all_namespaces,
    };
    let answer =
        client::modules(to).await?.list_hosts(request).await.map_err(Refusal::from)?.into_inner();
    if to.json {
        output::json(&descriptors::contract_json("ListHostsResponse", &answer)?);
    } else {
        output::line(hosts::status(&answer.hosts, SystemTime::now()));
    }
    for host in &answer.hosts {
        missing(&host.name, &host.error);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whom a verb asks.
pub(super) fn scope(this_host: bool) -> api::Scope {
    if this_host { api::Scope::Host } else { api::Scope::Pool }
}

/// Says on stderr that a host's part is missing.
pub(super) fn missing(host: &str, error: &str) {
    if !error.is_empty() {
        output::note(format_args!("host {host} did not answer: {error}"));
    }
}
