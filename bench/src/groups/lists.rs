//! Lists of records, texts and numbers into a module, out of it and both.

use super::unary;
use crate::{
    group::Group,
    record::Row,
    stage::{Language, Stage},
    subject::{Subject, closed_case},
    work::{Kind, Task, Way, Work},
};

/// Callers, each with a connection of its own.
const CALLERS: usize = 4;

/// The case of so many items.
pub(crate) fn case(kind: Kind, way: Way, count: u32) -> String {
    let kind = match kind {
        Kind::Bytes => "bytes",
        Kind::Floats => "f32",
        Kind::Strings => "strings",
        Kind::Records => "records",
    };
    format!("{count} {kind} {}", way.name())
}

pub(crate) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let mut subjects = unary::servers(stage).await?;
    subjects.push(Subject::typed(stage.typed(Language::Rust)?));
    let items = stage.plan.items;
    let mut rows = Vec::new();
    for (kind, count) in
        [(Kind::Records, items), (Kind::Strings, items), (Kind::Floats, 10 * items)]
    {
        for way in Way::ALL {
            let load = (Task::Call(Work::Transfer { kind, way, count }), stage.load(CALLERS, 1));
            let rounds = stage.plan.rounds;
            let case = case(kind, way, count);
            rows.extend(closed_case(Group::Lists, &case, &subjects, load, rounds).await?);
        }
    }
    Ok(rows)
}
