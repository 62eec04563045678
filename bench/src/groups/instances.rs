//! What an instance of one's own for each call costs beside a used one: processor time of the server
//! for each call, one caller at a time.

use super::unary;
use crate::{
    group::Group,
    record::Row,
    stage::{Language, Policy, SHARING, Stage},
    subject::{Subject, closed_case},
    work::{Task, Work},
};

/// The case of one language and so many callers.
pub(crate) fn case(language: Language, callers: usize) -> String {
    format!("{}, {}", language.name(), unary::case(callers))
}

pub(crate) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for language in stage.paths.languages() {
        for callers in [1, 16] {
            let mut subjects = vec![
                stage.hosted(language, Policy::Pooled).await?,
                stage.hosted(language, Policy::PerCall).await?,
            ];
            if language == Language::Rust {
                subjects.push(stage.sessions().await?);
            }
            if callers == 1 {
                let typed = stage.typed(language)?;
                let name = "wasmtime, typed, per call".to_owned();
                subjects.push(Subject::typed(typed.clone()));
                subjects.push(Subject { name, ..Subject::typed(typed.per_call()) });
            }
            let load = (Task::Call(Work::SMALL), stage.load(callers, SHARING));
            let (case, rounds) = (case(language, callers), stage.plan.rounds);
            rows.extend(closed_case(Group::Instances, &case, &subjects, load, rounds).await?);
        }
    }
    Ok(rows)
}
