//! The second helper: within the namespaces, the `init` of a server.

use std::{
    fs, io,
    io::Read as _,
    process::{Command, Stdio},
};

use rustix::{
    process::{DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions},
    thread::{CapabilitySet, CapabilitySets},
};

use super::{Order, TERM, about, loopback, mounts};

pub(super) fn run(order: &Order) -> io::Result<u8> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Before `/proc` can only be read; where it cannot be written, others die for want of memory too.
    fs::write("/proc/self/oom_score_adj", "500").ok();
    if order.layers.net {
        loopback::bring_up().map_err(about("bring loopback up"))?;
    }
    if order.layers.mount {
        mounts::cut(order)?;
    }
    give_up(order)?;
    let Some((program, arguments)) = order.command.split_first() else { return Ok(0) };
    let server = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&order.env)
        .current_dir(&order.working)
        .stdin(Stdio::null())
        .spawn()
        .map_err(about(format!("run `{program}`")))?;
    let server = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    let server = server.ok_or_else(|| io::Error::other("a process without a number"))?;
    std::thread::Builder::new().spawn(move || obey(server))?;
    let status = reap(server)?;
    end_all();
    Ok(status)
}

/// All that a server can do without. It inherits what holds for this process.
fn give_up(order: &Order) -> io::Result<()> {
    // What the server leaves behind belongs to this process.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set(Resource::Core, 0)?;
    set(Resource::Nofile, order.files)?;
    if order.layers.user {
        // Counted within its namespace; elsewhere, its user has other processes.
        set(Resource::Nproc, order.pids)?;
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(about("drop capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(about("no new privileges"))
}

/// Lowers a limit; one that is lower already stays.
fn set(resource: Resource, most: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let limit = Some(now.maximum.map_or(most, |now| now.min(most)));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: limit, maximum: limit })?)
}

/// Passes on the host's wish to end. With the host, all ends.
fn obey(server: Pid) {
    let mut byte = [0];
    let mut stdin = io::stdin().lock();
    while stdin.read_exact(&mut byte).is_ok() {
        if byte == [TERM] {
            // It may have ended before.
            rustix::process::kill_process(server, Signal::TERM).ok();
        }
    }
    end_all();
    rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).ok();
}

/// Waits for the server, and takes in whatever else ends.
fn reap(server: Pid) -> io::Result<u8> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == server => {
                let code = status.exit_status();
                let code = code.or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                return Ok(u8::try_from(code.unwrap_or(1)).unwrap_or(1));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends what the server left behind. In a namespace of processes, all of it ends with its first.
fn end_all() {
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
