//! `roadstead call`: one call, JSON in and out, described by the host's reflection. Where a method
//! streams, one JSON value after the other goes in, and one line comes out for each message.

mod stream;

use std::{
    collections::HashMap,
    io::Read as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::{Buf as _, Bytes};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use roadstead_domain::ModuleRef;
use roadstead_gateway::ERROR_DOMAIN;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    cli::{CallArgs, Connection},
    client::{self, HostChannel, Refusal},
    descriptors::{self, Undescribed},
    output, render,
};

/// One call of a described method.
pub(crate) struct Invocation<'a> {
    pub method: &'a MethodDescriptor,
    pub request: DynamicMessage,
    pub module: Option<&'a ModuleRef>,
    pub timeout: Option<Duration>,
}

/// What came back: the reply or the refusal, and the trailers of either.
pub(crate) struct Answer {
    pub reply: Result<DynamicMessage, Refusal>,
    pub trailers: MetadataMap,
}

pub(crate) async fn call(to: &Connection, args: CallArgs) -> anyhow::Result<ExitCode> {
    let whole = async {
        let called = describe(to, &args).await?;
        if called.method.is_client_streaming() || called.method.is_server_streaming() {
            return Ok(Called::Stream(stream::call(called, &args).await?));
        }
        let data = read_data(&args.data)?;
        anyhow::Ok(Called::Once(Box::new(answer(called, &args, &data).await?)))
    };
    let called = match args.timeout {
        None => whole.await?,
        Some(timeout) => tokio::time::timeout(timeout, whole)
            .await
            .unwrap_or_else(|_| Err(Refusal::from(no_answer(timeout)).into()))?,
    };
    let answer = match called {
        Called::Once(answer) => *answer,
        Called::Stream(trailers) => {
            if args.verbose {
                output::note(render::usage(&trailers));
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    if args.verbose {
        output::note(render::usage(&answer.trailers));
    }
    output::json(&descriptors::to_json(&answer.reply?)?);
    Ok(ExitCode::SUCCESS)
}

/// How a call went: an answer, or the trailers of a stream that was printed.
enum Called {
    Once(Box<Answer>),
    Stream(MetadataMap),
}

/// A method, and where to call it.
struct Described {
    channel: HostChannel,
    method: MethodDescriptor,
    /// When all this began.
    started: Instant,
}

/// Connects and asks what the method is like.
async fn describe(to: &Connection, args: &CallArgs) -> anyhow::Result<Described> {
    let started = Instant::now();
    let (service, method) = &args.method;
    let channel = client::connect(to).await?;
    let method = match descriptors::reflect(channel.clone(), service, method).await {
        Ok(method) => method,
        Err(error) if error.is::<Undescribed>() => {
            return Err(reason(channel, &args.method).await.map_or(error, Into::into));
        }
        Err(error) => return Err(error),
    };
    Ok(Described { channel, method, started })
}

async fn answer(called: Described, args: &CallArgs, data: &str) -> anyhow::Result<Answer> {
    let Described { channel, method, started } = called;
    let request = descriptors::from_json(&method, data)?;
    let timeout = args.timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
    invoke(channel, Invocation { method: &method, request, module: args.module.as_ref(), timeout })
        .await
}

/// Why nothing answers for a service that is not described. Whoever is called without being
/// described is not there, or is published and cannot run.
async fn reason(channel: HostChannel, (service, method): &(String, String)) -> Option<Refusal> {
    let path = http::uri::PathAndQuery::try_from(format!("/{service}/{method}")).ok()?;
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.ok()?;
    let refused = grpc.unary(Request::new(Bytes::new()), path, RawCodec).await.err()?;
    let unknown = refused
        .get_details_error_info()
        .is_none_or(|info| ["NO_SUCH_SERVICE", "NO_SUCH_METHOD"].contains(&info.reason.as_str()));
    (!unknown).then(|| Refusal::from(refused))
}

/// Calls and waits for the answer.
///
/// # Errors
/// Only what keeps the call from being made; a refusal is part of the [`Answer`].
pub(crate) async fn invoke(
    channel: HostChannel,
    invocation: Invocation<'_>,
) -> anyhow::Result<Answer> {
    let message = Bytes::from(prost::Message::encode_to_vec(&invocation.request));
    let mut request = Request::new(message);
    address(&mut request, invocation.module, invocation.timeout)?;
    let method = invocation.method;
    let path = path_of(method)?;
    let mut grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    grpc.ready().await.context("reach the host")?;
    Ok(match grpc.unary(request, path, RawCodec).await {
        Ok(response) => {
            let trailers = response.metadata().clone();
            let reply = DynamicMessage::decode(method.output(), response.into_inner())
                .context("the host's answer does not fit its own description")?;
            Answer { reply: Ok(reply), trailers }
        }
        Err(status) => {
            let status = own_timeout(status, invocation.timeout);
            let trailers = status.metadata().clone();
            Answer { reply: Err(Refusal::from(status)), trailers }
        }
    })
}

/// Says which module is meant and how long is waited.
fn address<T>(
    request: &mut Request<T>,
    module: Option<&ModuleRef>,
    timeout: Option<Duration>,
) -> anyhow::Result<()> {
    if let Some(module) = module {
        let value = module.to_string().parse().context("write the module's name")?;
        request.metadata_mut().insert("roadstead-module", value);
    }
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    Ok(())
}

fn path_of(method: &MethodDescriptor) -> anyhow::Result<http::uri::PathAndQuery> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    http::uri::PathAndQuery::try_from(path).context("write the method's path")
}

/// The client's own timer ends a call as CANCELLED, a moment before the host's answer would come.
fn own_timeout(status: Status, timeout: Option<Duration>) -> Status {
    match timeout {
        Some(timeout) if status.code() == Code::Cancelled => no_answer(timeout),
        _ => status,
    }
}

fn no_answer(timeout: Duration) -> Status {
    let text = format!("no answer within {} ms", timeout.as_millis());
    // In the host's words, which the host was too late to say.
    let facts = HashMap::from([("deadline_ms".to_owned(), timeout.as_millis().to_string())]);
    let mut details = ErrorDetails::new();
    details.set_error_info("DEADLINE", ERROR_DOMAIN, facts);
    Status::with_error_details(Code::DeadlineExceeded, text, details)
}

fn read_data(data: &str) -> anyhow::Result<String> {
    match data.strip_prefix('@') {
        None => Ok(data.to_owned()),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("read the request from stdin")?;
            Ok(text)
        }
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("read the request from {path}"))
        }
    }
}

/// Passes message bytes through as they are.
#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put(buffer, item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
