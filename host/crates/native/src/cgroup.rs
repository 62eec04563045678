//! Control groups for servers, where they can be made: each server gets one with its limits, and is
//! ended as a whole by it. Version 2 of them ends; memory, processes and processor time are limited
//! by whichever version has the controller. What has none is watched, or not bounded.

mod legacy;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use legacy::Hierarchy;
use roadstead_domain::Resources;
use sha2::{Digest as _, Sha256};

use crate::helper::about;

/// Where a host makes groups: its own, as long as its directory is.
#[derive(Debug)]
pub(crate) struct Cgroups {
    base: PathBuf,
    /// What is limited by version 2.
    unified: Vec<Controller>,
    /// What is limited by version 1.
    legacy: Vec<Hierarchy>,
}

/// The group of one server.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
}

/// What limits something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Pids,
    Cpu,
}

/// Where the host goes itself: a group with controllers for its children holds no processes.
const HOST: &str = "roadstead-host";
/// Over which processor time is counted, in microseconds.
const PERIOD: u64 = 100_000;

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }

    /// What it limits, in words.
    fn describe(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "processes",
            Self::Cpu => "processor time",
        }
    }
}

impl Cgroups {
    /// For the servers of a host with this directory. None where no group can be made that ends
    /// what is in it.
    pub(crate) fn find(directory: &Path) -> Option<Self> {
        let (mounts, groups) = tables()?;
        let own = own(&mounts, &groups, None)?;
        match Self::at(&own, &base(directory)) {
            Ok(groups) => Some(groups),
            Err(error) => {
                tracing::debug!(group = %own.display(), %error, "no control groups for servers");
                None
            }
        }
    }

    fn at(own: &Path, name: &str) -> io::Result<Self> {
        let base = own.join(name);
        empty(&base)?;
        let unified = Controller::ALL.into_iter().filter(|one| {
            let enabled = enable(own, *one).and_then(|()| enable(&base, *one));
            if let Err(error) = &enabled {
                tracing::debug!(controller = one.name(), %error, "not in version 2");
            }
            enabled.is_ok()
        });
        let mut groups = Self { unified: unified.collect(), base, legacy: Vec::new() };
        let probe = groups.base.join("probe");
        make(&probe)?;
        let ends = fs::write(probe.join("cgroup.kill"), "1");
        fs::remove_dir(&probe)?;
        ends?;
        let missing = Controller::ALL.into_iter().filter(|one| !groups.unified.contains(one));
        groups.legacy = missing.filter_map(|one| Hierarchy::find(one, name)).collect();
        Ok(groups)
    }

    /// Whether the kernel holds servers to their limit of something.
    pub(crate) fn holds(&self, what: Controller) -> bool {
        self.unified.contains(&what) || self.legacy.iter().any(|one| one.controller == what)
    }

    /// Whether servers need no watching: what has too much is ended, and ended as a whole, which
    /// version 1 does not do.
    pub(crate) fn ends(&self) -> bool {
        self.unified.contains(&Controller::Memory) && self.holds(Controller::Pids)
    }

    /// A group with the limits of a spec.
    pub(crate) fn make(&self, name: &str, resources: &Resources) -> io::Result<Cgroup> {
        let path = self.base.join(name);
        make(&path)?;
        let group = Cgroup { path };
        group.limit(&self.unified, resources)?;
        self.legacy.iter().try_for_each(|one| one.make(name, resources))?;
        Ok(group)
    }
}

impl Drop for Cgroups {
    /// Takes away what is empty.
    fn drop(&mut self) {
        self.legacy.iter().for_each(Hierarchy::remove);
        fs::remove_dir(&self.base).ok();
    }
}

/// How servers are held to memory, processes and processor time, in words.
pub(crate) fn describe(groups: Option<&Cgroups>) -> String {
    let of = |held| {
        let one = |what: &Controller| groups.is_some_and(|all| all.holds(*what)) == held;
        Controller::ALL.into_iter().filter(one).collect::<Vec<_>>()
    };
    let list =
        |all: &[Controller]| all.iter().map(|one| one.describe()).collect::<Vec<_>>().join(", ");
    let (held, missing) = (of(true), of(false));
    let (unbounded, watched): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|one| *one == Controller::Cpu);
    let mut words = vec![match (groups, held.as_slice()) {
        (None, _) => "no control group".to_owned(),
        (Some(_), []) => "control group without limits".to_owned(),
        (Some(_), held) => format!("control group with limits of {}", list(held)),
    }];
    if !watched.is_empty() {
        words.push(format!("{} only watched, not bounded at once", list(&watched)));
    }
    if !unbounded.is_empty() {
        words.push(format!("{} not bounded", list(&unbounded)));
    }
    words.join("; ")
}

impl Cgroup {
    fn limit(&self, controllers: &[Controller], resources: &Resources) -> io::Result<()> {
        let write = |file: &str, text: String| fs::write(self.path.join(file), text);
        for controller in controllers {
            match controller {
                Controller::Memory => {
                    write("memory.max", resources.memory.0.to_string())?;
                    // Not there where the kernel has no swap.
                    write("memory.swap.max", "0".to_owned()).ok();
                    write("memory.oom.group", "1".to_owned())?;
                }
                Controller::Pids => write("pids.max", processes(resources).to_string())?,
                Controller::Cpu => write("cpu.max", format!("{} {PERIOD}", quota(resources)))?,
            }
        }
        Ok(())
    }

    /// Brings this process into it.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let all = legacy::of(&self.path).into_iter().chain([self.path.clone()]);
        for group in all {
            let procs = group.join("cgroup.procs");
            fs::write(&procs, "0").map_err(about(procs.display()))?;
        }
        Ok(())
    }

    /// Ends all that is in it.
    pub(crate) fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Whether something in it was ended for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok();
        let ran_out = |file: PathBuf| {
            let events = fs::read_to_string(file).unwrap_or_default();
            events.lines().filter_map(count).any(|count| count > 0)
        };
        let mut legacy = legacy::of(&self.path).into_iter();
        ran_out(self.path.join("memory.events"))
            || legacy.any(|group| ran_out(group.join("memory.oom_control")))
    }

    /// How many threads are in it, those of helpers among them.
    pub(crate) fn threads(&self) -> Option<u64> {
        let all = fs::read_to_string(self.path.join("cgroup.threads")).ok()?;
        u64::try_from(all.lines().count()).ok()
    }

    /// The processes in it.
    pub(crate) fn processes(&self) -> Option<Vec<i32>> {
        let all = fs::read_to_string(self.path.join("cgroup.procs")).ok()?;
        Some(all.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Whether the kernel holds it to its memory.
    pub(crate) fn bounds_memory(&self) -> bool {
        let mut legacy = legacy::of(&self.path).into_iter();
        self.path.join("memory.max").exists()
            || legacy.any(|group| group.join("memory.limit_in_bytes").exists())
    }

    pub(crate) fn is_empty(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events"));
        events.map_or(true, |text| text.lines().any(|line| line == "populated 0"))
    }

    /// Takes it away, once it is empty.
    pub(crate) fn remove(&self) -> io::Result<()> {
        // The last is how the others are found.
        legacy::of(&self.path).iter().try_for_each(|group| remove(group))?;
        remove(&self.path)
    }
}

/// Processes and threads of the helpers, beside those of the spec.
pub(crate) const HELPERS: u64 = 3;

fn processes(resources: &Resources) -> u64 {
    u64::from(resources.pids).saturating_add(HELPERS)
}

/// Processor time in a period, in microseconds.
fn quota(resources: &Resources) -> u64 {
    (resources.cpu.0.saturating_mul(PERIOD) / 1000).max(1000)
}

/// Under the group of a host: what no other host makes groups in.
fn base(directory: &Path) -> String {
    let digest = Sha256::digest(directory.as_os_str().as_encoded_bytes());
    format!("roadstead-native-{}", hex::encode(digest.get(..4).unwrap_or_default()))
}

/// Where groups are mounted, and which are this process's.
fn tables() -> Option<(String, String)> {
    let read = |file| fs::read_to_string(file).ok();
    read("/proc/self/mountinfo").zip(read("/proc/self/cgroup"))
}

/// The directory of this process's group: of version 2, or of a controller of version 1.
fn own(mounts: &str, groups: &str, legacy: Option<Controller>) -> Option<PathBuf> {
    let has = |list: &str, one: &str| list.split(',').any(|word| word == one);
    let group = groups.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let fits = legacy.map_or(controllers.is_empty(), |one| has(controllers, one.name()));
        fits.then_some(group)
    })?;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(3);
        let (root, path) = (words.next()?, words.next()?);
        let (kind, options) = (after.split(' ').next()?, after.split(' ').nth(2)?);
        let fits = match legacy {
            None => kind == "cgroup2",
            Some(one) => kind == "cgroup" && has(options, one.name()),
        };
        fits.then_some((root, path))
    })?;
    let (root, path) = mount;
    let below = Path::new(group).strip_prefix(root).ok()?;
    Some(Path::new(path).join(below))
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Makes a host's base, without groups that were made and whose server was not started.
fn empty(base: &Path) -> io::Result<()> {
    make(base)?;
    for left in fs::read_dir(base)?.flatten().filter(|entry| entry.path().is_dir()) {
        fs::remove_dir(left.path()).ok();
    }
    Ok(())
}

fn remove(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Lets a controller limit the children of a group.
fn enable(group: &Path, controller: Controller) -> io::Result<()> {
    let there = fs::read_to_string(group.join("cgroup.controllers"))?;
    if !there.split_whitespace().any(|one| one == controller.name()) {
        return Err(io::Error::other("it is not there"));
    }
    let add = format!("+{}", controller.name());
    let control = group.join("cgroup.subtree_control");
    match fs::write(&control, &add) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            step_aside(group)?;
            fs::write(&control, &add)
        }
        written => written,
    }
}

/// Leaves a group in which there is nobody else for one of the host's own.
fn step_aside(group: &Path) -> io::Result<()> {
    let own = std::process::id().to_string();
    let there = fs::read_to_string(group.join("cgroup.procs"))?;
    if there.split_whitespace().any(|process| process != own) {
        return Err(io::Error::other("there are other processes in the host's group"));
    }
    let host = group.join(HOST);
    make(&host)?;
    fs::write(host.join("cgroup.procs"), own)
}

#[cfg(test)]
mod tests;
