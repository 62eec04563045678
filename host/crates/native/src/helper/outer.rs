//! The first helper: out of the host's session, into the server's control group and namespaces.

use std::{fs, io, ops::RangeFrom, os::unix::process::ExitStatusExt as _};

use rustix::{
    process::{Pid, Signal},
    thread::{CapabilitySet, CapabilitySets},
};

use super::{GO, Layers, Order, about, layers, remains::end_all};
use crate::cgroup::Cgroup;

pub(super) fn run(order: &Order) -> io::Result<u8> {
    close_all_from(3..);
    rustix::process::setsid().map_err(about("begin a session"))?;
    follow(order.host)?;
    // Its record is durable, with its number, before it does anything.
    if word().map_err(about("wait for the host"))? != GO {
        return Err(io::Error::other("the host wants something else"));
    }
    if let Some(path) = order.cgroup.clone() {
        Cgroup { path }.enter()?;
    }
    enter(order.layers)?;
    // What the second helper leaves behind belongs to this one.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let status = layers::inner(&order.file).spawn().and_then(|mut child| child.wait())?;
    end_all();
    Ok(status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .map_or(1, |code| u8::try_from(code).unwrap_or(1)))
}

/// What the host says, and no more of it: the rest is for the second helper.
fn word() -> io::Result<u8> {
    let mut word = [0];
    loop {
        match rustix::io::read(io::stdin(), &mut word) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(word[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[expect(unsafe_code, reason = "descriptors that nothing here owns")]
fn close_all_from(range: RangeFrom<u32>) {
    // SAFETY: the process has just begun: nothing in it uses a descriptor beyond the standard ones.
    unsafe { libc::syscall(libc::SYS_close_range, range.start, u32::MAX, 0) };
}

/// Ends this process with the host, be it killed.
fn follow(host: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = rustix::process::getppid().map(Pid::as_raw_nonzero);
    match parent {
        Some(parent) if u32::try_from(parent.get()) == Ok(host) => Ok(()),
        // It was gone before the kernel was told.
        _ => Err(io::Error::other("the host is gone")),
    }
}

/// Users and groups keep their numbers, so that files belong to whom they belonged.
fn enter(layers: Layers) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    if layers == Layers::default() {
        return Ok(());
    }
    nix::sched::unshare(layers.flags()).map_err(about("have namespaces of its own"))?;
    if layers.user {
        fs::write("/proc/self/setgroups", "deny").map_err(about("setgroups"))?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1")).map_err(about("uid_map"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1")).map_err(about("gid_map"))?;
        // None of its own, which would give it privileges. Where `/proc/sys` cannot be written,
        // the kernel holds it to what it holds others to.
        fs::write("/proc/sys/user/max_user_namespaces", "0").ok();
        keep_capabilities().map_err(about("keep capabilities"))?;
    }
    Ok(())
}

/// Lets the second helper have what it needs to set the namespaces up. Of a plain user, who keeps
/// its number in its own namespace, a program that it runs would have none.
fn keep_capabilities() -> io::Result<()> {
    let sets = rustix::thread::capabilities(None)?;
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    let sets = CapabilitySets { inheritable: sets.inheritable | needed, ..sets };
    rustix::thread::set_capabilities(None, sets)?;
    for capability in [CapabilitySet::SYS_ADMIN, CapabilitySet::NET_ADMIN] {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}
