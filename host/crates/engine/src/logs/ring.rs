//! The latest lines of one module.

use std::{collections::VecDeque, sync::Arc};

use super::line::LogLine;

/// Lines in order of their sequence numbers, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    lines: VecDeque<Arc<LogLine>>,
    cost: usize,
    next: u64,
}

impl Ring {
    /// The sequence number that the next line gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Keeps a line, and drops old ones so that all cost at most `most`.
    pub(super) fn push(&mut self, line: LogLine, most: usize) {
        self.next = line.sequence.saturating_add(1);
        self.cost = self.cost.saturating_add(line.cost());
        self.lines.push_back(Arc::new(line));
        self.shrink(most);
    }

    /// Drops old lines until the rest costs at most `most`.
    pub(super) fn shrink(&mut self, most: usize) {
        while self.cost > most {
            let Some(line) = self.lines.pop_front() else { return };
            self.cost = self.cost.saturating_sub(line.cost());
        }
    }

    /// The last `count` lines.
    pub(super) fn tail(&self, count: usize) -> Vec<Arc<LogLine>> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).cloned().collect()
    }

    /// At most `most` lines from `sequence` on that are still kept.
    pub(super) fn since(&self, sequence: u64, most: usize) -> Vec<Arc<LogLine>> {
        let from = self.lines.partition_point(|line| line.sequence < sequence);
        self.lines.iter().skip(from).take(most).cloned().collect()
    }
}
