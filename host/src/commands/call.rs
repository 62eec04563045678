//! `roadstead call`: one unary call, JSON in and out, described by the host's reflection.

use std::{io::Read as _, process::ExitCode};

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes};
use prost_reflect::DynamicMessage;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::{
    cli::{CallArgs, Connection},
    client::{self, Refusal},
    descriptors, output, render,
};

pub(crate) async fn call(to: &Connection, args: CallArgs) -> anyhow::Result<ExitCode> {
    let Some((service, method)) = args.method.trim_start_matches('/').split_once('/') else {
        bail!("`{}` is not package.Service/Method, like demo.calc.ops.v0_1.Ops/Add", args.method)
    };
    let channel = client::connect(to).await?;
    let descriptor = descriptors::reflect(channel.clone(), service, method).await?;
    let message = descriptors::from_json(&descriptor, &read_data(&args.data)?)?;

    let mut request = Request::new(Bytes::from(prost::Message::encode_to_vec(&message)));
    if let Some(module) = &args.module {
        let value = module.to_string().parse().context("write the module's name")?;
        request.metadata_mut().insert("roadstead-module", value);
    }
    if let Some(timeout) = args.timeout {
        request.set_timeout(timeout);
    }
    let path = http::uri::PathAndQuery::try_from(format!("/{service}/{method}"))
        .with_context(|| format!("`{}` is not package.Service/Method", args.method))?;

    let mut grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    grpc.ready().await.context("reach the host")?;
    let answer = grpc.unary(request, path, RawCodec).await;
    let trailers = match &answer {
        Ok(response) => response.metadata(),
        Err(status) => status.metadata(),
    };
    if args.verbose {
        output::note(render::usage(trailers));
    }
    let body = answer.map_err(Refusal::from)?.into_inner();
    let reply = DynamicMessage::decode(descriptor.output(), body)
        .context("the host's answer does not fit its own description")?;
    output::json(&descriptors::to_json(&reply)?);
    Ok(ExitCode::SUCCESS)
}

fn read_data(data: &str) -> anyhow::Result<String> {
    match data.strip_prefix('@') {
        None => Ok(data.to_owned()),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("read the request from stdin")?;
            Ok(text)
        }
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("read the request from {path}")),
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
