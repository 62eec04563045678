//! Messages as JSON: descriptors from a host's reflection or from the contract's own files.

use anyhow::{Context as _, bail};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::client::{HostChannel, Refusal};

/// The JSON form of one of the contract's own messages, defaults included.
pub(crate) fn contract_json<M: prost::Message>(
    message_name: &str,
    message: &M,
) -> anyhow::Result<serde_json::Value> {
    let pool = DescriptorPool::decode(roadstead_proto::FILE_DESCRIPTOR_SET)
        .context("read the contract's descriptors")?;
    let descriptor = pool
        .get_message_by_name(&format!("roadstead.v1.{message_name}"))
        .with_context(|| format!("the contract has no message {message_name}"))?;
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).context("write the message as JSON")?;
    to_json(&dynamic)
}

/// Canonical protobuf JSON, printed with default values.
pub(crate) fn to_json(message: &DynamicMessage) -> anyhow::Result<serde_json::Value> {
    let options = SerializeOptions::new().skip_default_fields(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .context("write the message as JSON")
}

/// Reads a message of `method`'s request type from JSON text.
pub(crate) fn from_json(method: &MethodDescriptor, text: &str) -> anyhow::Result<DynamicMessage> {
    let mut json = serde_json::Deserializer::from_str(text);
    let input = method.input();
    let name = input.full_name().to_owned();
    let message = DynamicMessage::deserialize(input, &mut json)
        .with_context(|| format!("the JSON does not fit {name}"))?;
    json.end().with_context(|| format!("something stands behind the JSON of {name}"))?;
    Ok(message)
}

/// Asks the host's reflection for `service` and finds `method` in it.
///
/// # Errors
/// The host's refusal, or that the service has no such method (naming those it has).
pub(crate) async fn reflect(
    channel: HostChannel,
    service: &str,
    method: &str,
) -> anyhow::Result<MethodDescriptor> {
    let pool = pool_of(channel, service).await?;
    let found = pool
        .get_service_by_name(service)
        .with_context(|| format!("the host does not describe {service}"))?;
    match found.methods().find(|candidate| candidate.name() == method) {
        Some(found) => Ok(found),
        None => {
            let names: Vec<_> = found.methods().map(|m| m.name().to_owned()).collect();
            bail!("{service} has no method {method}; it has: {}", names.join(", "))
        }
    }
}

/// The host describes no such thing.
#[derive(Debug, thiserror::Error)]
#[error("{0} (see `roadstead list`)")]
pub(crate) struct Undescribed(String);

async fn pool_of(channel: HostChannel, symbol: &str) -> anyhow::Result<DescriptorPool> {
    let mut client = ServerReflectionClient::new(channel).max_decoding_message_size(64 << 20);
    let mut files = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut wanted = vec![MessageRequest::FileContainingSymbol(symbol.to_owned())];
    while let Some(request) = wanted.pop() {
        for bytes in ask(&mut client, request).await? {
            let file: prost_types::FileDescriptorProto =
                prost::Message::decode(bytes.as_slice()).context("read the host's descriptors")?;
            if seen.insert(file.name().to_owned()) {
                let missing = file.dependency.iter().filter(|name| !seen.contains(*name));
                wanted.extend(missing.map(|name| MessageRequest::FileByFilename(name.clone())));
                files.push(file);
            }
        }
    }
    DescriptorPool::from_file_descriptor_set(prost_types::FileDescriptorSet { file: files })
        .context("read the host's descriptors")
}

async fn ask(
    client: &mut ServerReflectionClient<HostChannel>,
    request: MessageRequest,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut answers = client
        .server_reflection_info(tokio_stream::once(request))
        .await
        .map_err(Refusal::from)?
        .into_inner();
    let answer = answers.message().await.map_err(Refusal::from)?;
    match answer.and_then(|answer| answer.message_response) {
        Some(MessageResponse::FileDescriptorResponse(files)) => Ok(files.file_descriptor_proto),
        Some(MessageResponse::ErrorResponse(error)) => Err(Undescribed(error.error_message).into()),
        _ => bail!("the host's reflection did not answer"),
    }
}
