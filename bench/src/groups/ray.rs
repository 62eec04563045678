//! Ray's actors and tasks beside calls of modules, one at a time and many in flight.
//!
//! Ray's client is Python, so ours is measured from Python as well as from Rust.

use anyhow::Context as _;

use super::payloads;
use crate::{
    group::Group,
    peers::worker::{Ask, Worker},
    record::{Case, Row, Sample},
    report,
    stage::{Language, Policy, SHARING, Stage},
    subject::{Server, Subject, Target},
    work::{Kind, Way, Work},
};

/// Calls that are on their way at the same time.
pub(crate) const MANY: usize = 256;

/// The case of so many calls in flight, each with so many bytes there and back.
pub(crate) fn case(in_flight: usize, bytes: u32) -> String {
    let size = payloads::size(bytes);
    match in_flight {
        1 => format!("one at a time, {size}"),
        many => format!("{many} in flight, {size}"),
    }
}

/// Who calls, and whom.
enum Caller {
    /// A client in Python, by its place, and what it calls.
    Python(usize, String),
    Rust(Subject),
    /// Not here, for this reason.
    Missing(String),
}

pub(super) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let (mut workers, callers) = callers(stage).await?;
    let mut rows = Vec::new();
    let (many, large) = if stage.plan.quick { (4, 1 << 10) } else { (MANY, 1 << 20) };
    for (in_flight, bytes) in [(1, 16), (many, 16), (1, large)] {
        let names = callers.iter().map(|(name, _)| name.as_str());
        let mut case = Case::new(Group::Ray, case(in_flight, bytes), names);
        for round in 1..=stage.plan.rounds {
            report::progress(format_args!("ray: {in_flight} in flight, {bytes} B, round {round}"));
            for (number, (name, caller)) in callers.iter().enumerate() {
                if case.is_open(number) {
                    let sample = one(stage, &mut workers, caller, in_flight, bytes).await;
                    case.add(number, sample.with_context(|| name.clone())?);
                }
            }
        }
        rows.extend(case.finish());
    }
    Ok(rows)
}

async fn one(
    stage: &Stage,
    workers: &mut [Worker],
    caller: &Caller,
    in_flight: usize,
    bytes: u32,
) -> anyhow::Result<Sample> {
    match caller {
        Caller::Missing(reason) => Ok(Sample::Refused(reason.clone())),
        Caller::Rust(subject) => {
            let work = Work::Transfer { kind: Kind::Bytes, way: Way::Echo, count: bytes };
            subject.closed(work, stage.load(in_flight, SHARING)).await
        }
        Caller::Python(worker, target) => {
            let worker = workers.get_mut(*worker).context("a client in Python")?;
            let plan = &stage.plan;
            let (warm_up, seconds) = (plan.warm_up.as_secs_f64(), plan.slice.as_secs_f64());
            worker.measure(&Ask { target, bytes, in_flight, warm_up, seconds })
        }
    }
}

/// Everyone who can be measured here, Ray's actor first.
async fn callers(stage: &mut Stage) -> anyhow::Result<(Vec<Worker>, Vec<(String, Caller)>)> {
    let mut workers = Vec::new();
    let mut callers = Vec::new();
    if stage.paths.ray_python.exists() {
        let script = include_str!("../../peers/ray_calls.py");
        workers.push(Worker::start(&stage.paths.ray_python, script)?);
        for target in ["actor", "task"] {
            callers.push((format!("Ray {target}"), Caller::Python(0, target.to_owned())));
        }
    } else {
        let reason = "no Ray here: scripts/setup-ray.sh installs it".to_owned();
        callers.push(("Ray actor".to_owned(), Caller::Missing(reason)));
    }
    let mut ours = vec![
        stage.hosted(Language::Rust, Policy::Pooled).await?,
        stage.hosted(Language::Rust, Policy::PerCall).await?,
    ];
    for subject in &ours {
        let name = format!("{}, Rust client", subject.name);
        callers.push((name, Caller::Rust(subject.clone())));
    }
    if stage.paths.python.exists() {
        let script = include_str!("../../peers/grpcio_client.py");
        workers.push(Worker::start(&stage.paths.python, script)?);
        ours.extend(stage.grpcio()?);
        for subject in ours {
            if let Target::Server(server) = subject.target {
                let caller = Caller::Python(workers.len() - 1, target(&server)?);
                callers.push((format!("{}, Python client", subject.name), caller));
            }
        }
    }
    Ok((workers, callers))
}

/// An address and a module, or none, as the client in Python reads them.
fn target(server: &Server) -> anyhow::Result<String> {
    let module = server.module(0).map(|module| module.name.to_str()).transpose()?;
    Ok(format!("{} {}", server.at.address(), module.unwrap_or_default()))
}
