//! Guests in several languages, beside native servers in Rust and Python.

use super::{lists, payloads};
use crate::{
    group::Group,
    record::Row,
    stage::{Policy, SHARING, Stage},
    subject::closed_case,
    work::{Kind, Task, Way, Work},
};

/// Callers on one connection.
const CALLERS: usize = 16;

pub(crate) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let mut subjects = vec![stage.native()?];
    subjects.extend(stage.grpcio()?);
    for language in stage.paths.languages() {
        for policy in [Policy::Pooled, Policy::PerCall] {
            let mut subject = stage.hosted(language, policy).await?;
            subject.name = format!("{}, {}", language.name(), policy.name());
            subjects.push(subject);
        }
    }
    let mut rows = Vec::new();
    let (bytes, records) = if stage.plan.quick { (1 << 10, 10) } else { (64 << 10, 1000) };
    for (case, kind, count) in [
        (payloads::case(16, Way::Echo), Kind::Bytes, 16),
        (payloads::case(bytes, Way::Echo), Kind::Bytes, bytes),
        (lists::case(Kind::Records, Way::Echo, records), Kind::Records, records),
    ] {
        let work = Work::Transfer { kind, way: Way::Echo, count };
        let load = (Task::Call(work), stage.load(CALLERS, SHARING));
        let rounds = stage.plan.rounds;
        rows.extend(closed_case(Group::Guests, &case, &subjects, load, rounds).await?);
    }
    Ok(rows)
}
