//! What a call costs that a module makes of another one: the small call of a module, and of one that
//! leaves it to that module.

use super::unary;
use crate::{
    group::Group,
    record::Row,
    stage::{Language, Policy, SHARING, Stage},
    subject::{Subject, closed_case},
    work::{Task, Work},
};

pub(crate) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let direct = stage.hosted(Language::Rust, Policy::Pooled).await?;
    let direct = Subject { name: "called directly".to_owned(), ..direct };
    let subjects = [direct, stage.bound().await?];
    let mut rows = Vec::new();
    for callers in [1, 64] {
        let load = (Task::Call(Work::SMALL), stage.load(callers, SHARING));
        let (case, rounds) = (unary::case(callers), stage.plan.rounds);
        rows.extend(closed_case(Group::Bindings, &case, &subjects, load, rounds).await?);
    }
    Ok(rows)
}
