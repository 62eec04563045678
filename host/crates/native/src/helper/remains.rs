//! What a server leaves behind: processes that lost their parents and came to a helper.

use std::fs;

use rustix::process::{Pid, Signal, WaitOptions};

/// Ends what the server left behind. In a namespace of processes, all of it ends with its first.
pub(super) fn end_all() {
    let own = rustix::process::getpid();
    if own.is_init() {
        return;
    }
    while let Some(children) = children() {
        for child in children {
            rustix::process::kill_process(child, Signal::KILL).ok();
        }
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        std::thread::yield_now();
    }
}

/// The processes that belong to this one; none where there are none.
fn children() -> Option<Vec<Pid>> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let lists =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let all: Vec<_> = lists
        .flat_map(|list| {
            let numbers = list.split_whitespace().filter_map(|word| word.parse().ok());
            numbers.filter_map(Pid::from_raw).collect::<Vec<_>>()
        })
        .collect();
    Some(all).filter(|all| !all.is_empty())
}
