//! A record as tables for people, and the only place that prints.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::fmt::{self, Display};

use crate::{
    aims, compare,
    figure::{self, Figure},
    group::Group,
    record::{Machine, Record, Row},
    table::Table,
};

/// A machine with less idle than this is full.
const FULL: f64 = 0.9;

/// A remark about what is being done.
pub(crate) fn progress(text: impl Display) {
    eprintln!("bench: {text}");
}

/// A line of output for another program.
pub(crate) fn line(text: impl Display) {
    println!("{text}");
}

pub(crate) fn print(record: &Record, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(record)?);
    } else {
        print!("{record}");
    }
    Ok(())
}

/// Two records side by side.
pub(crate) fn compared(a: &Record, b: &Record, all: bool, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(&compare::compare(a, b, all))?);
    } else {
        print!("{}", compare::text(a, b, all));
    }
    Ok(())
}

impl Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, memory_mib } = self;
        write!(f, "{cores} cores, {processor}, {memory_mib} MiB, Linux {kernel}")
    }
}

impl Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, commit, machine, settings, .. } = self;
        let modified = if self.modified { ", modified" } else { "" };
        writeln!(f, "{taken}, commit {commit}{modified}; {machine}; clients on the same machine;")?;
        let quick = if settings.quick { ": a smoke run, whose figures mean nothing" } else { "" };
        writeln!(f, "medians of {} rounds of {} s{quick}\n", settings.rounds, settings.seconds)?;
        for group in Group::ALL {
            let rows: Vec<_> = self.rows.iter().filter(|row| row.group == group.name()).collect();
            f.write_str(&of_group(group, &rows, machine.cores))?;
        }
        f.write_str(&aims::table(self))
    }
}

fn of_group(group: Group, rows: &[&Row], cores: usize) -> String {
    let measured = |figure: &&Figure| rows.iter().any(|row| row.figures.contains_key(figure.key));
    let figures: Vec<_> = figure::ALL.iter().filter(measured).collect();
    let clients = rows.iter().any(|row| row.figures.contains_key(figure::CLIENT_CORES));
    let mut head = vec![group.name(), "of"];
    head.extend(group.ratio());
    head.extend(figures.iter().map(|figure| figure.head));
    if clients {
        head.push("bound by");
    }
    let mut table = Table::new(2, head);
    for row in rows {
        let subject = match &row.refused {
            Some(reason) => format!("{}, refused: {reason}", row.subject),
            None => row.subject.clone(),
        };
        let mut cells = vec![row.case.clone(), subject];
        if group.ratio().is_some() {
            cells.push(number(row.ratio, 2));
        }
        cells.extend(figures.iter().map(|figure| number(row.figure(figure.key), figure.decimals)));
        if clients {
            cells.push(bound(row, cores).to_owned());
        }
        table.row(cells);
    }
    table.text()
}

/// A figure with so many decimals; a dash for none.
pub(crate) fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// Who kept a full machine busy: where it is the client, the server could have done more.
fn bound(row: &Row, cores: usize) -> &'static str {
    let (Some(client), Some(server)) =
        (row.figure(figure::CLIENT_CORES), row.figure(figure::SERVER_CORES))
    else {
        return "-";
    };
    #[expect(clippy::cast_precision_loss, reason = "a number of processors")]
    let full = cores as f64 * FULL;
    match (full <= client + server, client < server) {
        (false, _) => "-",
        (true, true) => "server",
        (true, false) => "client",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Case, Sample, tests::sample};

    #[test]
    fn tables_show_ratios_and_refusals() {
        let text = sample(1.0).to_string();
        let lines: Vec<_> = text.lines().map(|line| line.replace(' ', "")).collect();
        for line in [
            "|unary|of|ofnative|calls/s|",
            "|64callers|nativetonic|1.00|1500|",
            "|64callers|pooled|0.90|1350|",
            "|64callers|percall,refused:OVERLOADED|-|-|",
        ] {
            assert!(lines.iter().any(|printed| printed == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_full_machine_is_bound_by_whoever_took_more_of_it() {
        let row = |client: f64, server: f64| {
            let figures = vec![(figure::CLIENT_CORES, client), (figure::SERVER_CORES, server)];
            let mut case = Case::new(Group::Unary, "1 caller", ["pooled"]);
            case.add(0, Sample::Measured(figures));
            case.finish().remove(0)
        };
        assert_eq!(bound(&row(1.2, 0.8), 2), "client");
        assert_eq!(bound(&row(0.6, 1.4), 2), "server");
        assert_eq!(bound(&row(0.5, 0.5), 2), "-");
        assert_eq!(bound(&Case::new(Group::Unary, "", ["x"]).finish()[0], 2), "-");
    }
}
