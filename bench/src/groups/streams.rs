//! Streams of numbers and of bytes into a module, out of it and both.

use crate::{
    flow::{Flow, Kind},
    group::Group,
    record::Row,
    stage::Stage,
    subject::closed_case,
    work::{Task, Way},
};

/// Callers, each with a connection of its own.
const CALLERS: usize = 4;

pub(super) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let subjects = vec![stage.native()?, stage.streams().await?];
    let (numbers, bytes) = (stage.plan.stream_numbers, stage.plan.stream_bytes);
    let mut rows = Vec::new();
    for (name, kind, count) in [("u32", Kind::Numbers, numbers), ("bytes", Kind::Bytes, bytes)] {
        for way in Way::ALL {
            let case = format!("{count} {name} {}", way.name());
            let load = (Task::Flow(Flow { kind, way, count }), stage.load(CALLERS, 1));
            let rounds = stage.plan.rounds;
            rows.extend(closed_case(Group::Streams, &case, &subjects, load, rounds).await?);
        }
    }
    Ok(rows)
}
