//! `roadstead top`: what the namespace's modules use against what they are granted.

use std::{
    cmp::Reverse,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use roadstead_proto::v1 as api;

use super::status::{missing, scope};
use crate::{
    cli::{Connection, TopArgs},
    client::{self, Refusal},
    descriptors, output,
    render::usage,
};

pub(crate) async fn top(to: &Connection, args: TopArgs) -> anyhow::Result<ExitCode> {
    let mut modules = client::modules(to).await?;
    // A table that is not looked at is not drawn again; lines of JSON may be followed.
    let once = args.once || !(to.json || io::stdout().is_terminal());
    loop {
        let request = api::ListUsageRequest {
            all_namespaces: args.all_namespaces,
            scope: scope(args.this_host).into(),
            by_host: args.by_host,
            ..api::ListUsageRequest::default()
        };
        let mut answer = modules.list_usage(request).await.map_err(Refusal::from)?.into_inner();
        answer.modules.sort_by_key(|module| {
            let cpu = module.cpu.unwrap_or_default();
            Reverse((cpu.millicores_2s, cpu.total_us))
        });
        if to.json {
            let value = descriptors::contract_json("ListUsageResponse", &answer)?;
            // One document a line where more follow.
            if once { output::json(&value) } else { output::line(value) }
        } else if once {
            output::line(usage::top(&answer, args.all_namespaces));
        } else {
            output::screen(usage::top(&answer, args.all_namespaces));
        }
        for host in &answer.hosts {
            missing(&host.name, &host.error);
        }
        if once {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(args.interval).await;
    }
}
