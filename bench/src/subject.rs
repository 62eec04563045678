//! What is measured: a server, with one of its modules or several, or a component in this process.

use std::sync::Arc;

use anyhow::Context as _;
use tonic::metadata::{Ascii, MetadataValue};

use crate::{
    flow::Messages,
    group::Group,
    load::{
        closed::{self, Load},
        script::Script,
    },
    peers::wasm::Typed,
    process::Process,
    record::{Case, Row, Sample},
    report, session,
    work::{Exchange, Task, Work},
};

/// What a call carries beside its message: the name of a module, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub name: MetadataValue<Ascii>,
    pub authorization: Option<MetadataValue<Ascii>>,
}

impl Module {
    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        Ok(Self { name: name.parse().context("a module's name")?, authorization: None })
    }
}

/// A server, and which of its modules are called: each call one of them at random.
#[derive(Clone)]
pub(crate) struct Server {
    pub at: Process,
    modules: Arc<[Module]>,
}

impl Server {
    /// A server whose calls name no module.
    pub(crate) fn plain(at: &Process) -> Self {
        Self { at: at.clone(), modules: Arc::new([]) }
    }

    pub(crate) fn with_modules(at: &Process, names: &[String]) -> anyhow::Result<Self> {
        let modules: anyhow::Result<Vec<_>> =
            names.iter().map(|name| Module::named(name)).collect();
        Ok(Self { at: at.clone(), modules: modules?.into() })
    }

    /// The same, called by whoever has the token.
    pub(crate) fn with_token(self, token: &str) -> anyhow::Result<Self> {
        let authorization = Some(format!("Bearer {token}").parse()?);
        let known =
            |module: &Module| Module { authorization: authorization.clone(), ..module.clone() };
        Ok(Self { modules: self.modules.iter().map(known).collect(), ..self })
    }

    pub(crate) fn module(&self, number: usize) -> Option<&Module> {
        self.modules.get(number)
    }

    pub(crate) fn modules(&self) -> usize {
        self.modules.len()
    }
}

/// Something that can be called.
#[derive(Clone)]
pub(crate) struct Subject {
    pub name: String,
    pub target: Target,
}

#[derive(Clone)]
pub(crate) enum Target {
    Server(Server),
    /// Each caller opens a session and calls that.
    Sessions(Server),
    InProcess(Arc<Typed>),
}

impl Subject {
    pub(crate) fn server(name: &str, server: Server) -> Self {
        Self { name: name.to_owned(), target: Target::Server(server) }
    }

    /// A component on wasmtime alone, one instance for all calls.
    pub(crate) fn typed(typed: Typed) -> Self {
        Self { name: "wasmtime, typed".to_owned(), target: Target::InProcess(Arc::new(typed)) }
    }

    /// Calls it in a closed loop; what is in this process has one caller.
    pub(crate) async fn closed(&self, work: Work, load: Load) -> anyhow::Result<Sample> {
        self.repeat(Task::Call(work), load).await
    }

    /// The same for streams too, which only servers have.
    pub(crate) async fn repeat(&self, task: Task, load: Load) -> anyhow::Result<Sample> {
        match (&self.target, task) {
            (Target::Server(server), Task::Call(work)) => {
                let script = Script::Unary(vec![Exchange::of(work)?]);
                closed::run(server, script, load).await
            }
            (Target::Server(server), Task::Flow(flow)) => {
                closed::run(server, Script::Flow(Messages::of(flow)?), load).await
            }
            (Target::Sessions(server), _) => match session::open(server, load.callers).await? {
                Ok(sessions) => {
                    let script = Script::Unary(sessions.exchanges()?);
                    let sample = closed::run(server, script, load).await;
                    sessions.close(server).await?;
                    sample
                }
                Err(reason) => Ok(Sample::Refused(reason)),
            },
            (Target::InProcess(typed), Task::Call(work)) => {
                let typed = Arc::clone(typed);
                tokio::task::spawn_blocking(move || typed.closed(work, load)).await?
            }
            (Target::InProcess(_), Task::Flow(_)) => {
                Ok(Sample::Refused("no streams in process".to_owned()))
            }
        }
    }
}

/// Rounds of a closed loop over all subjects in turn; the first is the measure of the others.
pub(crate) async fn closed_case(
    group: Group,
    case: &str,
    subjects: &[Subject],
    (task, load): (Task, Load),
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Case::new(group, case, subjects.iter().map(|subject| subject.name.as_str()));
    for round in 1..=rounds {
        report::progress(format_args!("{}: {case}, round {round} of {rounds}", group.name()));
        for (number, subject) in subjects.iter().enumerate() {
            if rows.is_open(number) {
                let sample = subject.repeat(task, load).await;
                rows.add(number, sample.with_context(|| format!("call {}", subject.name))?);
            }
        }
    }
    Ok(rows.finish())
}
