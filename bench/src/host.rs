//! A host process, and pushes to it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use roadstead_proto::v1::{
    PushHeader, PushModuleRequest, PushOutcome, SpecFormat,
    module_service_client::ModuleServiceClient, push_module_request::Message,
    push_module_response::Event,
};
use tonic::transport::Channel;

use crate::process::Child;

const CHUNK: usize = 1 << 20;

/// A host with a data directory that may outlive its process.
pub(crate) struct Host {
    program: PathBuf,
    data: PathBuf,
    flags: Vec<OsString>,
    pub child: Child,
}

impl Host {
    pub(crate) fn start(program: &Path, data: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let flags: Vec<OsString> = flags.iter().map(Into::into).collect();
        let child = Child::start(program, &Self::args(data, &flags))?;
        Ok(Self { program: program.to_owned(), data: data.to_owned(), flags, child })
    }

    /// The same data with other flags.
    pub(crate) fn restart_with(self, flags: &[&str]) -> anyhow::Result<Self> {
        let flags = flags.iter().map(Into::into).collect();
        Self { flags, ..self }.restart()
    }

    /// Ends the process and starts another on the same data.
    pub(crate) fn restart(self) -> anyhow::Result<Self> {
        let Self { program, data, flags, child } = self;
        drop(child);
        let child = Child::start(&program, &Self::args(&data, &flags))?;
        Ok(Self { program, data, flags, child })
    }

    fn args(data: &Path, flags: &[OsString]) -> Vec<OsString> {
        let mut args: Vec<OsString> =
            ["serve", "--listen", "127.0.0.1:0", "--data-dir"].map(Into::into).into();
        args.push(data.into());
        args.extend_from_slice(flags);
        args
    }
}

/// A component with what it is pushed as.
#[derive(Clone)]
pub(crate) struct Upload {
    pub name: String,
    pub component: Bytes,
    /// YAML; empty for the defaults.
    pub spec: String,
}

impl Upload {
    /// A built component, to be pushed under its own name with the default spec.
    pub(crate) fn read(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let path = directory.join(format!("{name}.wasm"));
        let component = std::fs::read(&path).with_context(|| {
            let path = path.display();
            format!("read {path}: run scripts/build-modules.sh and bench/build-guests.sh")
        })?;
        Ok(Self { name: name.to_owned(), component: component.into(), spec: String::new() })
    }

    /// The same component under another name.
    pub(crate) fn named(&self, name: &str, spec: &str) -> Self {
        Self { name: name.to_owned(), component: self.component.clone(), spec: spec.to_owned() }
    }

    /// The same component under another name, with other bytes: a custom section that says `mark`.
    pub(crate) fn marked(&self, name: String, mark: u32) -> Self {
        let mut component = Vec::with_capacity(self.component.len() + 11);
        component.extend_from_slice(&self.component);
        component.extend_from_slice(&[0, 9, 4]);
        component.extend_from_slice(b"mark");
        component.extend_from_slice(&mark.to_le_bytes());
        Self { name, component: component.into(), spec: self.spec.clone() }
    }
}

/// Pushes and waits until it is published.
pub(crate) async fn push(channel: Channel, upload: Upload) -> anyhow::Result<PushOutcome> {
    let header = PushHeader {
        name: upload.name.clone(),
        spec: upload.spec,
        spec_format: SpecFormat::Yaml.into(),
        size: upload.component.len() as u64,
        ..PushHeader::default()
    };
    let component = upload.component;
    let chunks = (0..component.len()).step_by(CHUNK).map(move |start| {
        Message::Chunk(component.slice(start..(start + CHUNK).min(component.len())))
    });
    let messages = std::iter::once(Message::Header(header))
        .chain(chunks)
        .map(|message| PushModuleRequest { message: Some(message) });
    let mut events = ModuleServiceClient::new(channel)
        .push_module(tokio_stream::iter(messages))
        .await
        .with_context(|| format!("push {}", upload.name))?
        .into_inner();
    while let Some(message) = events.message().await.context("push")? {
        if let Some(Event::Outcome(outcome)) = message.event {
            return Ok(outcome);
        }
    }
    bail!("the push of {} ended without an outcome", upload.name)
}
