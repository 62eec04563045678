//! `roadstead logs`: what a module wrote, one line each with its version and call.

use std::process::ExitCode;

use roadstead_proto::v1 as api;

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
    };
    let mut batches =
        client::modules(to).await?.stream_logs(request).await.map_err(Refusal::from)?.into_inner();
    let mut silent = true;
    while let Some(batch) = batches.message().await.map_err(Refusal::from)? {
        for line in batch.lines {
            silent = false;
            if to.json {
                let value = descriptors::contract_json("LogLine", &line)?;
                output::line(value);
            } else {
                output::line(render::log_line(&line));
            }
        }
    }
    if silent {
        output::note(format_args!("{} wrote nothing yet", args.name));
    }
    Ok(ExitCode::SUCCESS)
}
