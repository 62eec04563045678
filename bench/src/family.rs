//! Processes that a server started, and those that they started, as the kernel shows them.

use std::{collections::BTreeSet, fs};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// The descendants of a process whose command line has these words.
pub(crate) fn find(root: u32, words: &str) -> Vec<u32> {
    let parents = parents();
    let mut family = BTreeSet::from([root]);
    // Each round finds the next generation.
    while let before = family.len()
        && let () = family.extend(children(&parents, &family))
        && before < family.len()
    {}
    family.remove(&root);
    family.into_iter().filter(|process| runs(*process, words)).collect()
}

/// Ends a process as `kill -9` does.
pub(crate) fn kill(process: u32) -> anyhow::Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).context("a process's number")?;
    kill_process(pid, Signal::KILL).with_context(|| format!("kill -9 {process}"))
}

fn children(parents: &[(u32, u32)], family: &BTreeSet<u32>) -> Vec<u32> {
    let of_family = parents.iter().filter(|(_, parent)| family.contains(parent));
    of_family.map(|(process, _)| *process).collect()
}

/// Every process with its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let process = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let both = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        Some((process, parent(&stat)?))
    };
    entries.filter_map(|entry| process(entry.ok()?)).filter_map(both).collect()
}

/// The name in parentheses may hold anything; the parent is the second field after it.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn runs(process: u32, words: &str) -> bool {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").contains(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descendant_is_found_by_its_words_and_ended() {
        let mut shell =
            std::process::Command::new("sh").args(["-c", "sleep 4321; true"]).spawn().unwrap();
        let own = std::process::id();
        let found = loop {
            match find(own, "sleep 4321").into_iter().find(|process| *process != shell.id()) {
                Some(found) => break found,
                None => std::thread::yield_now(),
            }
        };
        assert!(find(own, "sleep 9876").is_empty());
        kill(found).unwrap();
        assert!(shell.wait().unwrap().success());
    }

    #[test]
    fn a_parent_is_read_whatever_the_name() {
        assert_eq!(parent("42 (a) b) S 7 42 42 0"), Some(7));
        assert_eq!(parent("42"), None);
    }
}
