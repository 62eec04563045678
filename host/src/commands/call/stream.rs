//! Calls of streaming methods: requests are read as they are sent, responses printed as they come.

use std::io::Read;

use anyhow::Context as _;
use bytes::Bytes;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, client::Grpc, metadata::MetadataMap};

use super::{Described, RawCodec, address, own_timeout, path_of};
use crate::{cli::CallArgs, client::Refusal, descriptors, output};

/// Requests that are read ahead.
const AHEAD: usize = 16;

/// Calls the method and prints one line for each response.
///
/// # Errors
/// The host's refusal, after what came before it was printed; a request that does not read.
pub(super) async fn call(called: Described, args: &CallArgs) -> anyhow::Result<MetadataMap> {
    let Described { channel, method, started } = called;
    let (send, requests) = mpsc::channel(AHEAD);
    let reading = {
        let (method, data) = (method.clone(), args.data.clone());
        tokio::task::spawn_blocking(move || match read(&method, &data, &send) {
            Ok(()) => None,
            // The stream ends with its sender: not where what was read is no good.
            Err(error) => Some((error, send)),
        })
    };
    let mut request = Request::new(ReceiverStream::new(requests));
    let timeout = args.timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
    address(&mut request, args.module.as_ref(), timeout)?;
    let mut grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    grpc.ready().await.context("reach the host")?;
    let mut opening = std::pin::pin!(grpc.streaming(request, path_of(&method)?, RawCodec));
    let mut reading = std::pin::pin!(reading);
    let mut done = false;
    let opened = loop {
        tokio::select! {
            opened = &mut opening => break opened,
            read = &mut reading, if !done => done = all_read(read)?,
        }
    };
    let late = |status| Refusal::from(own_timeout(status, args.timeout));
    let mut responses = opened.map_err(late)?.into_inner();
    loop {
        let next = tokio::select! {
            next = responses.message() => next.map_err(late)?,
            read = &mut reading, if !done => {
                done = all_read(read)?;
                continue;
            }
        };
        let Some(message) = next else { break };
        let message = DynamicMessage::decode(method.output(), message)
            .context("the host's answer does not fit its own description")?;
        output::line(descriptors::to_json(&message)?);
    }
    Ok(responses.trailers().await.map_err(late)?.unwrap_or_default())
}

/// Whether the requests were read to their end, or why they could not be.
fn all_read(
    read: Result<Option<(anyhow::Error, mpsc::Sender<Bytes>)>, tokio::task::JoinError>,
) -> anyhow::Result<bool> {
    match read.context("read the requests")? {
        None => Ok(true),
        Some((error, _open)) => Err(error),
    }
}

/// Reads one JSON value after the other, as far as they are wanted.
fn read(method: &MethodDescriptor, data: &str, send: &mpsc::Sender<Bytes>) -> anyhow::Result<()> {
    let from: Box<dyn Read> = match data.strip_prefix('@') {
        None => Box::new(std::io::Cursor::new(data.to_owned())),
        Some("-") => Box::new(std::io::stdin()),
        Some(path) => {
            let file = std::fs::File::open(path);
            Box::new(file.with_context(|| format!("read the requests from {path}"))?)
        }
    };
    let values = serde_json::Deserializer::from_reader(std::io::BufReader::new(from));
    for value in values.into_iter::<serde_json::Value>() {
        let value = value.context("the requests are not JSON values, one after the other")?;
        let input = method.input();
        let name = input.full_name().to_owned();
        let message = DynamicMessage::deserialize(input, value)
            .with_context(|| format!("the JSON does not fit {name}"))?;
        let message = Bytes::from(prost::Message::encode_to_vec(&message));
        if send.blocking_send(message).is_err() {
            break;
        }
    }
    Ok(())
}
