//! What the kernel tells of processes, in `/proc`.

use std::{collections::HashMap, fs};

use rustix::process::{Pid, Signal};

/// One process, as its `stat` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    pub(crate) threads: u64,
    /// In the kernel's ticks since it started: tells a process from a later one of its number.
    pub(crate) started: u64,
    /// Bytes of memory that are there, those that it shares with others among them.
    pub(crate) resident: u64,
}

impl Seen {
    /// None where there is no such process, or only its remains.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Whether a variable, as `NAME=value`, was in its environment when it started. Of processes of
    /// others that is not known.
    pub(crate) fn has_variable(&self, variable: &str) -> bool {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
    }

    /// Ends it. One that has ended meanwhile is none.
    pub(crate) fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// All processes that this one sees.
pub(crate) fn all() -> Vec<Seen> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let number =
        |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    entries.filter_map(number).filter_map(Seen::of).collect()
}

/// A process with all that it started, and what those did.
pub(crate) fn tree(all: &[Seen], root: i32) -> Vec<Seen> {
    let mut children: HashMap<i32, Vec<Seen>> = HashMap::new();
    for one in all {
        children.entry(one.parent).or_default().push(*one);
    }
    let mut found: Vec<Seen> = all.iter().filter(|one| one.pid == root).copied().collect();
    let mut next = 0;
    while let Some(one) = found.get(next) {
        next += 1;
        let below = children.remove(&one.pid).unwrap_or_default();
        found.extend(below);
    }
    found
}

fn parse(stat: &str) -> Option<Seen> {
    let (pid, rest) = stat.split_once(" (")?;
    // The name may hold anything.
    let (_, rest) = rest.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    let signed = |at: usize| words.get(at)?.parse::<i32>().ok();
    if matches!(*words.first()?, "Z" | "X") {
        return None;
    }
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    Some(Seen {
        pid: pid.parse().ok()?,
        parent: signed(1)?,
        session: signed(3)?,
        threads: number(17)?,
        started: number(19)?,
        resident: number(21)?.saturating_mul(page),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let rest = "S 7 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 999 1000 2 0";
        let seen = parse(&format!("42 (a) b) {rest}")).unwrap();
        assert_eq!((seen.pid, seen.parent, seen.session), (42, 7, 42));
        assert_eq!((seen.threads, seen.started), (3, 999));
        assert_eq!(seen.resident % 4096, 0);
        assert_eq!(parse(&format!("42 (a) Z{}", rest.trim_start_matches('S'))), None);
    }

    #[test]
    fn a_tree_holds_what_its_members_started() {
        let one =
            |pid, parent| Seen { pid, parent, session: 0, threads: 1, started: 0, resident: 1 };
        let all = [one(1, 0), one(2, 1), one(3, 2), one(4, 1), one(5, 9)];
        let pids: Vec<_> = tree(&all, 2).iter().map(|one| one.pid).collect();
        assert_eq!(pids, [2, 3]);
    }
}
