//! What most groups share: a host with the guests, and the peers beside it, each started when it is
//! first asked for.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use tempfile::TempDir;

use crate::{
    host::{Host, Upload, push},
    load::closed::Load,
    peers::{
        grpcio::{self, Grpcio},
        native,
        wasm::{Checks, Typed},
    },
    plan::Plan,
    process::Child,
    report,
    subject::{Server, Subject, Target},
};

/// Callers that share one connection, where messages are small.
pub(crate) const SHARING: usize = 16;

/// Room for the largest messages that are measured, and for as much work on them.
pub(crate) const SPEC: &str = "\
limits: {memory: 512Mi, deadline: 2m, fuel_per_call: 1_000_000_000_000, input: 32Mi, output: 32Mi}
quota: {concurrency: 512, queue: 1024}
";

/// Where programs and components are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The host's binary.
    pub host: PathBuf,
    /// The built modules of the repository.
    pub modules: PathBuf,
    /// The built guests of the benchmarks.
    pub guests: PathBuf,
    /// A Python with grpcio.
    pub python: PathBuf,
    /// A Python with Ray.
    pub ray_python: PathBuf,
    /// A Python with FastAPI.
    pub fastapi_python: PathBuf,
    /// A Python with JAX.
    pub jax_python: PathBuf,
}

impl Paths {
    /// A guest of the benchmarks.
    pub(crate) fn guest(&self, language: Language) -> anyhow::Result<Upload> {
        Upload::read(&self.guests, language.file())
    }

    /// Those whose guests were built; the others' rows are left out.
    pub(crate) fn languages(&self) -> Vec<Language> {
        let built =
            |language: &Language| self.guests.join(language.file()).with_extension("wasm").exists();
        Language::ALL.into_iter().filter(built).collect()
    }
}

/// What a guest is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    Python,
    JavaScript,
}

impl Language {
    const ALL: [Self; 3] = [Self::Rust, Self::Python, Self::JavaScript];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }
}

/// Whose instances serve a module's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Instances are reused.
    Pooled,
    /// Each call has an instance of its own.
    PerCall,
}

impl Policy {
    /// As a subject is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pooled => "pooled",
            Self::PerCall => "per call",
        }
    }

    /// As a spec has it.
    pub(crate) fn spec(self) -> &'static str {
        match self {
            Self::Pooled => "instances: {policy: pooled, max_uses: 1000000000, warm: 256}\n",
            Self::PerCall => "instances: {policy: per-call}\n",
        }
    }
}

/// Started servers; ended with it.
pub(crate) struct Stage {
    pub paths: Paths,
    pub plan: Plan,
    native: Option<Child>,
    grpcio: Option<Option<Grpcio>>,
    host: Option<(Host, TempDir)>,
    pushed: Vec<String>,
}

impl Stage {
    pub(crate) fn new(paths: Paths, plan: Plan) -> Self {
        Self { paths, plan, native: None, grpcio: None, host: None, pushed: Vec::new() }
    }

    /// The native tonic server.
    pub(crate) fn native(&mut self) -> anyhow::Result<Subject> {
        let child = match &mut self.native {
            Some(child) => child,
            none => none.insert(native::start()?),
        };
        Ok(Subject::server("native tonic", Server::plain(child)))
    }

    /// The grpcio server, where there is a Python for it.
    pub(crate) fn grpcio(&mut self) -> anyhow::Result<Option<Subject>> {
        let grpcio = match &mut self.grpcio {
            Some(grpcio) => grpcio,
            none => none.insert(grpcio::start(&self.paths.python)?),
        };
        let subject = |peer: &Grpcio| Subject::server("grpcio", Server::plain(&peer.child));
        Ok(grpcio.as_ref().map(subject))
    }

    /// A guest on the host, called by its policy.
    pub(crate) async fn hosted(
        &mut self,
        language: Language,
        policy: Policy,
    ) -> anyhow::Result<Subject> {
        let module = format!("{}-{}", language.file(), policy.name().replace(' ', "-"));
        let guest = self.paths.guest(language)?;
        Ok(Subject::server(policy.name(), self.publish(&module, &guest, policy.spec()).await?))
    }

    /// A guest that leaves its calls to the Rust one, through a binding.
    pub(crate) async fn bound(&mut self) -> anyhow::Result<Subject> {
        let guest = Upload::read(&self.paths.guests, "through")?;
        let spec = format!(
            "{}bindings: {{'bench:work/transfer@0.1.0': {{module: rust-pooled}}}}\n",
            Policy::Pooled.spec()
        );
        Ok(Subject::server("through a binding", self.publish("through", &guest, &spec).await?))
    }

    /// The small call on sessions, one for each caller.
    pub(crate) async fn sessions(&mut self) -> anyhow::Result<Subject> {
        let guest = Upload::read(&self.paths.guests, "session")?;
        let server = self.publish("session", &guest, Policy::PerCall.spec()).await?;
        Ok(Subject { name: "session".to_owned(), target: Target::Sessions(server) })
    }

    /// Streams of a guest on the host.
    pub(crate) async fn streams(&mut self) -> anyhow::Result<Subject> {
        let guest = Upload::read(&self.paths.guests, "flow")?;
        Ok(Subject::server("per call", self.publish("flow", &guest, Policy::PerCall.spec()).await?))
    }

    /// Publishes a component on the host, once.
    async fn publish(
        &mut self,
        module: &str,
        guest: &Upload,
        spec: &str,
    ) -> anyhow::Result<Server> {
        let host = match &mut self.host {
            Some((host, _)) => host,
            none => {
                let data = tempfile::tempdir()?;
                let host = Host::start(&self.paths.host, data.path(), &[])?;
                &mut none.insert((host, data)).0
            }
        };
        if !self.pushed.iter().any(|pushed| pushed == module) {
            report::progress(format_args!("pushing {module}"));
            let upload = guest.named(module, &format!("{SPEC}{spec}"));
            push(host.child.connect().await?, upload).await?;
            self.pushed.push(module.to_owned());
        }
        Server::with_modules(&host.child, &[module.to_owned()])
    }

    /// A guest on wasmtime alone, in this process.
    pub(crate) fn typed(&self, language: Language) -> anyhow::Result<Typed> {
        let component: Bytes = self.paths.guest(language)?.component;
        Typed::compile(&component, Checks::default())
    }

    /// So many callers for one slice.
    pub(crate) fn load(&self, callers: usize, sharing: usize) -> Load {
        let Plan { warm_up, slice, .. } = self.plan;
        Load { callers, sharing, warm_up, slice }
    }

    /// The time of one measurement.
    pub(crate) fn slice(&self) -> Duration {
        self.plan.slice
    }
}
