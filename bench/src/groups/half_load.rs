//! Latency at half of a server's capacity: calls come independently of each other, and latency
//! counts from when each was due. The native server is called at the same rate beside each.

use anyhow::Context as _;

use crate::{
    figure,
    group::Group,
    load::open::{self, Arrivals},
    record::{Case, Row, Sample},
    report,
    stage::{Language, Policy, SHARING, Stage},
    subject::{Server, Subject, Target},
    work::{Exchange, Work},
};

/// Callers that find out what the capacity is.
const CALLERS: usize = 64;

/// The case of half of what a subject can do.
pub(crate) fn case(subject: &str) -> String {
    format!("half of {subject}")
}

pub(crate) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    let native = stage.native()?;
    let pooled = stage.hosted(Language::Rust, Policy::Pooled).await?;
    let per_call = stage.hosted(Language::Rust, Policy::PerCall).await?;
    let mut rows = Vec::new();
    for (of, beside) in [
        (&native, vec![&native, &pooled, &per_call]),
        (&pooled, vec![&native, &pooled]),
        (&per_call, vec![&native, &per_call]),
    ] {
        report::progress(format_args!("half-load: the capacity of {}", of.name));
        let capacity = match of.closed(Work::SMALL, stage.load(CALLERS, SHARING)).await? {
            Sample::Measured(figures) => figures.into_iter().find(|(key, _)| *key == figure::CALLS),
            Sample::Refused(_) => None,
        };
        let (_, capacity) = capacity.with_context(|| format!("the capacity of {}", of.name))?;
        rows.extend(one_rate(stage, &case(&of.name), &beside, capacity / 2.0).await?);
    }
    Ok(rows)
}

async fn one_rate(
    stage: &Stage,
    case: &str,
    subjects: &[&Subject],
    rate: f64,
) -> anyhow::Result<Vec<Row>> {
    let exchange = Exchange::of(Work::SMALL)?;
    let mut rows =
        Case::new(Group::HalfLoad, case, subjects.iter().map(|subject| subject.name.as_str()));
    for (round, seed) in (1..=stage.plan.rounds).zip(1_u64..) {
        report::progress(format_args!("half-load: {case}, round {round}"));
        for (number, subject) in subjects.iter().enumerate() {
            let arrivals =
                Arrivals { rate, warm_up: stage.plan.warm_up, slice: stage.slice(), seed };
            if let (true, Some(server)) = (rows.is_open(number), server(subject)) {
                rows.add(number, open::run(server, &exchange, arrivals).await?);
            }
        }
    }
    Ok(rows.finish())
}

fn server(subject: &Subject) -> Option<&Server> {
    match &subject.target {
        Target::Server(server) => Some(server),
        Target::Sessions(_) | Target::InProcess(_) => None,
    }
}
