//! `roadstead push`: uploads a component with progress and prints what is callable now.

use std::process::ExitCode;

use anyhow::Context as _;
use roadstead_domain::SpecFormat;
use roadstead_proto::v1::{
    self as api, progress::Phase, push_module_request, push_module_response,
};

use super::sources::{self, Given};
use crate::{
    cli::{Connection, PushArgs},
    client::{self, Refusal},
    descriptors, output, render,
};

const CHUNK: usize = 1 << 20;

pub(crate) async fn push(to: &Connection, args: PushArgs) -> anyhow::Result<ExitCode> {
    let (spec, wit) = (args.spec.as_deref(), args.wit.as_deref());
    let given = sources::read(args.name, args.file.as_deref(), (&args.native, spec), wit)?;
    let Given { name, written, bytes, wit } = given;
    let lock = match &args.lock {
        Some(path) => sources::read_text(path)?,
        None => String::new(),
    };
    let header = api::PushHeader {
        name: name.to_string(),
        version: args.version.map(|version| version.to_string()).unwrap_or_default(),
        spec: written.text,
        spec_format: match written.format {
            SpecFormat::Toml => api::SpecFormat::Toml,
            SpecFormat::Yaml => api::SpecFormat::Yaml,
        }
        .into(),
        wit: text_files(wit),
        lock,
        force: args.force,
        size: bytes.len() as u64,
    };
    let progress = output::Progress::new(to.json);
    let outcome = upload(to, header, bytes.into(), &progress).await;
    progress.clear();
    let outcome = outcome?;
    if to.json {
        output::json(&descriptors::contract_json("PushOutcome", &outcome)?);
    } else {
        output::line(render::pushed(&outcome));
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends header and bytes and waits for the outcome.
///
/// # Errors
/// The host's [`Refusal`], or a broken connection.
pub(crate) async fn upload(
    to: &Connection,
    header: api::PushHeader,
    component: bytes::Bytes,
    progress: &output::Progress,
) -> anyhow::Result<api::PushOutcome> {
    let total = component.len();
    let mut events = client::modules(to)
        .await?
        .push_module(tokio_stream::iter(messages(header, component)))
        .await
        .map_err(Refusal::from)?
        .into_inner();
    while let Some(message) = events.message().await.map_err(Refusal::from)? {
        match message.event {
            Some(push_module_response::Event::Progress(now)) => {
                progress.show(render::progress(now, total as u64));
            }
            Some(push_module_response::Event::Outcome(outcome)) => return Ok(outcome),
            None => {}
        }
    }
    anyhow::bail!("the host ended the push without an outcome: see `roadstead list`")
}

/// The header, then the bytes in chunks.
pub(crate) fn messages(
    header: api::PushHeader,
    component: bytes::Bytes,
) -> impl Iterator<Item = api::PushModuleRequest> + Send + 'static {
    let chunks = (0..component.len()).step_by(CHUNK).map(move |start| {
        let end = (start + CHUNK).min(component.len());
        push_module_request::Message::Chunk(component.slice(start..end))
    });
    std::iter::once(push_module_request::Message::Header(header))
        .chain(chunks)
        .map(|message| api::PushModuleRequest { message: Some(message) })
}

pub(crate) fn text_files(files: Vec<(String, String)>) -> Vec<api::TextFile> {
    files.into_iter().map(|(path, text)| api::TextFile { path, text }).collect()
}

/// The name of a phase while it runs.
pub(crate) fn phase_text(phase: Phase) -> &'static str {
    match phase {
        Phase::Unspecified => "working",
        Phase::Receiving => "uploading",
        Phase::Validating => "validating",
        Phase::Compiling => "compiling",
        Phase::Storing => "storing",
        Phase::Publishing => "publishing",
    }
}

/// The verb `check --against` sends the same messages.
pub(crate) async fn check_on_host(
    to: &Connection,
    header: api::PushHeader,
    component: bytes::Bytes,
) -> anyhow::Result<api::CheckModuleResponse> {
    Ok(client::modules(to)
        .await?
        .check_module(tokio_stream::iter(messages(header, component)))
        .await
        .map_err(Refusal::from)
        .context("the host refused the check")?
        .into_inner())
}
