//! `roadstead logs`: what a module wrote, one line each with its version and call, and with its host
//! where several were asked.

use std::process::ExitCode;

use roadstead_proto::v1 as api;

use super::status::{missing, scope};
use crate::{
    cli::{Connection, LogsArgs},
    client::{self, Refusal},
    descriptors, output, render,
};

pub(crate) async fn logs(to: &Connection, args: LogsArgs) -> anyhow::Result<ExitCode> {
    let request = api::StreamLogsRequest {
        name: args.name.to_string(),
        follow: args.follow,
        tail: args.tail.unwrap_or(0),
        scope: scope(args.this_host).into(),
    };
    let mut batches =
        client::modules(to).await?.stream_logs(request).await.map_err(Refusal::from)?.into_inner();
    let (mut silent, mut began, mut several) = (true, false, false);
    while let Some(batch) = batches.message().await.map_err(Refusal::from)? {
        // The first message names all that were asked, later ones who comes and goes.
        several |= began && !batch.hosts.is_empty() || 1 < batch.hosts.len();
        for host in &batch.hosts {
            match (began, host.error.as_str()) {
                (false, error) => missing(&host.name, error),
                (true, "") => output::note(format_args!("host {} is there", host.name)),
                (true, error) => output::note(format_args!("host {} is gone: {error}", host.name)),
            }
        }
        began = true;
        for line in batch.lines {
            silent = false;
            if to.json {
                let value = descriptors::contract_json("LogLine", &line)?;
                output::line(value);
            } else {
                output::line(render::log_line(&line, several));
            }
        }
    }
    if silent {
        output::note(format_args!("{} wrote nothing yet", args.name));
    }
    Ok(ExitCode::SUCCESS)
}
