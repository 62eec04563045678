//! Two records side by side.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    figure::{self, Figure},
    group::Group,
    record::{Record, Row},
    report::number,
    table::Table,
};

/// One figure of one row in both records; medians.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    group: String,
    case: String,
    subject: String,
    figure: &'static str,
    a: Option<f64>,
    b: Option<f64>,
    b_of_a: Option<f64>,
    ratio_a: Option<f64>,
    ratio_b: Option<f64>,
    refused_a: Option<String>,
    refused_b: Option<String>,
}

/// For each row that either has, its group's leading figure (or `all` of them) in both.
pub(crate) fn compare(a: &Record, b: &Record, all: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    for place @ (group, case, subject) in places(a, b) {
        let rows = (a.row(group, case, subject), b.row(group, case, subject));
        lines.extend(figures(group, rows, all).map(|figure| line(place, figure, rows)));
    }
    lines
}

/// What [`compare`] found, for people.
pub(crate) fn text(a: &Record, b: &Record, all: bool) -> String {
    let mut text = format!("A: {}\nB: {}\n\n", origin(a), origin(b));
    if a.machine != b.machine {
        text.push_str("The machines differ: only ratios can be compared.\n\n");
    }
    let head = ["group", "case", "of", "figure", "A", "B", "B/A", "ratio A", "ratio B"];
    let mut table = Table::new(4, head);
    for line in compare(a, b, all) {
        let figure = figure::ALL.iter().find(|figure| figure.key == line.figure);
        let decimals = figure.map_or(2, |figure| figure.decimals);
        let cell = |refused: &Option<String>, value| match refused {
            Some(reason) => format!("refused: {reason}"),
            None => number(value, decimals),
        };
        table.row(vec![
            line.group,
            line.case,
            line.subject,
            figure.map_or(line.figure, |figure| figure.head).to_owned(),
            cell(&line.refused_a, line.a),
            cell(&line.refused_b, line.b),
            number(line.b_of_a, 2),
            number(line.ratio_a, 2),
            number(line.ratio_b, 2),
        ]);
    }
    text + &table.text()
}

fn origin(record: &Record) -> String {
    let modified = if record.modified { ", modified" } else { "" };
    let quick = if record.settings.quick { ", a smoke run" } else { "" };
    format!("{}, commit {}{modified}{quick}; {}", record.taken, record.commit, record.machine)
}

/// Where either record has a row, in A's order and then B's.
fn places<'a>(a: &'a Record, b: &'a Record) -> Vec<(&'a str, &'a str, &'a str)> {
    let mut seen = BTreeSet::new();
    let place = |row: &'a Row| (row.group.as_str(), row.case.as_str(), row.subject.as_str());
    a.rows.iter().chain(&b.rows).map(place).filter(|place| seen.insert(*place)).collect()
}

/// The figures to show, at least one: a refusal is shown with the leading figure.
fn figures(
    group: &str,
    (a, b): (Option<&Row>, Option<&Row>),
    all: bool,
) -> impl Iterator<Item = &'static Figure> {
    let lead = Group::named(group).map(Group::lead);
    let has = move |figure: &&Figure| {
        all && [a, b].into_iter().flatten().any(|row| row.figures.contains_key(figure.key))
    };
    let wanted: Vec<_> =
        figure::ALL.iter().filter(|figure| lead == Some(figure.key) || has(figure)).collect();
    wanted.into_iter()
}

fn line(
    (group, case, subject): (&str, &str, &str),
    figure: &Figure,
    (a, b): (Option<&Row>, Option<&Row>),
) -> Line {
    let value = |row: Option<&Row>| row.and_then(|row| row.figure(figure.key));
    let lead = Group::named(group).is_some_and(|group| group.lead() == figure.key);
    let ratio = |row: Option<&Row>| row.filter(|_| lead).and_then(|row| row.ratio);
    let refused = |row: Option<&Row>| row.and_then(|row| row.refused.clone());
    Line {
        group: group.to_owned(),
        case: case.to_owned(),
        subject: subject.to_owned(),
        figure: figure.key,
        a: value(a),
        b: value(b),
        b_of_a: value(a).zip(value(b)).filter(|(a, _)| *a != 0.0).map(|(a, b)| b / a),
        ratio_a: ratio(a),
        ratio_b: ratio(b),
        refused_a: refused(a),
        refused_b: refused(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;

    #[test]
    fn both_values_their_ratio_and_what_only_one_has_are_shown() {
        let (a, mut b) = (sample(1.0), sample(0.5));
        b.rows.retain(|row| row.subject != "native tonic");
        let text = text(&a, &b, false);
        let line = |subject: &str| {
            let line = text.lines().find(|line| line.contains(subject)).unwrap();
            line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().join("|")
        };
        assert_eq!(line("native"), "|unary|64 callers|native tonic|calls/s|1500|-|-|1.00|-|");
        assert_eq!(line("pooled"), "|unary|64 callers|pooled|calls/s|1350|675|0.50|0.90|0.45|");
        assert!(line("per call").contains("|refused: OVERLOADED|refused: OVERLOADED|-|"));
        assert!(!text.contains("machines differ"));
        b.machine.cores = 64;
        assert!(super::text(&a, &b, true).contains("machines differ"));
    }
}
