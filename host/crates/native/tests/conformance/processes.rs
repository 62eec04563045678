//! Native modules as processes of this machine, and what a test does to them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use roadstead_domain::ModuleId;
use roadstead_engine::{Engine, Natives};
use roadstead_native::{Processes, ProcessesConfig};
use tempfile::TempDir;

use crate::stage::{Backend, PATIENCE, Program, engine, fixtures, until};

/// A directory with a host's native modules in it.
pub(crate) struct LocalProcesses {
    directory: PathBuf,
    /// Taken away at the end.
    _made: Option<TempDir>,
    engine: Arc<Engine>,
    pub(crate) processes: Arc<Processes>,
}

pub(crate) fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup`", python.display());
    // Links to it are followed by Python itself.
    root.canonicalize().unwrap().join(".venv/bin/python")
}

/// With waits that are fit for tests.
pub(crate) fn config(directory: &Path, engine: &Engine) -> ProcessesConfig {
    let mut config = ProcessesConfig::new(directory.to_owned(), fixtures(), engine.logs().clone());
    config.restarts.first = Duration::from_millis(50);
    config
}

impl LocalProcesses {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ProcessesConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = engine();
        let mut config = config(directory.path(), &engine);
        change(&mut config);
        let processes = Processes::open(config).unwrap();
        let path = directory.path().to_owned();
        Self { directory: path, _made: Some(directory), engine, processes }
    }

    /// In a directory that another host may have left.
    pub(crate) fn at(directory: &Path, engine: Arc<Engine>, config: ProcessesConfig) -> Self {
        let processes = Processes::open(config).unwrap();
        Self { directory: directory.to_owned(), _made: None, engine, processes }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    pub(crate) async fn shutdown(self) {
        self.processes.shutdown(PATIENCE).await;
        assert_eq!(records(self.path()), []);
    }
}

impl Backend for LocalProcesses {
    fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    fn natives(&self) -> Arc<dyn Natives> {
        Arc::clone(&self.processes) as _
    }

    fn program(&self, program: Program) -> String {
        program_yaml(program)
    }

    async fn signal(&self, epoch: u64, signal: &'static str) {
        let directory = self.path().to_owned();
        until("the server runs", || server(&directory, epoch).is_some()).await;
        let pid = server(&directory, epoch).unwrap();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
        assert!(status.unwrap().success());
    }

    async fn state(&self, module: &ModuleId, file: &str) -> Option<String> {
        let module = format!("modules/{}.{}", module.namespace, module.name);
        std::fs::read_to_string(self.path().join(module).join("state").join(file)).ok()
    }
}

pub(crate) fn program_yaml(program: Program) -> String {
    let python = python();
    let python = python.display();
    match program {
        Program::Probe => format!("command: [{python}, -m, roadstead.native, probe/probe.py]"),
        Program::Counter => {
            format!("command: [{python}, -m, roadstead.native, probe/counter.py], stateful: true")
        }
        Program::Liar(lie) => format!("command: [{python}, probe/liar.py], env: {{LIE: {lie}}}"),
    }
}

/// What is recorded of servers that run: the epoch, and the number of the first helper.
pub(crate) fn records(directory: &Path) -> Vec<(u64, Option<i64>)> {
    let files = std::fs::read_dir(directory.join("records")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|one| one == "json"));
    files
        .filter_map(|file| {
            let record: serde_json::Value =
                serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
            let epoch = record["env"]["ROADSTEAD_EPOCH"].as_str()?.parse().ok()?;
            Some((epoch, record["process"]["pid"].as_i64()))
        })
        .collect()
}

/// The process of an attempt's server, under its two helpers.
pub(crate) fn server(directory: &Path, epoch: u64) -> Option<i64> {
    let (_, outer) = records(directory).into_iter().find(|(one, _)| *one == epoch)?;
    child(child(outer?)?)
}

pub(crate) fn child(parent: i64) -> Option<i64> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// Whether a process is there, and more than its remains.
pub(crate) fn lives(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
