//! The kept lines of several hosts, in one order.

use std::collections::VecDeque;

use prost::Message as _;
use roadstead_domain::HostName;
use roadstead_engine::LogSource;
use roadstead_proto::v1::{HostAnswer, LogLine, StreamLogsResponse};
use tonic::Status;

use super::super::{Answers, fleet};
use crate::pool::Missing;

/// Bytes of lines that are held at once, of all hosts, and of each however many they are.
const MOST: usize = 32 << 20;
const LEAST: usize = 64 << 10;

/// Bytes that each of so many hosts may have.
pub(super) fn share(hosts: usize) -> usize {
    (MOST / hosts.max(1)).max(LEAST)
}

/// What one host has kept, the newest of it.
pub(super) struct Part {
    pub host: HostName,
    most: usize,
    bytes: usize,
    lines: VecDeque<LogLine>,
    left_out: u64,
    /// Its further lines, where they are followed.
    pub rest: Option<Answers<StreamLogsResponse>>,
    pub missing: Option<Missing>,
    pub failed: Option<Status>,
}

impl Part {
    pub(super) fn new(host: HostName, most: usize) -> Self {
        let (lines, left_out) = (VecDeque::new(), 0);
        Self { host, most, bytes: 0, lines, left_out, rest: None, missing: None, failed: None }
    }

    /// Adds lines; the oldest go where there is no room for all.
    pub(super) fn push(&mut self, lines: Vec<LogLine>) {
        for mut line in lines {
            line.host = self.host.to_string();
            self.bytes += cost(&line);
            self.lines.push_back(line);
            while self.most < self.bytes {
                let Some(oldest) = self.lines.pop_front() else { break };
                self.bytes -= cost(&oldest);
                self.left_out += 1;
            }
        }
    }

    /// When its newest line was written.
    pub(super) fn last(&self) -> Option<i64> {
        self.lines.back().map(|line| line.unix_ms)
    }

    /// All lines; first that some are left out.
    fn take(&mut self) -> Vec<LogLine> {
        let mut lines = Vec::from(std::mem::take(&mut self.lines));
        if 0 < self.left_out {
            let told = LogLine {
                unix_ms: lines.first().map_or(0, |line| line.unix_ms),
                source: LogSource::Host.as_str().to_owned(),
                text: format!("{} older lines are left out", self.left_out),
                host: self.host.to_string(),
                ..LogLine::default()
            };
            lines.insert(0, told);
        }
        lines
    }
}

/// What a line takes in memory, about.
fn cost(line: &LogLine) -> usize {
    line.encoded_len() + size_of::<LogLine>()
}

/// The parts of all hosts that exist.
pub(super) struct Parts(pub Vec<Part>);

impl Parts {
    pub(super) fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        Self(parts.into_iter().filter(|part| part.missing != Some(Missing::Absent)).collect())
    }

    /// Who was asked.
    pub(super) fn hosts(&self) -> Vec<HostAnswer> {
        fleet::asked(self.0.iter().map(|part| {
            let why = part.missing.as_ref().and_then(|missing| match missing {
                Missing::Because(why) => Some(why),
                Missing::Absent => None,
            });
            (&part.host, why)
        }))
    }

    /// The newest `count` lines of all, by time.
    pub(super) fn take_lines(&mut self, count: usize) -> Vec<LogLine> {
        let mut lines: Vec<_> = self.0.iter_mut().flat_map(Part::take).collect();
        // Stable: lines of one host keep their order.
        lines.sort_by_key(|line| line.unix_ms);
        lines.split_off(lines.len().saturating_sub(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(times: &[i64]) -> Vec<LogLine> {
        let line = |unix_ms: &i64| LogLine {
            unix_ms: *unix_ms,
            text: unix_ms.to_string(),
            ..LogLine::default()
        };
        times.iter().map(line).collect()
    }

    fn part(host: &str, times: &[i64]) -> Part {
        let mut part = Part::new(host.parse().unwrap(), MOST);
        part.push(lines(times));
        part
    }

    #[test]
    fn lines_come_by_time_and_say_their_host() {
        let parts = || Parts::new([part("b", &[2, 3, 3, 9]), part("a", &[1, 3, 4])]);
        let all = parts().take_lines(usize::MAX);
        let told: Vec<_> = all.iter().map(|line| (line.unix_ms, line.host.as_str())).collect();
        let expected = [(1, "a"), (2, "b"), (3, "b"), (3, "b"), (3, "a"), (4, "a"), (9, "b")];
        assert_eq!(told, expected);
        let newest = parts().take_lines(2);
        assert_eq!(newest.iter().map(|line| line.unix_ms).collect::<Vec<_>>(), [4, 9]);
    }

    #[test]
    fn a_host_keeps_its_share_of_the_newest_lines() {
        let mut line = lines(&[199]).remove(0);
        line.host = "a".to_owned();
        let mut part = Part::new("a".parse().unwrap(), 10 * cost(&line));
        part.push(lines(&(100..200).collect::<Vec<_>>()));
        let kept = part.take();
        assert_eq!(kept[0].text, "90 older lines are left out");
        assert_eq!(kept[0].source, "host");
        assert_eq!(
            kept[1..].iter().map(|line| line.unix_ms).collect::<Vec<_>>(),
            Vec::from_iter(190..200)
        );
        assert!(share(1) == MOST && share(4) == MOST / 4 && share(1 << 20) == LEAST);
    }

    #[test]
    fn hosts_that_do_not_exist_are_not_missing() {
        let missing = |host: &str, missing| Part { missing: Some(missing), ..part(host, &[]) };
        let late = Missing::Because("late".to_owned());
        let parts = Parts::new([missing("c", late), missing("b", Missing::Absent), part("a", &[])]);
        let told = parts.hosts();
        let told: Vec<_> = told.iter().map(|host| (&host.name[..], &host.error[..])).collect();
        assert_eq!(told, [("a", ""), ("c", "late")]);
    }
}
