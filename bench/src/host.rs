//! Server processes: started, asked for their memory, and ended with their owner.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use roadstead_proto::v1::{
    PushHeader, PushModuleRequest, PushOutcome, SpecFormat,
    module_service_client::ModuleServiceClient, push_module_request::Message,
    push_module_response::Event,
};
use tonic::transport::{Channel, Endpoint};

const CHUNK: usize = 1 << 20;

/// A process that serves; killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    url: String,
}

impl Child {
    /// Starts a program and waits for its line `listening on ADDR`.
    pub(crate) fn start(program: &Path, args: &[OsString]) -> anyhow::Result<Self> {
        let mut process = Command::new(program)
            .args(args)
            .env("ROADSTEAD_LOG", "error")
            // A developer's setting, under which every dropped store captures a backtrace.
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LIB_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdout = process.stdout.take().context("the child's stdout")?;
        for line in BufReader::new(stdout).lines() {
            if let Some((_, address)) = line?.split_once("listening on ") {
                let address = address.trim().trim_start_matches("http://");
                return Ok(Self { process, url: format!("http://{address}") });
            }
        }
        bail!("{} ended before it listened: {}", program.display(), process.wait()?)
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> anyhow::Result<Channel> {
        Endpoint::from_shared(self.url.clone())?
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .connect()
            .await
            .with_context(|| format!("connect to {}", self.url))
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Resident memory in bytes, as the kernel counts it.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .context("VmRSS of the child")?;
        Ok(kib * 1024)
    }
}

impl Child {
    /// Processor time that the process has used, in the kernel's clock ticks of 10 ms.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name in parentheses may hold anything; user and system time are the 12th and 13th
        // field after it.
        let fields = stat.rsplit_once(')').context("the child's times")?.1.split_whitespace();
        let ticks: Vec<u64> = fields.skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
        Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only where the process is gone already, which is what is wanted.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

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
    /// A module of the repository, with its spec if it has one.
    pub(crate) fn read(modules: &Path, name: &str) -> anyhow::Result<Self> {
        let path = modules.join(format!("{name}.wasm"));
        let component = std::fs::read(&path)
            .with_context(|| format!("read {}: run scripts/build-modules.sh", path.display()))?;
        let spec =
            std::fs::read_to_string(modules.join(format!("{name}.yaml"))).unwrap_or_default();
        Ok(Self { name: name.to_owned(), component: component.into(), spec })
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
