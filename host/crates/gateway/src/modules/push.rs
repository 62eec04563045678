//! Uploads: a header that is checked before anything is taken in, then chunks, then the registry.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use roadstead_domain::{Fault, ModuleSpec, SpecFormat};
use roadstead_proto::v1::{
    self as pb, CheckModuleResponse, PushHeader, PushModuleResponse, push_module_request::Message,
    push_module_response::Event,
};
use roadstead_registry::{PushError, PushRequest, Registry, Staged, Upload};
use tonic::Status;

use super::{native, parsed, to_proto, uploads::Messages};
use crate::{
    status::{from_fault, from_push},
    steps::OwnPermit,
};

/// Bytes of one chunk.
const CHUNK: usize = 1 << 20;
/// Bytes after which an upload tells how far it is.
const TELL_EVERY: u64 = 1 << 20;

/// Publishes what the client sends; the last event is the outcome. Dropping the stream ends the
/// push.
pub(super) fn push(
    registry: Arc<Registry>,
    permit: OwnPermit,
    mut messages: Messages,
) -> impl Stream<Item = Result<PushModuleResponse, Status>> + Send {
    async_stream::try_stream! {
        let namespace = permit.namespace().clone();
        let (request, announced) = header(&mut messages, &permit).await?;
        let mut upload = registry.upload(announced).await.map_err(from_push)?;
        let mut told = 0;
        while let Some(chunk) = chunk(&mut messages).await? {
            upload = write(upload, chunk).await?;
            if upload.size() >= told + TELL_EVERY {
                told = upload.size();
                yield receiving(told);
            }
        }
        let staged = finish(upload, announced)?;
        drop(messages);
        yield receiving(staged.size());

        let (tell, mut events) = tokio::sync::mpsc::unbounded_channel();
        let progress = move |now| {
            // The client is gone once nobody listens, and then so is this push.
            let _gone = tell.send(now).is_err();
        };
        let pushing = registry.push(&namespace, request, staged, &progress);
        tokio::pin!(pushing);
        let pushed = loop {
            let ended = tokio::select! {
                biased;
                Some(now) = events.recv() => Err(now),
                pushed = &mut pushing => Ok(pushed),
            };
            match ended {
                Ok(pushed) => break pushed.map_err(from_push)?,
                Err(now) => {
                    let event = Some(Event::Progress(to_proto::progress(now)));
                    yield PushModuleResponse { event };
                }
            }
        };
        let module = to_proto::version(&registry, &namespace, &pushed.name, &pushed.record);
        let version = &pushed.record.version;
        let serving = registry.get(&namespace, &pushed.name);
        let waits = serving.is_ok_and(|serving| serving.holds_back(version));
        let outcome = pb::PushOutcome { module: Some(module), created: pushed.created, waits };
        yield PushModuleResponse { event: Some(Event::Outcome(outcome)) };
    }
}

/// Says what a push would come to.
pub(super) async fn check(
    registry: &Arc<Registry>,
    permit: &OwnPermit,
    mut messages: Messages,
) -> Result<CheckModuleResponse, Status> {
    let (namespace, (request, announced)) =
        (permit.namespace(), header(&mut messages, permit).await?);
    let mut upload = registry.upload(announced).await.map_err(from_push)?;
    while let Some(chunk) = chunk(&mut messages).await? {
        upload = write(upload, chunk).await?;
    }
    let staged = finish(upload, announced)?;
    drop(messages);
    let checked = registry.check(namespace, request, staged).await.map_err(from_push)?;
    Ok(CheckModuleResponse {
        module: Some(to_proto::version(registry, namespace, &checked.name, &checked.record)),
        breaks: to_proto::breaks(&checked.breaks),
    })
}

/// The first message, read and checked whole, and the bytes that it announces. Who may push
/// components may not push what runs outside of the sandbox.
async fn header(
    messages: &mut Messages,
    permit: &OwnPermit,
) -> Result<(PushRequest, Option<u64>), Status> {
    match messages.first().await? {
        Some(Message::Header(header)) => {
            let announced = (header.size > 0).then_some(header.size);
            let request = request(header)?;
            native::authorize(permit, &request.spec).map_err(|fault| from_fault(&fault, true))?;
            Ok((request, announced))
        }
        _ => Err(bad("header", "must be the first message")),
    }
}

fn request(header: PushHeader) -> Result<PushRequest, Status> {
    let optional = |text: &str| !text.is_empty();
    let name = optional(&header.name).then(|| parsed("header.name", &header.name));
    let version = optional(&header.version).then(|| parsed("header.version", &header.version));
    Ok(PushRequest {
        name: name.transpose()?,
        version: version.transpose()?,
        spec: spec(&header)?,
        wit: header.wit.into_iter().map(|file| (file.path, file.text)).collect(),
        lock: optional(&header.lock).then_some(header.lock),
        force: header.force,
    })
}

fn spec(header: &PushHeader) -> Result<ModuleSpec, Status> {
    let format = match header.spec_format() {
        pb::SpecFormat::Toml => SpecFormat::Toml,
        pb::SpecFormat::Yaml => SpecFormat::Yaml,
        pb::SpecFormat::Unspecified if header.spec.is_empty() => SpecFormat::Yaml,
        pb::SpecFormat::Unspecified => {
            return Err(bad("header.spec_format", "must say how the spec is written"));
        }
    };
    ModuleSpec::parse(&header.spec, format).map_err(|error| bad("header.spec", &error.to_string()))
}

async fn chunk(messages: &mut Messages) -> Result<Option<Bytes>, Status> {
    match messages.next().await? {
        None => Ok(None),
        Some(Message::Chunk(chunk)) if chunk.len() <= CHUNK => Ok(Some(chunk)),
        Some(Message::Chunk(_)) => Err(bad("chunk", "must be at most 1 MiB")),
        Some(Message::Header(_)) => Err(bad("header", "must be sent once only")),
    }
}

async fn write(upload: Upload, chunk: Bytes) -> Result<Upload, Status> {
    upload.write(chunk).await.map_err(|error| from_push(PushError::from(error)))
}

/// An upload that is shorter or longer than announced was cut or mixed up on its way.
fn finish(upload: Upload, announced: Option<u64>) -> Result<Staged, Status> {
    match announced {
        Some(size) if size != upload.size() => {
            let text = format!("announced {size} bytes, {} came", upload.size());
            Err(bad("header.size", &text))
        }
        _ => Ok(upload.finish()),
    }
}

fn receiving(bytes: u64) -> PushModuleResponse {
    let phase = pb::progress::Phase::Receiving.into();
    PushModuleResponse { event: Some(Event::Progress(pb::Progress { phase, bytes })) }
}

pub(super) fn bad(field: &str, problem: &str) -> Status {
    from_fault(&Fault::bad_input(field, problem), true)
}
