//! What was measured, as a table for people or as JSON, and the only place that prints.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::fmt::{self, Display};

use serde::Serialize;

use crate::{
    memory::Memory, overload::Overload, publish::Publish, quota::Quota, ray::OneAtATime,
    throughput::Calls,
};

/// Everything of one run.
#[derive(Serialize)]
pub(crate) struct Report {
    pub machine: Machine,
    pub calls: Vec<Calls>,
    pub one_at_a_time: Vec<OneAtATime>,
    pub publish: Vec<Publish>,
    pub memory: Vec<Memory>,
    pub quotas: Vec<Quota>,
    pub overload: Vec<Overload>,
}

/// Nothing is measured yet, on this machine.
impl Default for Report {
    fn default() -> Self {
        Self {
            machine: Machine::read(),
            calls: Vec::new(),
            one_at_a_time: Vec::new(),
            publish: Vec::new(),
            memory: Vec::new(),
            quotas: Vec::new(),
            overload: Vec::new(),
        }
    }
}

/// Where it was measured.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub cores: usize,
    pub processor: String,
    pub kernel: String,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(String::new, |(_, name)| name.trim().to_owned());
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// A remark about what is being done.
pub(crate) fn progress(text: impl Display) {
    eprintln!("bench: {text}");
}

/// A line of output for another program.
pub(crate) fn line(text: impl Display) {
    println!("{text}");
}

fn quotas(rows: &[Quota]) -> String {
    table(
        ["processor time of", "spec", "granted", "measured", "error %"],
        rows.iter().map(|row| {
            [
                row.module.to_owned(),
                row.spec.to_owned(),
                format!("{:.0}m", row.granted),
                format!("{:.0}m", row.measured),
                format!("{:+.1}", row.error_percent),
            ]
        }),
    )
}

impl Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel } = self;
        write!(f, "{cores} cores, {processor}, Linux {kernel}; clients on the same machine")
    }
}

impl Report {
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print!("{self}");
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        f.write_str(&table(
            [
                "unary calls",
                "callers",
                "calls/s",
                "of native",
                "p50 ms",
                "p99 ms",
                "server µs/call",
            ],
            self.calls.iter().map(|row| {
                [
                    row.server.to_owned(),
                    row.callers.to_string(),
                    format!("{:.0}", row.calls_per_second),
                    format!("{:.2}", row.of_native),
                    format!("{:.3}", row.p50_ms),
                    format!("{:.3}", row.p99_ms),
                    format!("{:.1}", row.server_us),
                ]
            }),
        ))?;
        f.write_str(&table(
            ["one call at a time", "calls/s", "times Ray's"],
            self.one_at_a_time.iter().map(|row| {
                let ratio = row.of_ray.map_or_else(|| "-".to_owned(), |of| format!("{of:.1}"));
                [row.what.to_owned(), format!("{:.0}", row.calls_per_second), ratio]
            }),
        ))?;
        f.write_str(&table(
            ["ms to the first answer", "size", "push", "restart", "its call", "evicted", "warm"],
            self.publish.iter().map(|row| {
                let ms = |value: f64| format!("{value:.1}");
                [
                    row.module.to_owned(),
                    mib(row.component_bytes as u64),
                    ms(row.cold_ms),
                    ms(row.restarted_ms),
                    ms(row.restarted_call_ms),
                    ms(row.evicted_ms),
                    ms(row.warm_ms),
                ]
            }),
        ))?;
        f.write_str(&table(
            ["published modules", "resident", "each called once"],
            self.memory.iter().map(|row| {
                let Memory { published, resident_bytes, resident_called_bytes } = row;
                [published.to_string(), mib(*resident_bytes), mib(*resident_called_bytes)]
            }),
        ))?;
        f.write_str(&quotas(&self.quotas))?;
        f.write_str(&overload(&self.overload))
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are printed with two digits")]
fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

fn overload(rows: &[Overload]) -> String {
    table(
        [
            "flood, times the capacity",
            "calls/s",
            "answered/s",
            "of capacity",
            "refused/s",
            "lost/s",
            "neighbour p50 ms",
            "p99 ms",
        ],
        rows.iter().map(|row| {
            [
                format!("{:.0}", row.flood),
                format!("{:.0}", row.offered_per_second),
                format!("{:.1}", row.answered_per_second),
                if row.flood == 0.0 { "-".to_owned() } else { format!("{:.2}", row.of_capacity) },
                format!("{:.0}", row.refused_per_second),
                format!("{:.1}", row.lost_per_second),
                format!("{:.3}", row.neighbour_p50_ms),
                format!("{:.3}", row.neighbour_p99_ms),
            ]
        }),
    )
}

/// Columns of a Markdown table, the first to the left and the others to the right; nothing where
/// there are no rows.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    if lines.len() == 1 {
        return String::new();
    }
    let width = |column: usize| {
        lines.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in lines.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(&if column == 0 {
                format!("| {cell:<width$} ")
            } else {
                format!("| {cell:>width$} ")
            });
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                text.push_str(if column == 0 { "|:" } else { "|-" });
                text.push_str(&"-".repeat(*width));
                text.push_str(if column == 0 { "-" } else { ":" });
            }
            text.push_str("|\n");
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long".to_owned(), "22".to_owned()]];
        let text = table(["what", "n"], rows.into_iter());
        assert_eq!(text, "| what |  n |\n|:-----|---:|\n| a    |  1 |\n| long | 22 |\n\n");
    }
}
