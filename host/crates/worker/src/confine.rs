//! Gives up, step by step, all that a worker can do without.
//!
//! Nothing here needs a privilege. A step that the kernel does not know is left out: the others
//! hold, and what was left out is reported by a probe.

use std::{fs, io, ops::RangeFrom};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetStatus, Scope,
};
use rustix::{
    process::{DumpableBehavior, Pid, Resource, Rlimit, Signal},
    thread::{CapabilitySet, CapabilitySets},
};

use crate::order::{Layer, Order};

/// How far a worker steps back for calls.
const NICE: i32 = 10;

/// Ends this process with the host, be it killed.
pub(crate) fn follow(host: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = rustix::process::getppid().map(Pid::as_raw_nonzero);
    match parent {
        Some(parent) if u32::try_from(parent.get()) == Ok(host) => Ok(()),
        // It was gone before the kernel was told.
        _ => Err(io::Error::other("the host is gone")),
    }
}

/// Before there are threads: what each of them inherits.
pub(crate) fn before_threads() -> Layer {
    close_all_from(3..);
    let steps = [
        ("priority", rustix::process::nice(NICE).map(drop).map_err(Into::into)),
        // Whoever is to die for want of memory, let it be this process.
        ("oom_score_adj", fs::write("/proc/self/oom_score_adj", "1000")),
        ("no new privileges", rustix::thread::set_no_new_privs(true).map_err(Into::into)),
        ("capabilities", drop_capabilities()),
        (
            "no dumps",
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
                .map_err(Into::into),
        ),
    ];
    for (step, outcome) in steps {
        if let Err(error) = outcome {
            tracing::debug!(step, %error, "not confined");
        }
    }
    landlock().unwrap_or(Layer::Off)
}

#[expect(unsafe_code, reason = "descriptors that nothing here owns")]
fn close_all_from(range: RangeFrom<u32>) {
    // SAFETY: the process has just begun: nothing in it uses a descriptor beyond the standard ones.
    unsafe { libc::syscall(libc::SYS_close_range, range.start, u32::MAX, 0) };
}

/// Limits hold for a superuser, too, once it cannot raise them.
fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// No file, no address, no process outside can be reached.
fn landlock() -> Result<Layer, landlock::RulesetError> {
    let newest = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Layer::Full,
        RulesetStatus::PartiallyEnforced => Layer::Partial,
        RulesetStatus::NotEnforced => Layer::Off,
    })
}

/// After the last thread was started and the last file was opened.
pub(crate) fn limit(order: &Order, program: u64) -> io::Result<()> {
    set(Resource::Core, 0, 0)?;
    set(Resource::Nofile, 0, 0)?;
    set(Resource::Nproc, 0, 0)?;
    set(Resource::Fsize, order.output.0, order.output.0)?;
    let memory = program.saturating_add(order.memory.0);
    set(Resource::As, memory, memory)?;
    // The first ends it with a signal that says why, the second in any case.
    set(Resource::Cpu, order.seconds, order.seconds.saturating_add(5))
}

/// Lowers a limit; one that is lower already stays.
fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let least = |wanted: u64, now: Option<u64>| Some(now.map_or(wanted, |now| now.min(wanted)));
    let maximum = least(hard, now.maximum);
    let current = least(soft, maximum);
    Ok(rustix::process::setrlimit(resource, Rlimit { current, maximum })?)
}

/// Address space of this process that is no memory of its own: its program's file and the like.
pub(crate) fn program() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // Its size in all, and what of it is private and can be written.
    let (size, own) = (pages.first(), pages.get(5));
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    match (size, own) {
        (Some(size), Some(own)) => size.saturating_sub(*own).saturating_mul(page),
        _ => 256 << 20,
    }
}
