//! A host by the number of its published modules, each its own code: calls of modules taken at
//! random, resident memory, and the time that a restart takes.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    figure,
    group::Group,
    host::{Host, Upload, push},
    load,
    peers::{grpcio, native},
    process::Process,
    record::{Case, Row, Sample},
    report,
    stage::{Language, SHARING, Stage},
    subject::{Module, Server, Subject},
    work::{Exchange, Work},
};

/// What is measured here.
pub(super) const GROUPS: [Group; 3] = [Group::Modules, Group::Memory, Group::Start];

/// Pushes in flight: they keep the workers busy, and the host's own limits are not at stake here.
const AT_ONCE: usize = 4;

/// Callers of modules at random.
const CALLERS: usize = 16;

/// A host and what was published on it.
struct Fleet {
    host: Host,
    module: Upload,
    names: Vec<String>,
    _data: TempDir,
}

pub(super) async fn measure(stage: &Stage, groups: &[Group]) -> anyhow::Result<Vec<Row>> {
    let counts = &stage.plan.modules;
    let subjects = || counts.iter().map(|count| of(*count));
    let mut random = Case::new(Group::Modules, "16 callers", subjects());
    let mut start = Case::new(Group::Start, "a host", subjects());
    let mut memory = Case::new(Group::Memory, "published", subjects());
    let mut called = Case::new(Group::Memory, "and called once", subjects());
    let mut rows = Vec::new();
    if groups.contains(&Group::Start) {
        rows.extend(processes(stage).await?);
    }
    let mut fleet = Fleet::start(stage)?;
    let empty = fleet.host.child.resident()?;
    for (number, &count) in counts.iter().enumerate() {
        fleet.publish(count).await?;
        // What is measured then is a host that was started so, without what pushes leave behind.
        for round in 1..=stage.plan.rounds {
            report::progress(format_args!("start: {}, round {round}", of(count)));
            let (restarted, listening) = fleet.restart()?;
            fleet = restarted;
            memory.add(number, each(fleet.host.child.resident()?, empty, count));
            start.add(number, started(&fleet.host.child, fleet.names.last(), listening).await?);
        }
        fleet.call_each().await?;
        called.add(number, each(fleet.host.child.resident()?, empty, count));
        if groups.contains(&Group::Modules) {
            fleet.call_at_random(stage, number, &mut random).await?;
        }
    }
    for (group, case) in [
        (Group::Modules, random),
        (Group::Memory, memory),
        (Group::Memory, called),
        (Group::Start, start),
    ] {
        if groups.contains(&group) {
            rows.extend(case.finish());
        }
    }
    Ok(rows)
}

fn of(modules: usize) -> String {
    match modules {
        1 => "1 module".to_owned(),
        modules => format!("{modules} modules"),
    }
}

/// Memory beyond that of the empty host, for each.
#[expect(clippy::cast_precision_loss, reason = "sizes are shown in KiB")]
pub(super) fn each(resident: u64, empty: u64, count: usize) -> Sample {
    let beyond = resident.saturating_sub(empty) as f64;
    Sample::Measured(vec![
        (figure::RESIDENT, resident as f64 / f64::from(1 << 20)),
        (figure::EACH, beyond / 1024.0 / count.max(1) as f64),
    ])
}

impl Fleet {
    fn start(stage: &Stage) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let host = Host::start(&stage.paths.host, data.path(), &[])?;
        let module = stage.paths.guest(Language::Rust)?;
        Ok(Self { host, module, names: Vec::new(), _data: data })
    }

    /// Publishes until there are so many.
    async fn publish(&mut self, count: usize) -> anyhow::Result<()> {
        report::progress(format_args!("publishing {}, each its own code", of(count)));
        let channel = self.host.child.connect().await?;
        let mut pushes = JoinSet::new();
        for number in self.names.len()..count {
            if pushes.len() == AT_ONCE
                && let Some(done) = pushes.join_next().await
            {
                done??;
            }
            let name = format!("work-{number}");
            let upload = self.module.marked(name.clone(), u32::try_from(number)?);
            self.names.push(name);
            pushes.spawn(push(channel.clone(), upload));
        }
        while let Some(done) = pushes.join_next().await {
            done??;
        }
        Ok(())
    }

    /// The same in a new process, and how long it took to listen.
    fn restart(self) -> anyhow::Result<(Self, Duration)> {
        let Self { host, module, names, _data } = self;
        let began = Instant::now();
        let host = host.restart()?;
        let listening = began.elapsed();
        Ok((Self { host, module, names, _data }, listening))
    }

    async fn call_each(&self) -> anyhow::Result<()> {
        let channel = self.host.child.connect().await?;
        for name in &self.names {
            small_call(&channel, name).await?;
        }
        Ok(())
    }

    async fn call_at_random(
        &self,
        stage: &Stage,
        number: usize,
        case: &mut Case,
    ) -> anyhow::Result<()> {
        let subject = Subject::server("", Server::with_modules(&self.host.child, &self.names)?);
        for round in 1..=stage.plan.rounds {
            report::progress(format_args!("modules: {}, round {round}", of(self.names.len())));
            case.add(number, subject.closed(Work::SMALL, stage.load(CALLERS, SHARING)).await?);
        }
        Ok(())
    }
}

/// Starts of the peers, which have one function each.
async fn processes(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let mut case = Case::new(Group::Start, "a process of its own", ["native tonic", "grpcio"]);
    for round in 1..=stage.plan.rounds {
        report::progress(format_args!("start: peers, round {round}"));
        let began = Instant::now();
        let native = native::start()?;
        let listening = began.elapsed();
        case.add(0, started(&native, None, listening).await?);
        let began = Instant::now();
        if let Some(grpcio) = grpcio::start(&stage.paths.python)? {
            let listening = began.elapsed();
            case.add(1, started(&grpcio.child, None, listening).await?);
        }
    }
    Ok(case.finish())
}

async fn started(
    at: &Process,
    name: Option<&String>,
    listening: Duration,
) -> anyhow::Result<Sample> {
    let server = Server::with_modules(at, name.map_or(&[], std::slice::from_ref))?;
    let exchange = Exchange::of(Work::SMALL)?;
    let began = Instant::now();
    if let Some(reason) = load::probe(&server, &exchange).await? {
        return Ok(Sample::Refused(reason));
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(Sample::Measured(vec![
        (figure::LISTENING, ms(listening)),
        (figure::FIRST_CALL, ms(began.elapsed())),
    ]))
}

/// One small call of a module, which must succeed.
pub(super) async fn small_call(
    channel: &tonic::transport::Channel,
    module: &str,
) -> anyhow::Result<()> {
    let exchange = Exchange::of(Work::SMALL)?;
    let module = Module::named(module)?;
    load::Caller::new(channel.clone()).send(&exchange, Some(&module)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_each_is_what_is_beyond_the_empty_host() {
        let Sample::Measured(figures) = each(11 << 20, 1 << 20, 10) else { panic!() };
        assert_eq!(figures, [(figure::RESIDENT, 11.0), (figure::EACH, 1024.0)]);
        let Sample::Measured(figures) = each(1, 2, 0) else { panic!() };
        assert_eq!(figures[1].1, 0.0);
    }
}
