//! What is aimed at, and what a record says about it.

use crate::{
    figure,
    group::Group,
    groups::{compute, half_load, lists, native, payloads, ray, unary},
    record::{Record, Row},
    report::number,
    stats,
    table::Table,
    work::{Kernel, Kind, Way},
};

/// Two rows of one case, and what the figure of the one over that of the other should be.
pub(crate) struct Aim {
    pub what: String,
    group: Group,
    case: String,
    subject: &'static str,
    of: &'static str,
    figure: &'static str,
    bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const NATIVE: &str = "native tonic";

impl Aim {
    /// The median of the rounds' ratios; none where either was not measured.
    fn reached(&self, record: &Record) -> Option<f64> {
        let row = |subject| record.row(self.group.name(), &self.case, subject);
        let values = |row: &'_ Row| row.figures.get(self.figure).cloned();
        stats::ratio(&values(row(self.subject)?)?, &values(row(self.of)?)?)
    }

    fn is_kept(&self, reached: f64) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => bound <= reached,
            Bound::AtMost(bound) => reached <= bound,
        }
    }

    fn bound(&self) -> String {
        match self.bound {
            Bound::AtLeast(bound) => format!("≥ {bound}"),
            Bound::AtMost(bound) => format!("≤ {bound}"),
        }
    }
}

/// All aims.
pub(crate) fn all() -> Vec<Aim> {
    let calls = |what: String, group, case, (subject, of), bound| Aim {
        what,
        group,
        case,
        subject,
        of,
        figure: figure::CALLS,
        bound: Bound::AtLeast(bound),
    };
    let mut aims = Vec::new();
    for (subject, bound) in [("pooled", 0.95), ("per call", 0.85)] {
        let what = format!("small unary calls at 64 callers, {subject}, of native");
        aims.push(calls(what, Group::Unary, unary::case(64), (subject, NATIVE), bound));
    }
    for way in Way::ALL {
        let what = format!("1 MiB {}, of native", way.name());
        let case = payloads::case(1 << 20, way);
        aims.push(calls(what, Group::Payloads, case, ("pooled", NATIVE), 0.7));
    }
    for way in Way::ALL {
        let what = format!("100,000 records {}, of native", way.name());
        let case = lists::case(Kind::Records, way, 100_000);
        aims.push(calls(what, Group::Lists, case, ("pooled", NATIVE), 0.5));
    }
    for (in_flight, name) in [(1, "one at a time"), (ray::MANY, "in flight")] {
        let what = format!("small calls {name}, times Ray's actor");
        let ours = ("pooled, Rust client", "Ray actor");
        aims.push(calls(what, Group::Ray, ray::case(in_flight, 16), ours, 10.0));
    }
    let through = (native::THROUGH, native::DIRECTLY);
    let what = "a native module at 64 callers, of its server called directly".to_owned();
    aims.push(calls(what, Group::Native, native::case(native::TONIC, 64), through, 0.85));
    aims.extend(Kernel::ALL.map(|kernel| Aim {
        what: format!("{} with fuel and epochs, times without", kernel.name()),
        group: Group::Compute,
        case: kernel.name().to_owned(),
        subject: compute::CHECKED,
        of: compute::BARE,
        figure: figure::TIME,
        bound: Bound::AtMost(1.15),
    }));
    aims.push(Aim {
        what: "p99 at half of pooled's capacity, times native's".to_owned(),
        group: Group::HalfLoad,
        case: half_load::case("pooled"),
        subject: "pooled",
        of: NATIVE,
        figure: figure::P99,
        bound: Bound::AtMost(2.0),
    });
    aims
}

/// The aims that the record has something to say about.
pub(crate) fn table(record: &Record) -> String {
    let mut table = Table::new(1, ["aim", "", "reached", "kept"]);
    for aim in all() {
        if let Some(reached) = aim.reached(record) {
            let kept = if aim.is_kept(reached) { "yes" } else { "no" };
            table.row(vec![
                aim.what.clone(),
                aim.bound(),
                number(Some(reached), 2),
                kept.to_owned(),
            ]);
        }
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;

    #[test]
    fn aims_are_judged_by_the_rows_they_name() {
        let text = table(&sample(1.0));
        assert!(text.contains("| small unary calls at 64 callers, pooled, of native |"), "{text}");
        assert!(text.contains("≥ 0.95 |    0.90 |   no |"), "{text}");
        assert!(table(&sample(1.1)).contains("0.99 |  yes |"));
        assert_eq!(text.lines().count(), 4, "what was not measured is left out: {text}");
    }

    #[test]
    fn the_readme_lists_every_aim() {
        let readme = include_str!("../README.md");
        for aim in all() {
            let row = format!("| {} | {} | `{}` |", aim.what, aim.bound(), aim.group.name());
            assert!(readme.contains(&row), "bench/README.md has no line {row}");
        }
    }
}
