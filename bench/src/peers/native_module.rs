//! Native modules of the benchmarks, and a host that runs them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::{host::Host, subject::Server};

const LINALG: &str = "modules/linalg/linalg.py";
const LEARNER: &str = "modules/learner/learner.py";

/// What is pushed.
#[derive(Debug, Clone)]
pub(crate) struct NativeModule {
    /// Of a directory of the repository.
    wit: &'static str,
    world: &'static str,
    command: Vec<String>,
    /// Words of the command that no other process of a host has.
    pub words: &'static str,
    stateful: bool,
    /// After which time without calls its servers end.
    idle: Option<&'static str>,
}

impl NativeModule {
    /// The native tonic server, which is this program.
    pub(crate) fn tonic() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        Ok(Self {
            wit: "bench/guests/wit",
            world: "full",
            command: vec![text(&program)?, "--serve-native".to_owned()],
            words: "--serve-native",
            stateful: false,
            idle: None,
        })
    }

    pub(crate) fn linalg(python: &Path) -> anyhow::Result<Self> {
        Self::in_python("modules/linalg/wit", python, LINALG, false)
    }

    pub(crate) fn learner(python: &Path) -> anyhow::Result<Self> {
        Self::in_python("modules/learner/wit", python, LEARNER, true)
    }

    fn in_python(
        wit: &'static str,
        python: &Path,
        file: &'static str,
        stateful: bool,
    ) -> anyhow::Result<Self> {
        let command = vec![text(python)?, "-m".to_owned(), "roadstead.native".to_owned()];
        let command = [command, vec![file.to_owned()]].concat();
        Ok(Self { wit, world: "module", command, words: file, stateful, idle: None })
    }

    /// The same, with servers that end when nobody calls.
    pub(crate) fn idle(self, after: &'static str) -> Self {
        Self { idle: Some(after), ..self }
    }

    /// YAML, with room for the largest messages and for all callers.
    fn spec(&self) -> anyhow::Result<String> {
        let command = serde_json::to_string(&self.command)?;
        let methods = if self.stateful { "" } else { "  concurrent: ['*']\n  idempotent: ['*']\n" };
        let idle = self.idle.map(|after| format!("  idle: {after}\n")).unwrap_or_default();
        let stateful = self.stateful;
        Ok(format!(
            "limits: {{deadline: 2m, input: 64Mi, output: 64Mi}}\n\
             quota: {{concurrency: 512, queue: 1024}}\n\
             native:\n  command: {command}\n  stateful: {stateful}\n\
             \x20 resources: {{cpu: 2, memory: 4Gi, pids: 256}}\n\
             \x20 env: {{OPENBLAS_NUM_THREADS: '1'}}\n\
             \x20 probes: {{startup: 2m}}\n  activation_timeout: 2m\n{methods}{idle}"
        ))
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("a path that is text")?.to_owned())
}

/// `modules/linalg` as a process of its own, which listens on loopback.
pub(crate) fn linalg_alone(python: &Path) -> anyhow::Result<crate::process::Child> {
    let args = ["-m", "roadstead.native", LINALG].map(Into::into);
    crate::process::Child::start_quiet(python, &args, "ROADSTEAD_LISTEN")
}

/// A host that runs native modules.
pub(crate) struct NativeHost {
    pub host: Host,
    program: PathBuf,
    files: TempDir,
}

impl NativeHost {
    pub(crate) fn start(program: &Path) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let host = Host::start(program, &files.path().join("data"), &["--native"])?;
        Ok(Self { host, program: program.to_owned(), files })
    }

    /// Pushes a module as the command line does.
    pub(crate) fn push(&self, module: &NativeModule, name: &str) -> anyhow::Result<Server> {
        let spec = self.files.path().join(format!("{name}.yaml"));
        fs::write(&spec, module.spec()?)?;
        let pushed = Command::new(&self.program)
            .args(["--host", &format!("http://{}", self.host.child.address())])
            .args(["push", "--name", name, "--wit", module.wit, "--world", module.world])
            .arg("--native")
            .arg(&spec)
            .output()?;
        ensure!(pushed.status.success(), "push: {}", String::from_utf8_lossy(&pushed.stderr));
        Server::with_modules(&self.host.child, &[name.to_owned()])
    }
}
