//! How long native modules take to come, to come again after they were idle, and to come back after
//! `kill -9`; Ray's actors beside them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{LINALG, TONIC, messages, python::Clients};
use crate::{
    family, figure,
    group::Group,
    load::{Caller, reason},
    peers::{
        native_module::{NativeHost, NativeModule},
        python::Python,
    },
    record::{Case, Row, Sample},
    report,
    stage::{Paths, Stage},
    subject::{Module, Server},
    work::{Exchange, Work},
};

/// After which time without calls servers end; longer than what is done between two calls.
const IDLE: &str = "2s";

/// Within which everything here comes about.
const PATIENCE: Duration = Duration::from_secs(120);

/// Steps of the learner, all of them durable.
const STEPS: u32 = 100;

/// A module whose times are taken.
struct Timed {
    /// In names of modules.
    short: &'static str,
    module: NativeModule,
    /// The call that is answered.
    call: Exchange,
    /// One after which there is state.
    step: Option<Exchange>,
}

pub(super) async fn measure(stage: &Stage, clients: &mut Clients) -> anyhow::Result<Vec<Row>> {
    let subjects = subjects(&stage.paths)?;
    let names = subjects.iter().map(|(name, _)| *name).chain(["Ray actor"]);
    let mut case = Case::new(Group::Native, "times", names);
    let host = NativeHost::start(&stage.paths.host)?;
    for round in 1..=stage.plan.rounds {
        for (number, (name, timed)) in subjects.iter().enumerate() {
            report::progress(format_args!("native: times of {name}, round {round}"));
            let sample = match timed {
                Ok(timed) => timed.measure(&host, round).await.context(*name)?,
                Err(reason) => Sample::Refused(reason.clone()),
            };
            case.add(number, sample);
        }
        report::progress(format_args!("native: times of Ray, round {round}"));
        case.add(subjects.len(), ray(clients)?);
    }
    Ok(case.finish())
}

type Subject = (&'static str, Result<Timed, String>);

fn subjects(paths: &Paths) -> anyhow::Result<[Subject; 3]> {
    let tonic = Timed {
        short: "tonic",
        module: NativeModule::tonic()?.idle(IDLE),
        call: Exchange::of(Work::SMALL)?,
        step: None,
    };
    let linalg = match Python::roadstead(&paths.python).check() {
        Ok(python) => Ok(Timed {
            short: "linalg",
            module: NativeModule::linalg(python)?.idle(IDLE),
            call: messages::describe()?,
            step: None,
        }),
        Err(reason) => Err(reason),
    };
    let learner = match Python::jax(&paths.jax_python).check() {
        Ok(python) => Ok(Timed {
            short: "learner",
            module: NativeModule::learner(python)?.idle(IDLE),
            call: messages::status()?,
            step: Some(messages::step(STEPS)?),
        }),
        Err(reason) => Err(reason),
    };
    Ok([(TONIC, Ok(tonic)), (LINALG, linalg), ("learner in JAX", learner)])
}

impl Timed {
    async fn measure(&self, host: &NativeHost, round: usize) -> anyhow::Result<Sample> {
        let name = format!("{}-{round}", self.short);
        let began = Instant::now();
        let server = host.push(&self.module, &name)?;
        let mut called = Called::new(&server).await?;
        called.answer(&self.call).await?;
        let mut figures = vec![(figure::CREATED, ms(began.elapsed()))];

        self.idle(&server).await?;
        let began = Instant::now();
        called.answer(&self.call).await?;
        figures.push((figure::ACTIVATED, ms(began.elapsed())));

        if let Some(step) = &self.step {
            let steps = messages::steps(&called.answer(step).await?);
            ensure!(steps.is_some_and(|steps| u64::from(STEPS) <= steps), "{steps:?} steps");
        }
        let servers = family::find(server.at.id(), self.module.words);
        let [process] = servers.as_slice() else { bail!("one server, not {servers:?}") };
        family::kill(*process)?;
        let began = Instant::now();
        let answer = called.next_answer(&self.call).await?;
        figures.push((figure::RESTORED, ms(began.elapsed())));
        if self.step.is_some() {
            let steps = messages::steps(&answer).context("an answer without steps")?;
            #[expect(clippy::cast_precision_loss, reason = "a hundred steps")]
            figures.push((figure::KEPT, steps as f64 / f64::from(STEPS) * 100.0));
        }
        // What is measured next has the machine for itself.
        self.idle(&server).await?;
        Ok(Sample::Measured(figures))
    }

    /// Waits until no server of the module is left.
    async fn idle(&self, server: &Server) -> anyhow::Result<()> {
        let began = Instant::now();
        while !family::find(server.at.id(), self.module.words).is_empty() {
            ensure!(began.elapsed() < PATIENCE, "its servers do not end though nobody calls");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// A connection on which a module is called.
struct Called {
    caller: Caller,
    module: Module,
}

impl Called {
    async fn new(server: &Server) -> anyhow::Result<Self> {
        let module = server.module(0).context("a module")?.clone();
        Ok(Self { caller: Caller::new(server.at.connect().await?), module })
    }

    async fn answer(&mut self, call: &Exchange) -> anyhow::Result<bytes::Bytes> {
        let answer = self.caller.send(call, Some(&self.module)).await;
        answer.map_err(|status| anyhow::anyhow!("{}: {}", call.path, reason(&status)))
    }

    /// The next call that is answered, whatever happens to those before.
    async fn next_answer(&mut self, call: &Exchange) -> anyhow::Result<bytes::Bytes> {
        let began = Instant::now();
        loop {
            match self.answer(call).await {
                Ok(answer) => return Ok(answer),
                Err(error) if PATIENCE < began.elapsed() => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

fn ray(clients: &mut Clients) -> anyhow::Result<Sample> {
    let created = match clients.ray_once("created")? {
        Ok(answer) => answer,
        Err(reason) => return Ok(Sample::Refused(reason)),
    };
    let mut figures = vec![(figure::CREATED, created.seconds * 1e3)];
    if let Ok(killed) = clients.ray_once("killed")? {
        figures.push((figure::RESTORED, killed.seconds * 1e3));
        figures.extend(killed.kept.map(|kept| (figure::KEPT, kept * 100.0)));
    }
    Ok(Sample::Measured(figures))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
