//! What one run measured: the schema of the files in `bench/history`, described in the README.
//!
//! Fields are only ever added; [`SCHEMA`] counts changes that are more than that.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{group::Group, plan::Plan, stats};

/// Version of the schema.
pub(crate) const SCHEMA: u32 = 1;

/// Everything of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub schema: u32,
    /// When it began, RFC 3339 in UTC.
    pub taken: String,
    /// What was checked out; empty outside of a repository.
    pub commit: String,
    /// Whether tracked files had been changed since.
    pub modified: bool,
    pub machine: Machine,
    pub settings: Settings,
    pub rows: Vec<Row>,
}

/// Where it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub cores: usize,
    pub processor: String,
    pub kernel: String,
    pub memory_mib: u64,
}

/// How it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Seconds of each measurement of calls.
    pub seconds: f64,
    pub rounds: usize,
    /// A smoke run, whose figures mean nothing.
    pub quick: bool,
}

/// What one subject did in one case of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The subcommand that measures it.
    pub group: String,
    /// What was done: a number of callers, a size, a kernel.
    pub case: String,
    /// Who did it: a server, a guest, a peer.
    pub subject: String,
    /// One value for each round, by the figure's name, which ends with its unit.
    pub figures: BTreeMap<String, Vec<f64>>,
    /// The group's leading figure over that of the case's first subject: the median of the rounds'
    /// ratios.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Row {
    /// The median over the rounds.
    pub(crate) fn figure(&self, key: &str) -> Option<f64> {
        stats::median(self.figures.get(key)?)
    }
}

/// What came of one measurement of one subject.
#[derive(Debug)]
pub(crate) enum Sample {
    Measured(Vec<(&'static str, f64)>),
    /// The server said no, for this reason.
    Refused(String),
}

/// The rows of one case while its rounds go on. The first subject is the measure of the others.
pub(crate) struct Case {
    group: Group,
    rows: Vec<Row>,
}

impl Case {
    pub(crate) fn new<S: Into<String>>(
        group: Group,
        case: impl Into<String>,
        subjects: impl IntoIterator<Item = S>,
    ) -> Self {
        let case = case.into();
        let row = |subject: S| Row {
            group: group.name().to_owned(),
            case: case.clone(),
            subject: subject.into(),
            figures: BTreeMap::new(),
            ratio: None,
            refused: None,
        };
        Self { group, rows: subjects.into_iter().map(row).collect() }
    }

    /// Whether measuring this subject again makes sense.
    pub(crate) fn is_open(&self, subject: usize) -> bool {
        self.rows.get(subject).is_some_and(|row| row.refused.is_none())
    }

    /// Takes in what one round measured of a subject.
    pub(crate) fn add(&mut self, subject: usize, sample: Sample) {
        let Some(row) = self.rows.get_mut(subject) else { return };
        match sample {
            Sample::Measured(figures) => {
                for (key, value) in figures {
                    row.figures.entry(key.to_owned()).or_default().push(value);
                }
            }
            Sample::Refused(reason) => {
                row.figures.clear();
                row.refused = Some(reason);
            }
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Row> {
        let lead = self.group.lead();
        let first = self.rows.first().and_then(|row| row.figures.get(lead)).cloned();
        for row in &mut self.rows {
            let values = row.figures.get(lead);
            row.ratio =
                values.zip(first.as_ref()).and_then(|(values, of)| stats::ratio(values, of));
        }
        self.rows
    }
}

impl Record {
    /// Nothing is measured yet, on this machine.
    pub(crate) fn begin(plan: &Plan) -> Self {
        let git = |args: &[&str]| {
            let output = Command::new("git").args(args).output().ok()?;
            output
                .status
                .success()
                .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let changes = git(&["status", "--porcelain", "--untracked-files=no"]);
        Self {
            schema: SCHEMA,
            taken: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            commit: git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default(),
            modified: changes.is_some_and(|changes| !changes.is_empty()),
            machine: Machine::read(),
            settings: Settings {
                seconds: plan.slice.as_secs_f64(),
                rounds: plan.rounds,
                quick: plan.quick,
            },
            rows: Vec::new(),
        }
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let record: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no record of roadstead-bench", path.display()))?;
        if record.schema != SCHEMA {
            bail!(
                "{} has schema {}, and this program reads {SCHEMA}: use the program of its commit, {}",
                path.display(),
                record.schema,
                record.commit
            );
        }
        Ok(record)
    }

    /// Keeps the record in a directory, under its day and commit.
    pub(crate) fn keep(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(directory)?;
        let path = directory.join(self.file_name());
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    fn file_name(&self) -> String {
        let day = self.taken.split('T').next().unwrap_or_default();
        let commit = if self.commit.is_empty() { "unknown" } else { &self.commit };
        let modified = if self.modified { "-modified" } else { "" };
        format!("{day}-{commit}{modified}.json")
    }

    /// The row of such a place, if it was measured.
    pub(crate) fn row(&self, group: &str, case: &str, subject: &str) -> Option<&Row> {
        let wanted = |row: &&Row| row.group == group && row.case == case && row.subject == subject;
        self.rows.iter().find(wanted)
    }
}

impl Machine {
    fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(String::new, |(_, name)| name.trim().to_owned());
        let kib = read("/proc/meminfo")
            .lines()
            .find_map(|line| {
                line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok()
            })
            .unwrap_or(0_u64);
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: kib / 1024,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::figure;

    /// A record of one case with two subjects and a refusal.
    pub(crate) fn sample(scale: f64) -> Record {
        let mut case =
            Case::new(Group::Unary, "64 callers", ["native tonic", "pooled", "per call"]);
        for round in [1.0, 2.0] {
            case.add(0, Sample::Measured(vec![(figure::CALLS, 1000.0 * round)]));
            case.add(1, Sample::Measured(vec![(figure::CALLS, 900.0 * round * scale)]));
        }
        case.add(2, Sample::Measured(vec![(figure::CALLS, 1.0)]));
        case.add(2, Sample::Refused("OVERLOADED".to_owned()));
        Record {
            schema: SCHEMA,
            taken: "2026-11-21T20:00:00Z".to_owned(),
            commit: "0123456789ab".to_owned(),
            modified: false,
            machine: Machine {
                cores: 2,
                processor: "any".to_owned(),
                kernel: "6".to_owned(),
                memory_mib: 1024,
            },
            settings: Settings { seconds: 2.0, rounds: 2, quick: false },
            rows: case.finish(),
        }
    }

    #[test]
    fn ratios_are_against_the_first_subject() {
        let record = sample(1.0);
        let row = |subject| record.row("unary", "64 callers", subject).unwrap();
        assert_eq!(row("native tonic").ratio, Some(1.0));
        assert_eq!(row("pooled").ratio, Some(0.9));
        assert_eq!(row("pooled").figure(figure::CALLS), Some(1350.0));
        let refused = row("per call");
        assert_eq!(refused.refused.as_deref(), Some("OVERLOADED"));
        assert!(refused.figures.is_empty() && refused.ratio.is_none());
    }

    #[test]
    fn the_schema_is_what_the_readme_says() {
        let record = Record { rows: sample(1.0).rows.into_iter().skip(1).collect(), ..sample(1.0) };
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "schema": 1,
                "taken": "2026-11-21T20:00:00Z",
                "commit": "0123456789ab",
                "modified": false,
                "machine": {"cores": 2, "processor": "any", "kernel": "6", "memory_mib": 1024},
                "settings": {"seconds": 2.0, "rounds": 2, "quick": false},
                "rows": [
                    {"group": "unary", "case": "64 callers", "subject": "pooled",
                     "figures": {"calls_per_s": [900.0, 1800.0]}, "ratio": 0.9},
                    {"group": "unary", "case": "64 callers", "subject": "per call",
                     "figures": {}, "refused": "OVERLOADED"},
                ],
            })
        );
        assert_eq!(serde_json::from_value::<Record>(json).unwrap(), record);
    }

    #[test]
    fn records_are_kept_under_their_day_and_commit() {
        let directory = tempfile::tempdir().unwrap();
        let record = sample(1.0);
        let path = record.keep(directory.path()).unwrap();
        assert_eq!(path.file_name().unwrap(), "2026-11-21-0123456789ab.json");
        assert_eq!(Record::read(&path).unwrap(), record);
        let newer = Record { schema: SCHEMA + 1, modified: true, ..record };
        let path = newer.keep(directory.path()).unwrap();
        assert_eq!(path.file_name().unwrap(), "2026-11-21-0123456789ab-modified.json");
        assert!(Record::read(&path).unwrap_err().to_string().contains("schema 2"));
    }
}
