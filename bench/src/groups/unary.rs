//! Small unary calls, by the number of callers.

use crate::{
    group::Group,
    record::Row,
    stage::{Language, Policy, SHARING, Stage},
    subject::{Subject, closed_case},
    work::{Task, Work},
};

/// The case of so many callers.
pub(crate) fn case(callers: usize) -> String {
    match callers {
        1 => "1 caller".to_owned(),
        callers => format!("{callers} callers"),
    }
}

pub(crate) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let mut servers = servers(stage).await?;
    servers.push(stage.sessions().await?);
    let mut alone = servers.clone();
    alone.push(Subject::typed(stage.typed(Language::Rust)?));
    let mut rows = Vec::new();
    for callers in stage.plan.callers.clone() {
        let subjects = if callers == 1 { &alone } else { &servers };
        let load = (Task::Call(Work::SMALL), stage.load(callers, SHARING));
        let rounds = stage.plan.rounds;
        rows.extend(closed_case(Group::Unary, &case(callers), subjects, load, rounds).await?);
    }
    Ok(rows)
}

/// The native server, the host with both policies, and grpcio: what most cases compare.
pub(super) async fn servers(stage: &mut Stage) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = vec![
        stage.native()?,
        stage.hosted(Language::Rust, Policy::Pooled).await?,
        stage.hosted(Language::Rust, Policy::PerCall).await?,
    ];
    subjects.extend(stage.grpcio()?);
    Ok(subjects)
}
